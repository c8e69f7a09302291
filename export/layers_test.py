import dataclasses

import numpy as np
import pytest
from PIL import Image

from export.calibrate import observe
from export.convert import convert_int8
from export.deploy import deploy_graph
from export.layers import (
    LayerDifference,
    compare_layers,
    layers_table,
    plot_layers,
    summarize_layers,
)
from export.quantize import layer_configs, quantized_model


@pytest.fixture(scope='module')
def make(tiny_model, soft_images):
    """Makes the quantized model, the same each time."""
    graph = deploy_graph(tiny_model, hard_swish='decomposed')
    ranges = observe(graph, soft_images(16))
    return lambda: quantized_model(graph, ranges)


@pytest.fixture(scope='module')
def content(make):
    return convert_int8(make())


@pytest.fixture(scope='module')
def differences(make, content, soft_images):
    return compare_layers(make(), content, soft_images(4))


def test_no_layer_of_a_right_file_departs(make, differences):
    assert [d.layer for d in differences] == list(layer_configs(make()))
    assert not [d.layer for d in differences if d.departs]
    assert max(d.alone_max_steps for d in differences) <= 1
    assert max(d.max_steps for d in differences) <= 1
    summary = summarize_layers(differences)
    assert summary['layers'] == len(differences)
    assert summary['first_departing'] is None
    assert summary['mean_steps_at_the_end'] < 0.1


@pytest.mark.parametrize('io', ['int8', 'float32'])
def test_other_inputs_are_compared_too(make, soft_images, io):
    found = compare_layers(make(), convert_int8(make(), io=io), soft_images(4))
    assert summarize_layers(found)['first_departing'] is None
    stem = next(d for d in found if d.layer == 'stem/conv')
    assert stem.values == 4 * 16 * 16 * 8  # it is compared, not passed over


@pytest.mark.parametrize('layer', ['stem/conv', 'bneck_2/depthwise/conv', 'logits/conv'])
def test_a_changed_kernel_is_the_first_that_departs(make, content, soft_images, layer):
    model = make()
    kernel = layer_configs(model)[layer].weight.kernel
    kernel.assign(-kernel)
    found = compare_layers(model, content, soft_images(4))
    assert summarize_layers(found)['first_departing'] == layer
    names = [d.layer for d in found]
    before = found[: names.index(layer)]
    assert max((d.mean_steps for d in before), default=0.0) < 0.1
    # Those after it are right, given what the file gave them.
    assert [d.layer for d in found if d.departs] == [layer]
    assert found[names.index(layer)].mean_steps > 1


def test_a_changed_range_is_found(make, content, soft_images):
    model = make()
    high = layer_configs(model)['bneck_3/expand/conv'].output.high
    high.assign(high * 0.7)
    found = compare_layers(model, content, soft_images(4))
    assert summarize_layers(found)['first_departing'] == 'bneck_3/expand/conv'


def test_a_file_of_another_model_is_refused(tiny_model, make, soft_images):
    graph = deploy_graph(tiny_model, hard_swish='fused')
    other = convert_int8(quantized_model(graph, observe(graph, soft_images(4))))
    message = r'the file has no tensor of stem/act/shift \(7 are missing\): it was not made of this'
    with pytest.raises(ValueError, match=message):
        compare_layers(make(), other, soft_images(1))


def difference(**changes):
    plain = LayerDifference('x', 0.1, 1000, 0.0, 0.0, 0.0, 0.0)
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    ('changes', 'departs'),
    [
        ({}, False),
        ({'alone_share': 0.009, 'alone_max_steps': 1.0}, False),
        ({'alone_share': 0.02, 'alone_max_steps': 1.0}, True),
        ({'alone_share': 0.001, 'alone_max_steps': 2.0}, True),
        # A tie or two of a gate's few values.
        ({'values': 32, 'alone_share': 2 / 32, 'alone_max_steps': 1.0}, False),
        ({'values': 32, 'alone_share': 5 / 32, 'alone_max_steps': 1.0}, True),
        ({'mean_steps': 9.0, 'max_steps': 30.0}, False),
    ],
)
def test_a_layer_departs_by_itself_only(changes, departs):
    assert difference(**changes).departs is departs


def test_the_table_has_a_line_a_layer(differences):
    noises = {differences[0].layer: 0.0125}
    wrong = dataclasses.replace(differences[1], alone_share=0.5)
    lines = layers_table([differences[0], wrong, *differences[2:]], noises).splitlines()
    assert len(lines) == 2 + len(differences)
    assert len({line.count('|') for line in lines}) == 1
    assert lines[2].startswith(f'| {differences[0].layer} | ')
    assert lines[2].endswith('| 1.25e-02 |')
    assert f'| {wrong.layer} **departs** |' in lines[3]


@pytest.mark.parametrize('noises', [{}, {'stem/conv': 0.5}])
def test_the_plot_is_a_picture(differences, tmp_path, noises):
    plot_layers(tmp_path / 'layers.png', differences, noises)
    assert np.asarray(Image.open(tmp_path / 'layers.png')).std() > 0
    assert [path.name for path in tmp_path.iterdir()] == ['layers.png']
