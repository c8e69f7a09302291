import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.calibrate import observe
from export.convert import convert_int8
from export.deploy import deploy_graph
from export.graph import Graph, Node
from export.quantize import quantized_model, to_pixel_grid
from export.whole_numbers import whole_number_model
from train.tflite_file import TFLiteModel

PLAIN = {'strides': (1, 1), 'padding': 'same', 'dilation_rate': (1, 1)}


@pytest.fixture(scope='module')
def quantized(tiny_model, soft_images):
    graph = deploy_graph(tiny_model, hard_swish='decomposed')
    return quantized_model(graph, observe(graph, soft_images(16)))


def steps_apart(model, path, images):
    """The difference of each answer, in output steps."""
    file = TFLiteModel(path)
    ours = whole_number_model(model)(to_pixel_grid(images)).numpy()
    return np.round(np.abs(ours - file(images)) / file.output_scale)


@pytest.mark.parametrize('io', ['int8', 'uint8'])
def test_answers_are_the_files_to_the_last_step(quantized, soft_images, tmp_path, io):
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_int8(quantized, io=io))
    assert steps_apart(quantized, path, soft_images(32, seed=1)).max() == 0


def test_floats_that_round_are_near(quantized, soft_images):
    images = to_pixel_grid(soft_images(64, seed=2))
    ours = whole_number_model(quantized)(images).numpy()
    floats = quantized(images, training=False).numpy()
    assert np.corrcoef(ours.ravel(), floats.ravel())[0, 1] > 0.99


def test_it_runs_in_a_function(quantized, soft_images):
    images = to_pixel_grid(soft_images(4))
    answers = whole_number_model(quantized)
    np.testing.assert_array_equal(tf.function(answers)(images), answers(images))


def test_ties_round_as_in_the_file(tmp_path):
    """Sums of two tensors on coarse steps, half of which lie half way between two."""
    rng = np.random.default_rng(0)

    def conv(name, source, kernel, bias=0.0):
        kernel = np.full((1, 1, 1, 1), kernel, np.float32)
        return Node(name, 'conv', [source], dict(PLAIN), kernel, np.float32([bias]), 'linear')

    nodes = [
        Node('image', 'input', [], {'shape': (16, 16, 1)}),
        conv('a', 'image', 0.5, 0.1),
        conv('b', 'image', -0.8),
        Node('sum', 'add', ['a', 'b']),
        Node('product', 'mul', ['a', 'b']),
        Node('both', 'add', ['sum', 'product']),
    ]
    graph = Graph('ties', nodes, {'': 'both'})
    pixels = rng.integers(0, 256, (16, 16, 16, 1)).astype(np.float32)
    images = pixels / np.float32(127.5) - 1
    model = quantized_model(graph, observe(graph, images))
    path = tmp_path / 'ties.tflite'
    path.write_bytes(convert_int8(model))
    assert steps_apart(model, path, images).max() == 0


def alone(node, size, tmp_path):
    """Steps by which Keras and the file differ on a node that takes the pixels themselves."""
    image = Node('image', 'input', [], {'shape': (*size, 3)})
    graph = Graph('net', [image, node], {'': node.name})
    pixels = np.random.default_rng(0).integers(0, 256, (16, *size, 3)).astype(np.float32)
    model = quantized_model(graph, {})
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_int8(model))
    return steps_apart(model, path, pixels / np.float32(127.5) - 1)


@pytest.mark.parametrize(
    ('size', 'new_size'),
    [
        ((8, 8), (16, 16)),
        ((5, 7), (13, 18)),
        ((1, 4), (9, 31)),
        ((23, 30), (45, 60)),
        ((9, 9), (4, 7)),
    ],
)
def test_resizing_rounds_as_in_the_file(tmp_path, size, new_size):
    node = Node('resize', 'resize', ['image'], {'size': new_size})
    assert alone(node, size, tmp_path).max() == 0


@pytest.mark.parametrize('padding', ['valid', 'same'])
@pytest.mark.parametrize('window', [((3, 4), (2, 3)), ((5, 5), (1, 1)), ((2, 2), (2, 2))])
def test_means_of_windows_round_as_in_the_file(tmp_path, window, padding):
    size, strides = window
    config = {'pool_size': size, 'strides': strides, 'padding': padding}
    node = Node('pool', 'average_pool', ['image'], config)
    assert alone(node, (9, 11), tmp_path).max() == 0


def test_several_outputs_keep_their_names(tiny_model, soft_images):
    graph = deploy_graph(tiny_model, hard_swish='decomposed')
    last = graph.outputs['']
    graph.outputs = {'low': 'bneck_1/project/conv', 'high': last}
    ranges = observe(graph, soft_images(8))
    model = quantized_model(graph, ranges)
    answers = whole_number_model(model)(to_pixel_grid(soft_images(2)))
    assert answers.keys() == {'low', 'high'}
    assert answers['low'].shape == (2, 8, 8, 8)


def test_the_fused_form_is_answered_too(tiny_model, soft_images):
    # HARD_SWISH stays the model's own.
    graph = deploy_graph(tiny_model, hard_swish='fused')
    model = quantized_model(graph, observe(graph, soft_images(8)))
    images = to_pixel_grid(soft_images(8))
    ours = whole_number_model(model)(images).numpy()
    floats = model(images, training=False).numpy()
    assert ours.shape == floats.shape
    assert np.abs(ours - floats).mean() < 0.2 * floats.std()
    assert isinstance(model, tf_keras.Model)
