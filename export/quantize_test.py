import numpy as np
import pytest
import tensorflow as tf
from tf_keras import layers

from export.calibrate import observe
from export.convert import convert_int8
from export.deploy import deploy_graph
from export.graph import Graph, Node, build
from export.quantize import (
    Observing,
    align_means,
    layer_configs,
    quantized_model,
    range_owners,
    rule_of,
    set_ranges,
    smallest_that_counts,
    to_pixel_grid,
)
from export.whole_numbers import whole_number_model
from train.tflite_file import TFLiteModel, dissect

PLAIN = {'strides': (1, 1), 'padding': 'same', 'dilation_rate': (1, 1)}


@pytest.fixture(scope='module')
def graph(tiny_model):
    return deploy_graph(tiny_model, hard_swish='decomposed')


@pytest.fixture(scope='module')
def ranges(graph, soft_images):
    return observe(graph, soft_images(16))


@pytest.fixture(scope='module')
def quantized(graph, ranges):
    return quantized_model(graph, ranges)


def test_it_answers_near_the_float_model(tiny_model, quantized, soft_images):
    images = soft_images(8, seed=1)
    expected = tiny_model(images, training=False).numpy()
    answers = quantized(to_pixel_grid(images), training=False).numpy()
    # Random weights amplify every rounding: trained ones do not.
    assert np.abs(answers - expected).mean() < 0.5 * expected.std()
    assert np.any(answers != expected)


def test_the_file_answers_as_keras(quantized, soft_images, tmp_path):
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_int8(quantized))
    images = soft_images(20, seed=1)
    file = TFLiteModel(path)
    steps = np.abs(file(images) - quantized(to_pixel_grid(images), training=False))
    assert steps.mean() / file.output_scale < 0.5


def one_convolution(size=16, kernel=None):
    """A 1×1 convolution of an image of one channel."""
    kernel = np.ones((1, 1, 1, 1), np.float32) if kernel is None else kernel
    return Graph(
        'net',
        [
            Node('image', 'input', [], {'shape': (size, size, 1)}),
            Node('conv', 'conv', ['image'], PLAIN, kernel, np.zeros(1, np.float32)),
        ],
        {'': 'conv'},
    )


def test_a_pixel_p_is_p_minus_128_steps_in_keras_and_in_the_file(tmp_path):
    """With a convolution that does nothing, whose bias gives back the half step."""
    pixels = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1)
    images = to_pixel_grid(pixels / np.float32(127.5) - 1)
    np.testing.assert_allclose(images, (pixels - 128 + 0.5 - 0.5) / 127.5, atol=1e-6)
    model = quantized_model(one_convolution(), {'conv': (-128 / 127.5, 127 / 127.5)})
    rounded = model.get_layer('image/quantize')(images, training=False)
    np.testing.assert_allclose(rounded, (pixels - 128) / 127.5, atol=1e-6)
    keras = model(images, training=False).numpy()
    assert np.abs(keras - (pixels / 127.5 - 1)).max() <= 0.51 / 127.5
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_int8(model))
    file = TFLiteModel(path)(pixels / np.float32(127.5) - 1)
    assert np.abs(file - keras).max() <= 1.01 / 127.5


def test_the_half_step_of_the_pixels_is_in_the_bias_of_the_first_convolution(graph, ranges):
    model = quantized_model(graph, ranges)
    (bias,) = [w for w in model.get_layer('stem/conv').weights if 'bias' in w.name]
    before = graph.nodes['stem/conv']
    expected = before.bias + 0.5 / 127.5 * before.kernel.sum(axis=(0, 1, 2))
    np.testing.assert_allclose(bias, expected, rtol=1e-5, atol=1e-7)


def test_ranges_are_set(quantized, ranges):
    configs = layer_configs(quantized)
    assert set(ranges) < set(configs)  # the image's is fixed
    for name, (low, high) in ranges.items():
        output = configs[name].output
        widened = float(output.high) / high
        assert 1 - 1e-5 <= widened < 1.1
        np.testing.assert_allclose(float(output.low), min(low, 0) * widened, rtol=1e-5, atol=1e-6)


def pools(model):
    """What quantizes each mean."""
    configs = layer_configs(model).values()
    return [c for c in configs if isinstance(c.layer, layers.GlobalAveragePooling2D)]


def check_means(model):
    """Returns how many means add a whole zero point."""
    added = [
        abs(c.source.zero_point()) * float(c.source.scale()) / float(c.output.scale())
        for c in pools(model)
    ]
    assert added
    # A little more than whole: cut off, it stays.
    return sum(0 <= value - np.floor(value) < 0.03 for value in added)


def test_the_zero_point_that_a_mean_adds_is_whole(quantized):
    assert check_means(quantized) == len(pools(quantized))
    align_means(quantized)
    assert check_means(quantized) == len(pools(quantized))


def test_means_are_aligned_again_after_training(graph, ranges):
    model = quantized_model(graph, ranges)
    for config in layer_configs(model).values():
        if isinstance(config.layer, layers.GlobalAveragePooling2D):
            config.output.high.assign(config.output.high * 1.234)
    align_means(model)
    assert check_means(model) == len(pools(model))


def test_a_missing_range_names_its_tensor(graph, ranges):
    partial = {name: value for name, value in ranges.items() if name != 'stem/act'}
    message = r'the range of stem/act is \[.*\]: the tensor is dead or not finite .* calibrate with'
    with pytest.raises(ValueError, match=message):
        quantized_model(graph, partial)


@pytest.mark.parametrize(
    'bad', [(np.nan, 1.0), (0.0, np.nan), (0.0, np.inf), (-np.inf, 1.0), (0.0, 0.0), (0.0, 1e-9)]
)
def test_a_range_that_is_none_names_its_tensor(quantized, ranges, bad):
    with pytest.raises(ValueError, match=r'the range of bneck_1/se/pool is .* dead or not finite'):
        set_ranges(quantized, {**ranges, 'bneck_1/se/pool': bad})


def test_an_op_without_a_rule_is_named_with_how_to_add_one():
    message = 'odd is a softmax, which no rule quantizes; add its line to RULES of export/quantize'
    with pytest.raises(ValueError, match=message):
        rule_of(Node('odd', 'softmax', ['x']))


def test_only_before_an_h_swish_does_nothing_below_minus_3_count(graph):
    assert smallest_that_counts(graph, 'stem/conv') == -3
    assert smallest_that_counts(graph, 'stem/act') is None
    shift, swish = Node('s', 'shift_relu6', ['x']), Node('m', 'mul', ['x', 's'])
    x, y = Node('x', 'input', []), Node('y', 'input', [])
    assert smallest_that_counts(Graph('net', [x, shift, swish], {'': 'm'}), 'x') == -3
    # The product is another's, or the tensor is an answer itself.
    other = Node('m', 'mul', ['x', 'y'])
    assert smallest_that_counts(Graph('net', [x, y, shift, other], {'': 'm'}), 'x') is None
    outputs = {'a': 'm', 'b': 'x'}
    assert smallest_that_counts(Graph('net', [x, shift, swish], outputs), 'x') is None


def test_the_graph_stays_as_it_is(graph, ranges):
    names, bias = list(graph.nodes), graph.nodes['stem/conv'].bias.copy()
    quantized_model(graph, ranges)
    assert list(graph.nodes) == names
    np.testing.assert_array_equal(graph.nodes['stem/conv'].bias, bias)


def joined(*, activation='linear', more=()):
    """Two convolutions of an image, of which one is smaller and resized, joined by channels."""
    rng = np.random.default_rng(0)

    def conv(name, strides, factor):
        kernel = factor * rng.normal(0, 0.3, (3, 3, 3, 2)).astype(np.float32)
        config = {**PLAIN, 'strides': (strides, strides)}
        bias = np.zeros(2, np.float32)
        return Node(name, 'conv', ['image'], config, kernel, bias, activation)

    nodes = [
        Node('image', 'input', [], {'shape': (8, 8, 3)}),
        conv('wide', 1, 10.0),
        conv('low', 2, 1.0),
        Node('resize', 'resize', ['low'], {'size': (8, 8)}),
        Node('flat', 'reshape', ['resize'], {'target_shape': (8, 8, 2)}),
        Node('both', 'concat', ['wide', 'flat'], {'axis': -1}),
        *more,
    ]
    return Graph('joined', nodes, {'': nodes[-1].name})


def test_what_is_joined_shares_the_range_that_holds_all_of_it():
    graph = joined()
    owners = range_owners(graph)
    assert {name for name, owner in owners.items() if owner == 'wide'} == {
        'wide', 'low', 'resize', 'flat', 'both',
    }  # fmt: skip
    images = np.random.default_rng(1).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
    ranges = observe(graph, images)
    assert ranges.keys() == {'wide'}
    tensors = build(graph, outputs={'both': 'both'})(images)['both'].numpy()
    np.testing.assert_allclose(ranges['wide'], (tensors.min(), tensors.max()), rtol=1e-5)
    model = quantized_model(graph, ranges, Observing(steps=10))
    configs = layer_configs(model)
    scales = {float(configs[name].output.scale()) for name in ('wide', 'low', 'resize', 'both')}
    assert len(scales) == 1
    # Training sees no tensor by which it could move the range of all.
    before = limits(model)
    model.get_layer('wide').follow(tf.Variable(0, dtype=tf.int64), 0)
    model(10 * images, training=True)
    assert limits(model) == before


def limits(model):
    output = layer_configs(model)['wide'].output
    return float(output.low), float(output.high)


def test_what_is_joined_is_rounded_once(tmp_path):
    graph = joined(activation='relu')
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 8, 3))
    images = pixels.astype(np.float32) / np.float32(127.5) - 1
    model = quantized_model(graph, observe(graph, images))
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_int8(model))
    anatomy = dissect(path)
    assert (anatomy.partitions, anatomy.outside) == (1, {'QUANTIZE': 2})
    assert anatomy.ops['QUANTIZE'] == 2  # none in between, of another range
    file = TFLiteModel(path)
    expected = whole_number_model(model)(to_pixel_grid(images)).numpy()
    assert np.abs(file(images) - expected).max() < 1.01 * file.output_scale


def test_a_fixed_range_is_not_shared():
    more = [
        Node('gate', 'sigmoid', ['both']),
        Node('again', 'concat', ['both', 'gate'], {'axis': -1}),
    ]
    owners = range_owners(joined(more=more))
    assert owners['gate'] == 'gate'
    assert owners['again'] == 'wide'


def test_a_head_of_levels_is_one_piece_and_answers_as_keras(tmp_path):
    """Concatenation, upsampling, a sigmoid and a sum, as heads have them."""
    rng = np.random.default_rng(0)

    def conv(name, source, shape, strides=1, activation='linear'):
        kernel = rng.normal(0, 0.3, shape).astype(np.float32)
        config = {**PLAIN, 'strides': (strides, strides)}
        bias = rng.normal(0, 0.3, shape[-1]).astype(np.float32)
        return Node(name, 'conv', [source], config, kernel, bias, activation)

    nodes = [
        Node('image', 'input', [], {'shape': (16, 16, 3)}),
        conv('high', 'image', (3, 3, 3, 4), 2, 'relu'),
        conv('low', 'high', (3, 3, 4, 4), 2),
        Node('upsample', 'upsample', ['low'], {'size': (2, 2), 'interpolation': 'bilinear'}),
        Node('concat', 'concat', ['high', 'upsample'], {'axis': -1}),
        Node('pool', 'mean', ['concat'], {'keepdims': True}),
        conv('gate_conv', 'pool', (1, 1, 8, 8)),
        Node('gate', 'sigmoid', ['gate_conv']),
        Node('gated', 'mul', ['concat', 'gate']),
        Node('sum', 'add', ['gated', 'concat']),
        conv('last', 'sum', (1, 1, 8, 2)),
    ]
    graph = Graph('head', nodes, {'': 'last'})
    pixels = rng.integers(0, 256, (8, 16, 16, 3)).astype(np.float32)
    images = pixels / np.float32(127.5) - 1
    model = quantized_model(graph, observe(graph, images))
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_int8(model))
    anatomy = dissect(path)
    assert anatomy.float_ops == {}
    assert (anatomy.partitions, anatomy.outside) == (1, {'QUANTIZE': 2})
    file = TFLiteModel(path)
    answers = file(images)
    expected = tf.convert_to_tensor(model(to_pixel_grid(images), training=False)).numpy()
    assert np.abs(answers - expected).mean() < 0.5 * file.output_scale
