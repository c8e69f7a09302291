import numpy as np
import pytest

from export.calibrate import observe
from export.deploy import deploy_graph
from export.quantize import layer_configs, quantized_model, to_pixel_grid
from export.sensitivity import Sensitivity


@pytest.fixture(scope='module')
def graph(tiny_model):
    return deploy_graph(tiny_model, hard_swish='decomposed')


@pytest.fixture(scope='module')
def ranges(graph, soft_images):
    return observe(graph, soft_images(20))


@pytest.fixture(scope='module')
def model(graph, ranges):
    return quantized_model(graph, ranges)


COARSE = 'bneck_3/expand/conv'


def test_a_layer_of_coarse_steps_ranks_first(graph, ranges, soft_images):
    low, high = ranges[COARSE]
    coarse = quantized_model(graph, {**ranges, COARSE: (60 * low, 60 * high)})
    ranking = Sensitivity(coarse, soft_images(20)).ranking()
    assert ranking[0][0] == COARSE
    assert ranking[0][1] > 3 * ranking[1][1]
    assert [noise for _, noise in ranking] == sorted((n for _, n in ranking), reverse=True)
    assert {name for name, _ in ranking} == set(layer_configs(coarse))


def test_coarse_weights_count_with_the_layer_but_not_with_its_tensor(graph, ranges, soft_images):
    uneven = graph.copy()
    node = uneven.nodes[COARSE]
    node.kernel = node.kernel.copy()
    # One weight that dwarfs the others of its channel, on an input that it hardly changes.
    node.kernel[0, 0, 0] = 40 * np.abs(node.kernel).max(axis=(0, 1, 2))
    images = soft_images(20)
    sensitivity = Sensitivity(quantized_model(uneven, observe(uneven, images)), images)
    assert sensitivity.of_layer(COARSE) > 2 * sensitivity.of_tensor(COARSE)


def test_everything_rounds_again_afterwards(model, soft_images):
    grid = to_pixel_grid(soft_images(4))
    before = model(grid, training=False).numpy()
    sensitivity = Sensitivity(model, soft_images(4))
    sensitivity.ranking()
    sensitivity.of_tensor('stem/conv')
    for config in layer_configs(model).values():
        assert config.output.active
        assert config.weight is None or config.weight.active
    np.testing.assert_array_equal(model(grid, training=False), before)


def test_everything_rounds_again_after_an_error(model, soft_images):
    with pytest.raises(KeyError):
        Sensitivity(model, soft_images(2)).of_layer('nowhere')
    with pytest.raises(Exception, match=r'(?i)shape|rank|dim'):
        Sensitivity(model, np.zeros((2, 7, 7, 1), np.float32))
    assert all(config.output.active for config in layer_configs(model).values())


def test_noise_is_a_fraction_that_does_not_hang_on_the_batch(model, soft_images):
    images = soft_images(17)  # a batch and one
    sensitivity = Sensitivity(model, images)
    noise = sensitivity.of_layer('stem/conv')
    assert 0 < noise < 1
    assert sensitivity.of_layer('stem/conv') == noise
