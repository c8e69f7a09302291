import dataclasses
import functools

import numpy as np
import pytest
import tf_keras

from mobilenet_v3 import build_model
from mobilenet_v3.tables import SPECS
from search.channels.axes import axes_of
from search.channels.criteria import CRITERIA
from search.channels.narrow import keep, narrow
from search.widths import narrowest, shrink, widths

L2 = CRITERIA['l2']
# Stem tied to a block, squeeze-and-excite of both kinds, blocks without expansion.
NETWORKS = ('small', 'large', 'mnasnet_small', 'v1')


@functools.cache
def build(spec):
    tf_keras.utils.set_random_seed(0)
    return build_model(spec, resolution=32, num_classes=3)


def arrays_of(spec, roles=('model', 'averaged')):
    """Random arrays of every layer, BN too, the same for all roles."""
    rng = np.random.default_rng(0)
    drawn = {
        f'{layer.name}/{i}': rng.uniform(0.1, 1, weight.shape).astype(np.float32)
        for layer in build(spec).layers
        for i, weight in enumerate(layer.weights)
    }
    return {f'{role}/{key}': array.copy() for role in roles for key, array in drawn.items()}


def network_of(spec, arrays):
    model = build(spec)
    for layer in model.layers:
        layer.set_weights([arrays[f'model/{layer.name}/{i}'] for i in range(len(layer.weights))])
    return model


@pytest.mark.parametrize('name', NETWORKS)
def test_the_axes_of_every_network_have_the_sizes_of_its_layers(name):
    axes = axes_of(SPECS[name])
    model = build(SPECS[name])
    sizes = {**axes.sizes, 'image': 3, 'classes': 3}
    assert {layer.name for layer in model.layers if layer.weights} == axes.layers.keys()
    for layer in model.layers:
        for weight in layer.weights:
            at = axes.layers[layer.name]
            expected = sizes[at.makes]
            if layer.name.endswith('depthwise/conv'):
                assert weight.shape[2] == expected
            else:
                assert weight.shape[-1] == expected
                assert weight.shape.rank == 1 or weight.shape[2] == sizes[at.reads]


@pytest.mark.parametrize('name', NETWORKS)
def test_everything_can_shrink_at_once(name):
    spec = SPECS[name]
    after = narrowest(spec, 0.5)
    shapes = {
        f'model/{x.name}/{i}': w.shape for x in build(after).layers for i, w in enumerate(x.weights)
    }
    arrays = narrow(arrays_of(spec), spec, after, L2)
    assert {k: v.shape for k, v in arrays.items() if k.startswith('model/')} == shapes


@pytest.mark.parametrize(
    ('width_name', 'axis'), [('expansion_3', 'bneck_3/wide'), ('bottleneck_4-6', 'bneck_4')]
)
def test_without_channels_that_did_nothing_the_answers_are_the_same(width_name, axis):
    spec = SPECS['small']
    width = {w.name: w for w in widths(spec)}[width_name]
    after = shrink(spec, width, width.channels - 8)
    dead = np.random.default_rng(1).permutation(width.channels)[:8]
    axes = axes_of(spec)

    def silence(arrays):
        for key, array in arrays.items():
            layer = key.partition('/')[2].rpartition('/')[0]
            if axes.layers[layer].makes == axis and not layer.endswith('depthwise/conv'):
                array[..., dead] = 1 if key.endswith('/bn/3') else 0  # but variances
            if axes.layers[layer].reads == axis and array.ndim == 4:
                array[:, :, dead] = 0

    arrays = arrays_of(spec)
    silence(arrays)
    wide, slim = network_of(spec, arrays), network_of(after, narrow(arrays, spec, after, L2))
    images = np.random.default_rng(2).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(slim(images), wide(images), rtol=1e-4)


def test_the_filters_with_the_largest_norms_stay_in_their_order():
    spec = SPECS['small']
    arrays = arrays_of(spec, ('averaged',))
    kernel = arrays['averaged/bneck_3/expand/conv/0']
    kernel *= 1e-3
    strong = [3, 70, 20, 87, 1, 5, 44, 60]
    kernel[..., strong] *= 1e6
    assert list(keep(arrays, axes_of(spec), 'bneck_3/wide', 8, L2)) == sorted(strong)


def test_a_shared_bottleneck_is_judged_in_all_its_blocks():
    spec = SPECS['small']
    arrays = arrays_of(spec, ('averaged',))
    for number, channel in ((4, 7), (5, 11), (6, 30)):  # each is strong in one block only
        arrays[f'averaged/bneck_{number}/project/conv/0'][..., channel] *= 1e3
    assert list(keep(arrays, axes_of(spec), 'bneck_4', 3, L2)) == [7, 11, 30]


def test_all_roles_lose_the_same_channels():
    spec = SPECS['small']
    width = {w.name: w for w in widths(spec)}['expansion_5']
    after = shrink(spec, width, 64)
    arrays = arrays_of(spec, ('averaged',))
    arrays |= {key.replace('averaged', 'momentum'): v + 1 for key, v in arrays.items()}
    found = narrow(arrays, spec, after, L2)
    assert found.keys() == arrays.keys()
    for key, array in found.items():
        if key.startswith('averaged/'):
            np.testing.assert_array_equal(found[key.replace('averaged', 'momentum')], array + 1)


@pytest.mark.parametrize('criterion', CRITERIA)
def test_every_criterion_narrows_a_network(criterion):
    spec = SPECS['small']
    after = shrink(spec, {w.name: w for w in widths(spec)}['bottleneck_4-6'], 24)
    found = narrow(arrays_of(spec, ('averaged',)), spec, after, CRITERIA[criterion])
    assert found['averaged/bneck_5/expand/conv/0'].shape == (1, 1, 24, 240)
    assert found['averaged/bneck_5/project/conv/0'].shape == (1, 1, 240, 24)


def test_wider_networks_and_others_are_refused():
    spec, arrays = SPECS['small'], arrays_of(SPECS['small'], ('averaged',))
    after = shrink(spec, widths(spec)[0], 64)
    with pytest.raises(ValueError, match='bneck_2/wide has 72 channels in small, more than the 64'):
        narrow(arrays, after, spec, L2)
    other = dataclasses.replace(spec, blocks=spec.blocks[:-1])
    with pytest.raises(ValueError, match='has other layers than small; expected the same'):
        narrow(arrays, spec, other, L2)
