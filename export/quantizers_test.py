import numpy as np
import pytest
import tensorflow as tf
from tf_keras import layers

from export import quantizers
from export.convert import convert_int8
from export.graph import Graph, Node
from export.quantize import quantized_model, to_pixel_grid
from export.quantizers import BiasQuantizer, FixedQuantizer, RangeQuantizer, WeightQuantizer
from train.tflite_file import TFLiteModel, dissect

RNG = np.random.default_rng(0)
INPUT = FixedQuantizer(-128 / 127.5, 127 / 127.5)  # of a step of 1 / 127.5


def range_quantizer(low=-1.0, high=1.0, **arguments):
    """A quantizer with its variables in a layer."""
    quantizer = RangeQuantizer(**{'decay': 0.9, 'observe_steps': 0, **arguments})
    quantizer.build((), 'output', layers.Layer())
    quantizer.low.assign(low)
    quantizer.high.assign(high)
    return quantizer


def limits(quantizer):
    return float(quantizer.low), float(quantizer.high)


def convolution(kind, magnitudes):
    """A layer whose output channels have weights of these magnitudes, and its kernel [h, w, C, k]."""
    channels = len(magnitudes)
    layer = (
        layers.DepthwiseConv2D(3) if kind == 'depthwise' else layers.Conv2D(channels, 3)
    )  # fmt: skip
    layer.build((None, 8, 8, channels))
    shape = layer.weights[0].shape
    kernel = RNG.uniform(-1, 1, shape)
    per_channel = np.asarray(magnitudes)[:, np.newaxis] if kind == 'depthwise' else magnitudes
    kernel = (kernel * per_channel).astype(np.float32)
    layer.set_weights([kernel, RNG.normal(size=channels)])
    return layer, kernel


@pytest.mark.parametrize('kind', ['conv', 'depthwise'])
def test_each_channel_of_weights_has_a_scale_of_its_own(kind):
    layer, kernel = convolution(kind, [1.0, 0.01, 30.0, 2.0])
    quantizer = WeightQuantizer(layer, INPUT)
    axis = (0, 1, 3) if kind == 'depthwise' else (0, 1, 2)
    scale = np.abs(kernel).max(axis, keepdims=True) / 127 * (1 + 1e-5)
    np.testing.assert_allclose(quantizer.scale(), scale.ravel(), rtol=1e-6)
    rounded = quantizer(tf.constant(kernel), training=False, weights={}).numpy()
    steps = kernel / scale
    away_from_a_tie = np.abs(steps - np.floor(steps) - 0.5) > 1e-3
    assert np.abs(rounded / scale).max() <= 127.001  # -128 is left out
    expected = np.round(steps) * scale
    np.testing.assert_allclose(rounded[away_from_a_tie], expected[away_from_a_tie], rtol=1e-5)


def test_a_bias_is_whole_steps_of_input_and_weight_scale():
    layer, _ = convolution('conv', [1.0, 0.01, 30.0, 2.0])
    weight = WeightQuantizer(layer, INPUT)
    step = weight.scale().numpy() / 127.5
    bias = layer.bias.numpy()
    rounded = BiasQuantizer(weight)(layer.bias, training=False, weights={}).numpy()
    np.testing.assert_allclose(rounded / step, np.round(bias / step), rtol=1e-5)
    assert np.any(rounded != bias)


def test_what_is_switched_off_lets_values_through():
    layer, kernel = convolution('conv', [1.0, 2.0])
    weight = WeightQuantizer(layer, INPUT)
    weight.active = False
    np.testing.assert_array_equal(weight(tf.constant(kernel), False, {}), kernel)
    np.testing.assert_array_equal(BiasQuantizer(weight)(layer.bias, False, {}), layer.bias)
    for output in (range_quantizer(), FixedQuantizer(-1, 1)):
        output.active = False
        np.testing.assert_array_equal(output(tf.constant([0.125, 5.0]), False, {}), [0.125, 5.0])


@pytest.mark.parametrize('quantizer', [range_quantizer(-1, 3), FixedQuantizer(-1, 3)])
def test_a_range_has_256_values_and_zero_is_one_of_them(quantizer):
    values = np.linspace(-2, 4, 5000, dtype=np.float32)
    rounded = quantizer(tf.constant(values), False, {}).numpy()
    assert len(np.unique(rounded)) == 256
    assert 0.0 in rounded
    scale, zero_point = float(quantizer.scale()), quantizer.zero_point()
    np.testing.assert_allclose(rounded.min(), (-128 - zero_point) * scale, rtol=1e-5)
    np.testing.assert_allclose(rounded.max(), (127 - zero_point) * scale, rtol=1e-5)
    inside = (values > -0.99) & (values < 2.99)
    assert np.abs(rounded - values)[inside].max() <= scale * 0.5001


def test_a_range_follows_training_batches_only_as_long_as_it_observes():
    quantizer = range_quantizer(observe_steps=2)
    step = tf.Variable(0, dtype=tf.int64)
    batch = tf.constant([-3.0, 0.5, 11.0])
    quantizer(batch, training=True, weights={})
    assert limits(quantizer) == (-1, 1)  # it was told of no step
    quantizer.follow(step)
    quantizer(batch, training=False, weights={})
    assert limits(quantizer) == (-1, 1)
    quantizer(batch, training=True, weights={})
    np.testing.assert_allclose(limits(quantizer), (-1.2, 2.0), rtol=1e-6)
    step.assign(1)
    quantizer(batch, training=True, weights={})
    np.testing.assert_allclose(limits(quantizer), (-1.38, 2.9), rtol=1e-6)
    step.assign(2)
    quantizer(batch, training=True, weights={})
    np.testing.assert_allclose(limits(quantizer), (-1.38, 2.9), rtol=1e-6)


def test_observing_is_off_at_zero_steps():
    quantizer = range_quantizer()
    quantizer.follow(tf.Variable(0, dtype=tf.int64))
    quantizer(tf.constant([-3.0, 11.0]), training=True, weights={})
    assert limits(quantizer) == (-1, 1)


def test_a_range_holds_zero_and_nothing_below_its_lowest():
    quantizer = range_quantizer(-3, 1, observe_steps=1, decay=0.0, lowest=-3.0)
    quantizer.follow(tf.Variable(0, dtype=tf.int64))
    quantizer(tf.constant([-9.0, 2.0]), training=True, weights={})
    assert limits(quantizer) == (-3, 2)
    quantizer(tf.constant([1.0, 4.0]), training=True, weights={})
    assert limits(quantizer) == (0, 4)


def test_gradients_pass_inside_a_range_and_stop_outside():
    x = tf.constant([-1.5, -0.5, 0.3, 1.5])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(range_quantizer()(x, True, {}))
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 1, 0])


def test_gradients_pass_through_the_rounding_of_weights_and_bias():
    layer, _ = convolution('depthwise', [1.0, 5.0])
    weight = WeightQuantizer(layer, INPUT)
    with tf.GradientTape() as tape:
        kernel = weight(layer.depthwise_kernel, True, {})
        y = tf.reduce_sum(kernel) + tf.reduce_sum(BiasQuantizer(weight)(layer.bias, True, {}))
    for gradient in tape.gradient(y, layer.trainable_weights):
        np.testing.assert_array_equal(gradient, np.ones(gradient.shape))


IMAGES = RNG.integers(0, 256, (8, 8, 8, 3)).astype(np.float32) / np.float32(127.5) - 1


def convert(kernel, bias, path):
    """A convolution and a second one behind it as a file; the answers of Keras and of the file."""
    plain = {'strides': (1, 1), 'padding': 'same', 'dilation_rate': (1, 1)}
    channels = kernel.shape[-1]
    last = RNG.normal(size=(1, 1, channels, channels)).astype(np.float32)
    nodes = [
        Node('image', 'input', [], {'shape': (8, 8, 3)}),
        Node('conv', 'conv', ['image'], plain, kernel, bias),
        Node('last', 'conv', ['conv'], plain, last, np.zeros(channels, np.float32)),
    ]
    ranges = {'conv': (-4.0, 4.0), 'last': (-12.0, 12.0)}
    model = quantized_model(Graph('net', nodes, {'': 'last'}), ranges)
    path.write_bytes(convert_int8(model))
    return model(to_pixel_grid(IMAGES), training=False).numpy(), TFLiteModel(path)(IMAGES)


@pytest.fixture
def tiny_weights():
    """A channel of weights of 1e-9 and a bias of 1 beside an ordinary one."""
    kernel = RNG.uniform(-0.3, 0.3, (3, 3, 3, 2)).astype(np.float32)
    kernel[..., 1] *= 1e-9
    return kernel, np.array([0.1, 1.0], np.float32)


def test_a_bias_beside_tiny_weights_is_in_the_file_what_it_is_in_keras(tiny_weights, tmp_path):
    keras, file = convert(*tiny_weights, tmp_path / 'model.tflite')
    assert np.abs(keras - file).max() <= 1.01 * 24 / 255


def test_without_the_floor_the_bias_overflows(tiny_weights, tmp_path, monkeypatch):
    """What the floor is for; should this fail, the converter guards by itself."""
    monkeypatch.setattr(quantizers, 'MAX_BIAS_STEPS', np.inf)
    keras, file = convert(*tiny_weights, tmp_path / 'model.tflite')
    assert np.abs(keras - file).max() > 5 * 24 / 255


@pytest.mark.parametrize('bias', [0.0, 1e-12, 1.0])
def test_a_channel_without_weights_does_not_cut_the_network(tiny_weights, bias, tmp_path):
    kernel = tiny_weights[0]
    kernel[..., 1] = 0
    path = tmp_path / 'model.tflite'
    keras, file = convert(kernel, np.array([0.1, bias], np.float32), path)
    assert np.abs(keras - file).max() <= 1.01 * 24 / 255
    assert dissect(path).partitions == 1
