import numpy as np
import pytest

from export.calibrate import calibrate, observe, search
from export.deploy import deploy_graph
from export.graph import Graph, Node, build
from export.quantize import quantized_model, rule_of, to_pixel_grid
from export.sensitivity import Sensitivity

PLAIN = {'strides': (1, 1), 'padding': 'same', 'dilation_rate': (1, 1)}


@pytest.fixture(scope='module')
def graph(tiny_model):
    return deploy_graph(tiny_model, hard_swish='decomposed')


def test_every_range_is_that_of_its_tensor(graph, soft_images):
    images = soft_images(20)  # more than a batch
    ranges = calibrate(graph, images, search_images=0)
    assert set(ranges) == {n.name for n in graph if n.op != 'input' and rule_of(n) == 'range'}
    tensors = build(graph, outputs={name: name for name in ranges})(images, training=False)
    for name, (low, high) in ranges.items():
        assert high == pytest.approx(np.max(tensors[name]), rel=1e-4, abs=1e-5), name
        lowest = np.min(tensors[name])
        if name == 'stem/conv':
            lowest = max(lowest, -3.0)
        if low != -3:
            assert low == pytest.approx(lowest, rel=1e-4, abs=1e-5), name


def test_a_range_before_an_h_swish_starts_at_minus_3(graph, soft_images):
    wide = graph.copy()
    stem = wide.nodes['stem/conv']
    stem.kernel = stem.kernel * 100
    assert observe(wide, soft_images(4))['stem/conv'][0] == -3
    wide = deploy_fused(wide)
    assert observe(wide, soft_images(4))['stem/conv'][0] == -3


def deploy_fused(graph):
    """A graph of the first convolution with a HARD_SWISH op."""
    nodes = [graph.nodes['image'], graph.nodes['stem/conv']]
    return Graph('net', [*nodes, Node('swish', 'hard_swish', ['stem/conv'])], {'': 'swish'})


@pytest.fixture(scope='module')
def outlier():
    """A network, and images of which a single pixel makes a value far from all others."""
    kernel = np.ones((1, 1, 1, 4), np.float32) * [1.0, -1.0, 0.5, 0.3]
    # The last channel sees next to nothing of it: 30 at a white pixel, and nothing goes on from it.
    last = np.random.default_rng(0).normal(size=(1, 1, 4, 3)).astype(np.float32)
    last[:, :, 3] = 0
    nodes = [
        Node('image', 'input', [], {'shape': (8, 8, 1)}),
        Node('conv', 'conv', ['image'], PLAIN, kernel * [1, 1, 1, 100], np.zeros(4, np.float32)),
        Node('last', 'conv', ['conv'], PLAIN, last, np.zeros(3, np.float32)),
    ]
    images = np.random.default_rng(1).integers(0, 256, (8, 8, 8, 1)) / 127.5 - 1
    return Graph('net', nodes, {'': 'last'}), images.astype(np.float32)


def test_the_search_takes_noise_from_a_network_with_an_outlier(outlier):
    graph, images = outlier
    extremes = observe(graph, images)
    found = search(graph, extremes, images)
    low, high = extremes['conv']
    assert found['conv'][1] - found['conv'][0] < 0.5 * (high - low)
    noise = [
        Sensitivity(quantized_model(graph, ranges), images).of_tensor('conv')
        for ranges in (extremes, found)
    ]
    assert noise[1] < 0.2 * noise[0]
    assert calibrate(graph, images, search_images=8) == found  # once more, and from the start
    assert calibrate(graph, images, search_images=0) == extremes


def test_ranges_that_the_loss_cannot_tell_apart_stay(outlier):
    graph, images = outlier
    found = calibrate(graph, images, search_images=8, loss=lambda answers: 0 * answers[0, 0, 0, 0])
    assert found == observe(graph, images)


@pytest.mark.slow
def test_the_search_brings_the_answers_nearer_and_repeats_itself(graph, soft_images):
    images = soft_images(4)
    extremes = observe(graph, images)
    found = search(graph, extremes, images)
    for name, (low, high) in found.items():
        assert extremes[name][0] <= low < high <= extremes[name][1]

    def error(ranges):
        answers = quantized_model(graph, ranges)(to_pixel_grid(images), training=False)
        return np.mean((answers - build(graph)(images, training=False)) ** 2)

    assert error(found) < error(extremes)
    assert search(graph, extremes, images) == found


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        (np.zeros((0, 32, 32, 3)), 'there are no calibration images; expected at least one'),
        (np.zeros((2, 16, 32, 3)), r'images are \(16, 32, 3\), the network takes \(32, 32, 3\)'),
        (np.zeros((2, 32, 32, 1)), r'images are \(32, 32, 1\), the network takes \(32, 32, 3\)'),
        (np.full((2, 32, 32, 3), 0.5), 'all calibration images are the constant 0.5; ranges that'),
        (np.full((2, 32, 32, 3), np.nan), r'hold values that are not finite; expected \[-1, 1\]'),
    ],
)
def test_images_that_are_none_are_refused(graph, images, message):
    with pytest.raises(ValueError, match=message):
        calibrate(graph, images.astype(np.float32), search_images=1)


def test_a_dead_tensor_is_named(outlier):
    graph, images = outlier
    dead = graph.copy()
    dead.nodes['conv'].kernel = dead.nodes['conv'].kernel * 0
    with pytest.raises(ValueError, match=r'the range of conv is \[0, 0\]: the tensor is dead'):
        calibrate(dead, images, search_images=2)
