import dataclasses

import numpy as np
import pytest

from mobilenet_v3 import SPECS, build_detector, build_model, build_segmenter
from mobilenet_v3.head_tables import segmentation_backbone
from mobilenet_v3.spec_file import load_model_spec
from mobilenet_v3.transforms import widen
from train.weights.carry import NO_BACKGROUND, carry
from train.weights.fit import fit
from train.weights.imported import HEAD, Definition, Imported, slots

FORM = {'norm': ('gamma', 'beta', 'mean', 'variance')}


@pytest.fixture(scope='module')
def spec(tiny_spec):
    return load_model_spec(str(tiny_spec))


def weights_of(spec, num_classes, seed=0):
    """Random weights of a network by our names."""
    rng = np.random.default_rng(seed)
    model = build_model(spec, resolution=32, num_classes=num_classes)
    layers = {}
    for name, kind in slots(spec):
        shapes = [tuple(w.shape) for w in model.get_layer(name).weights]
        roles = FORM.get(kind, ('kernel', 'bias'))
        layers[name] = {
            role: np.abs(rng.normal(1, 0.1, shape)).astype(np.float32)
            for role, shape in zip(roles, shapes, strict=False)
        }
    return layers


def imported(layers, **more):
    return Imported('test', '', layers, **more)


# ------------------------------------------------------------------------------------ fit


@pytest.mark.parametrize('name', SPECS)
@pytest.mark.parametrize('multiplier', [1.0, 0.5])
def test_a_networks_own_weights_fit_it(name, multiplier):
    spec = widen(SPECS[name], multiplier)
    fitted, _ = fit(spec, imported(weights_of(spec, 10)))
    assert fitted == spec


@pytest.mark.parametrize(
    ('asked', 'given', 'fits'),
    [
        ('large', widen(SPECS['small_1024'], 1.0), 'It fits --model=small_1024 or --model=small'),
        ('large', widen(SPECS['large'], 0.75), 'It fits --model=large --multiplier=0.75'),
        ('v1', SPECS['v2'], 'It fits --model=v2'),
        ('large', SPECS['large_minimalistic'], 'It fits --model=large_minimalistic'),
    ],
)
def test_the_network_that_fits_is_named(asked, given, fits):
    with pytest.raises(ValueError, match=rf'test does not fit the network {asked}: .*{fits}'):
        fit(SPECS[asked], imported(weights_of(given, 10)))


def test_widths_are_those_of_the_arrays(spec):
    blocks = list(spec.blocks)
    blocks[3] = dataclasses.replace(
        blocks[3], expansion=40, se=dataclasses.replace(blocks[3].se, squeezed=12)
    )
    theirs = dataclasses.replace(
        spec,
        stem=dataclasses.replace(spec.stem, filters=8),
        blocks=tuple(blocks),
        last=dataclasses.replace(spec.last, filters=56),
        features=dataclasses.replace(spec.features, filters=72, batch_norm=True),
    )
    fitted, _ = fit(spec, imported(weights_of(theirs, 3)))
    assert fitted == theirs


def test_a_definition_becomes_the_networks(spec):
    definition = Definition('symmetric', 1e-5, gate_first=True)
    fitted, _ = fit(spec, imported(weights_of(spec, 3), definition=definition))
    assert (fitted.padding, fitted.batch_norm_epsilon) == ('symmetric', 1e-5)
    assert [b.se.before_activation for b in fitted.blocks if b.se] == [True, True]


def without(*names):
    return lambda layers: {k: v for k, v in layers.items() if k not in names}


def kernel(name, shape):
    return lambda layers: {**layers, name: {**layers[name], 'kernel': np.zeros(shape, np.float32)}}


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (without('bneck_2/expand/conv'), 'nothing in it fills bneck_2/expand/conv'),
        (without('bneck_2/expand/bn'), 'nothing in it fills bneck_2/expand/bn'),
        (without('features/conv'), 'it has logits/conv and no features/conv: half a head'),
        (lambda ls: {**ls, 'bneck_9/expand/conv': ls['stem/conv']}, 'has no bneck_9/expand/conv'),
        (
            kernel('bneck_2/depthwise/conv', (3, 3, 16, 1)),
            r'bneck_2/depthwise/conv is \[3, 3, 16, 1\], expected \[5, 5, 16, 1\]',
        ),
        (
            kernel('bneck_2/project/conv', (1, 1, 16, 24)),
            r'bneck_2/project/conv is \[1, 1, 16, 24\], expected \[1, 1, 16, 8\]',
        ),
        (kernel('bneck_2/expand/conv', (1, 1, 8, 8)), 'bneck_2 expands 8 channels to 8: not more'),
        (kernel('last/conv', (32,)), r'last/conv is \[0, 0, 0, 0\], expected'),
        (
            lambda ls: {**ls, 'stem/bn': {**ls['stem/bn'], 'mean': np.zeros(7, np.float32)}},
            r'mean of stem/conv is \[7\], not \[8\]',
        ),
    ],
)
def test_what_does_not_fit_is_listed(spec, damage, message):
    with pytest.raises(ValueError, match=rf'does not fit the network tiny: .*{message}'):
        fit(spec, imported(damage(weights_of(spec, 3))))


# ---------------------------------------------------------------------------------- carry


def carried(spec, layers, num_classes, head='auto'):
    fitted, layers = fit(spec, imported(layers))
    model = build_model(fitted, resolution=32, num_classes=num_classes)
    return model, carry(layers, fitted, model, head)


def test_the_same_classes_keep_the_whole_head(spec):
    layers = weights_of(spec, 3)
    model, report = carried(spec, layers, 3)
    assert report.fresh == ()
    np.testing.assert_array_equal(
        model.get_layer('logits/conv').kernel, layers['logits/conv']['kernel']
    )
    np.testing.assert_array_equal(
        model.get_layer('bneck_1/depthwise/bn').moving_variance,
        layers['bneck_1/depthwise/bn']['variance'],
    )
    assert str(report) == '32 layers carried; fresh: nothing; the 3 classes of the source'


def test_other_classes_keep_the_features(spec):
    _, report = carried(spec, weights_of(spec, 3), 5)
    assert report.fresh == ('logits/conv',)
    assert str(report).endswith('3 classes there, 5 here')


def test_a_dropped_head_is_fresh(spec):
    _, report = carried(spec, weights_of(spec, 3), 3, 'drop')
    assert report.fresh == ('features/conv', 'logits/conv')


def test_a_source_without_a_head_leaves_ours(spec):
    layers = {k: v for k, v in weights_of(spec, 3).items() if k not in HEAD}
    _, report = carried(spec, layers, 3)
    assert report.fresh == ('features/conv', 'logits/conv')
    with pytest.raises(ValueError, match=r'init.head=keep, but the source has no head'):
        carried(spec, layers, 3, 'keep')


def test_a_background_is_left_out(spec):
    layers = weights_of(spec, 1001)
    model, _ = carried(spec, layers, 1000, 'keep')
    ours, theirs = model.get_layer('logits/conv'), layers['logits/conv']
    np.testing.assert_array_equal(ours.kernel, theirs['kernel'][..., 1:])
    np.testing.assert_array_equal(ours.bias, theirs['bias'][1:])


def test_a_background_is_added_that_no_image_has(spec):
    layers = weights_of(spec, 1000)
    model, _ = carried(spec, layers, 1001, 'keep')
    ours, theirs = model.get_layer('logits/conv'), layers['logits/conv']
    np.testing.assert_array_equal(ours.kernel[..., 1:], theirs['kernel'])
    np.testing.assert_array_equal(ours.bias[1:], theirs['bias'])
    assert not np.any(ours.kernel[..., 0])
    assert ours.bias[0] == NO_BACKGROUND


@pytest.mark.parametrize(
    ('name', 'role', 'value', 'message'),
    [
        ('stem/conv', 'kernel', np.nan, 'stem/conv has values that are not finite numbers'),
        ('stem/bn', 'variance', -1.0, 'stem/bn has a variance below 0'),
        ('logits/conv', 'bias', np.inf, 'logits/conv has values that are not finite numbers'),
    ],
)
def test_impossible_values_are_refused(spec, name, role, value, message):
    layers = weights_of(spec, 3)
    layers[name][role] = np.full_like(layers[name][role], value)
    with pytest.raises(ValueError, match=f'the weights cannot be carried: .*{message}'):
        carried(spec, layers, 3)


def test_colour_weights_are_refused_for_grey_images(spec):
    fitted, layers = fit(spec, imported(weights_of(spec, 3)))
    model = build_model(fitted, resolution=32, num_classes=3, input_channels=1)
    with pytest.raises(ValueError, match=r'stem/conv is \[3, 3, 3, 8\] there, \[3, 3, 1, 8\] here'):
        carry(layers, fitted, model, 'auto')


def test_an_unknown_head_is_refused(spec):
    with pytest.raises(ValueError, match="head is 'kept'; expected one of auto, keep, drop"):
        carried(spec, weights_of(spec, 3), 3, 'kept')


# ----------------------------------------------------------------------- a detector's head


def detector(spec, num_classes, head='auto', layers=None):
    fitted, layers = fit(spec, imported(weights_of(spec, 3) if layers is None else layers))
    model = build_detector(fitted, resolution=32, num_classes=num_classes)
    return model, carry(layers, fitted, model, head)


def arrays_of(model):
    """As a run is read: a layer's arrays by their roles."""
    roles = {'depthwise_kernel': 'kernel', 'moving_mean': 'mean', 'moving_variance': 'variance'}
    found = {}
    for layer in model.layers:
        names = [w.name.rpartition('/')[2].partition(':')[0] for w in layer.weights]
        arrays = zip(names, layer.get_weights(), strict=True)
        found[layer.name] = {roles.get(name, name): array for name, array in arrays}
    return {name: arrays for name, arrays in found.items() if arrays}


def test_a_classifiers_backbone_goes_into_a_detector(spec):
    layers = weights_of(spec, 3)
    model, report = detector(spec, 2, layers=layers)
    np.testing.assert_array_equal(
        model.get_layer('last/conv').kernel, layers['last/conv']['kernel']
    )
    assert all(name.startswith('ssd/') for name in report.fresh)
    assert len(report.carried) == 30  # all but the features and the logits
    assert str(report) == '30 layers carried; fresh: ssd; the source has another head'
    with pytest.raises(ValueError, match=r'init.head=keep, but ssd/.* not in it'):
        detector(spec, 2, 'keep', layers)


def test_a_detectors_head_is_carried_but_for_other_classes(spec):
    layers = arrays_of(detector(spec, 2)[0])
    same, report = detector(spec, 2, 'keep', layers)
    assert report.fresh == ()
    for name in ('ssd/map_2/scores/predict/conv', 'ssd/extra_1/depthwise/bn'):
        expected = layers[name]['bias' if 'conv' in name else 'mean']
        index = 1 if 'conv' in name else 2
        np.testing.assert_array_equal(same.get_layer(name).get_weights()[index], expected)
    _, report = detector(spec, 5, layers=layers)
    assert report.fresh == tuple(f'ssd/map_{i}/scores/predict/conv' for i in range(1, 7))
    assert detector(spec, 2, 'drop', layers)[1].fresh[0].startswith('ssd/')


def test_a_detectors_backbone_goes_into_a_classifier(spec):
    layers = arrays_of(detector(spec, 2)[0])
    _, report = carried(spec, layers, 3)
    assert report.fresh == ('features/conv', 'logits/conv')
    assert report.logits == 'the source has no head'


# ---------------------------------------------------------------------- a segmenter's head


def segmenter(spec, num_classes, **more):
    """A network with the weights of a source, and the report of what it has of it."""
    under = segmentation_backbone(spec, rf2=False, output_stride=16)
    fitted, layers = fit(under, imported(**more))
    model = build_segmenter(fitted, resolution=64, num_classes=num_classes)
    return model, carry(layers, fitted, model, 'auto')


@pytest.mark.parametrize('name', ['small', 'v2', 'mnasnet_a1'])
def test_a_classifiers_backbone_goes_into_a_segmenter(name):
    layers = weights_of(SPECS[name], 3)
    model, report = segmenter(SPECS[name], 2, layers=layers)
    assert all(name.startswith('lraspp/') for name in report.fresh)
    deepest = f'bneck_{len(SPECS[name].blocks)}/project/conv'
    expected = layers[deepest]['kernel']
    np.testing.assert_array_equal(model.get_layer(deepest).kernel, expected)
    # V2's last convolution is made for its classes, V3's is not.
    assert ('last/conv' in report.carried) == (name == 'small')


def test_a_run_keeps_its_widths_under_another_head(spec):
    narrow = dataclasses.replace(spec, stem=dataclasses.replace(spec.stem, activation='relu'))
    under = segmentation_backbone(spec, rf2=False, output_stride=16)
    fitted, _ = fit(under, imported(weights_of(narrow, 3), spec=narrow))
    assert fitted == dataclasses.replace(narrow, output_stride=16)


def test_a_segmenters_head_is_carried_but_for_other_classes(spec):
    layers = arrays_of(segmenter(spec, 2, layers=weights_of(spec, 3))[0])
    model, report = segmenter(spec, 2, layers=layers)
    assert report.fresh == ()
    np.testing.assert_array_equal(
        model.get_layer('lraspp/gate/conv').kernel, layers['lraspp/gate/conv']['kernel']
    )
    _, report = segmenter(spec, 5, layers=layers)
    assert sorted(report.fresh) == ['lraspp/deep/conv', 'lraspp/skip/conv']
