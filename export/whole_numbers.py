"""A quantized Keras model evaluated in whole numbers, as XNNPACK computes.

Fake quantization computes in floats: where a sum lies half way between two steps, float rounding
decides, and one value in ten thousand falls to the other side than in the file. Fifty layers later
that is a step and more at the logits, and 4 % of the answers of V3-Small. Here sums are exact and
rounded as the file rounds them, so that what still differs from the file is a fault.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from export.deploy_layers import ShiftReLU6
from export.quantize import layer_configs
from export.quantizers import STEPS, LayerConfig, Quantizer
from mobilenet_v3.layers import Resize

THREE_STEPS = 255  # the file holds the 3 of an h-swish as 255 steps of 3 / 255
WEIGHT_BITS = 11  # of XNNPACK's bilinear weights


def whole_number_model(model: tf_keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function with the answers of a quantized model, from the same images."""
    outputs = tf.nest.map_structure(lambda tensor: tensor.node.layer.name, model.output)

    def run(images: tf.Tensor) -> tf.Tensor:
        tensors = whole_number_tensors(model, images)
        return tf.nest.map_structure(lambda name: tensors[name], outputs)

    return run


def whole_number_tensors(model: tf_keras.Model, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """What every layer of a quantized model gives, by its name.

    Each layer that XNNPACK runs in whole numbers is computed so; others (sigmoid, h-swish in one op,
    concatenation) as the model does.
    """
    configs = layer_configs(model)
    tensors = {model.layers[0].name: images}
    for layer in model.layers[1:]:
        inputs = [tensors[node.layer.name] for node in layer.inbound_nodes[0].parent_nodes]
        config = configs.get(layer.name)
        kernel = config and _KERNELS.get(type(config.layer))
        if kernel:
            sources = [_rounded_by(layer, configs, i) for i in range(len(inputs))]
            tensors[layer.name] = kernel(config, inputs, sources)
        else:
            tensors[layer.name] = layer(inputs if len(inputs) > 1 else inputs[0], training=False)
    return tensors


def _rounded_by(layer: tf_keras.layers.Layer, configs: dict[str, LayerConfig], i: int) -> Quantizer:
    """What rounded the i-th input of a layer, through layers that keep their input's steps."""
    source = layer.inbound_nodes[0].parent_nodes[i].layer
    while source.name not in configs:
        source = source.inbound_nodes[0].parent_nodes[0].layer
    return configs[source.name].output


def _steps(x: tf.Tensor, quantizer: Quantizer) -> tf.Tensor:
    """Real values on a grid as whole numbers of steps from 0."""
    return tf.round(x / quantizer.scale())


def _limits(quantizer: Quantizer) -> tuple[tf.Tensor, tf.Tensor]:
    """Lowest and highest number of steps from 0."""
    zero_point = tf.floor(-quantizer.low / quantizer.scale() + 0.5)
    return -zero_point, STEPS - zero_point


def _finish(steps: tf.Tensor, config: LayerConfig) -> tf.Tensor:
    """Cuts whole numbers of output steps off at the range and at the fused activation."""
    low, high = _limits(config.output)
    activation = getattr(config.layer, 'activation', None)
    name = tf_keras.activations.serialize(activation) if activation else 'linear'
    if isinstance(config.layer, ShiftReLU6) or name in ('relu', 'relu6'):
        low = tf.maximum(low, 0.0)
    if isinstance(config.layer, ShiftReLU6) or name == 'relu6':
        high = tf.minimum(high, tf.round(6.0 / config.output.scale()))
    return tf.clip_by_value(steps, low, high) * config.output.scale()


def _convolution(
    config: LayerConfig, inputs: list[tf.Tensor], sources: list[Quantizer]
) -> tf.Tensor:
    layer, weight = config.layer, config.weight
    assert weight is not None
    per_sum = weight.scale() * sources[0].scale()
    x = _steps(inputs[0], sources[0])
    # Of the rounded kernel, not of the kernel: half a step rounds as it does there.
    rounded = weight.channels_last(weight(weight.kernel, training=False, weights={}))
    kernel = tf.round(rounded / weight.scale())
    window = {'padding': layer.padding.upper()}
    if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
        kernel = tf.reshape(kernel, weight.kernel.shape)
        sums = tf.nn.depthwise_conv2d(
            x, kernel, [1, *layer.strides, 1], dilations=layer.dilation_rate, **window
        )
    else:
        sums = tf.nn.conv2d(x, kernel, layer.strides, dilations=layer.dilation_rate, **window)
    # Products of 8-bit numbers: floats hold these sums exactly up to 2^24.
    sums += tf.round(weight.bias / per_sum)
    return _finish(tf.round(sums * (per_sum / config.output.scale())), config)


def _product(config: LayerConfig, inputs: list[tf.Tensor], sources: list[Quantizer]) -> tf.Tensor:
    a, b = (_steps(x, source) for x, source in zip(inputs, sources, strict=True))
    ratio = sources[0].scale() * sources[1].scale() / config.output.scale()
    return _finish(tf.round(a * b * ratio), config)


def _sum(config: LayerConfig, inputs: list[tf.Tensor], sources: list[Quantizer]) -> tf.Tensor:
    a, b = (_steps(x, source) for x, source in zip(inputs, sources, strict=True))
    return _finish(_add(a, sources[0].scale(), b, sources[1].scale(), config), config)


def _shift(config: LayerConfig, inputs: list[tf.Tensor], sources: list[Quantizer]) -> tf.Tensor:
    three = tf.fill([1, 1, 1, 1], float(THREE_STEPS))
    a = _steps(inputs[0], sources[0])
    scale = tf.constant(3.0 / THREE_STEPS)
    return _finish(_add(a, sources[0].scale(), three, scale, config), config)


def _add(
    a: tf.Tensor, a_scale: tf.Tensor, b: tf.Tensor, b_scale: tf.Tensor, config: LayerConfig
) -> tf.Tensor:
    """Whole output steps of a sum: fixed-point multipliers of 21 bits, half rounds up."""
    ratios = [scale / config.output.scale() for scale in (a_scale, b_scale)]
    largest = tf.maximum(*ratios)
    exponent = tf.floor(
        tf.math.log(tf.cast(largest, tf.float64)) / tf.math.log(tf.constant(2.0, tf.float64))
    )
    unit = 2.0 ** (20.0 - exponent)
    multipliers = [tf.round(tf.cast(ratio, tf.float64) * unit) for ratio in ratios]
    total = tf.cast(a, tf.float64) * multipliers[0] + tf.cast(b, tf.float64) * multipliers[1]
    return tf.cast(tf.floor(total / unit + 0.5), tf.float32)


def _mean(config: LayerConfig, inputs: list[tf.Tensor], sources: list[Quantizer]) -> tf.Tensor:
    x = _steps(inputs[0], sources[0])
    count = tf.cast(tf.shape(x)[1] * tf.shape(x)[2], tf.float32)
    sums = tf.reduce_sum(x, axis=[1, 2], keepdims=config.layer.keepdims)
    ratio = sources[0].scale() / (config.output.scale() * count)
    return _finish(tf.round(sums * ratio), config)


def _average(config: LayerConfig, inputs: list[tf.Tensor], sources: list[Quantizer]) -> tf.Tensor:
    """Means of windows, as TFLite's own kernel has them: of the numbers from -128 to 127."""
    layer = config.layer
    window = {'strides': layer.strides, 'padding': layer.padding.upper()}
    shift = _limits(sources[0])[0] + 128.0  # - zero point
    x = _steps(inputs[0], sources[0]) - shift
    ones = tf.ones([1, *x.shape[1:3], 1])
    counts = tf.nn.conv2d(ones, tf.ones([*layer.pool_size, 1, 1]), **window)
    sums = tf.round(tf.nn.avg_pool2d(x, layer.pool_size, **window) * counts)
    # Half of a count of windows is cut off, too, and halves go away from 0.
    means = tf.sign(sums) * tf.floor((tf.abs(sums) + tf.floor(counts / 2.0)) / counts)
    return _finish(means + shift, config)


def _resize(config: LayerConfig, inputs: list[tf.Tensor], sources: list[Quantizer]) -> tf.Tensor:
    """Bilinear resizing with half-pixel centres: weights of 11 bits, half rounds up."""
    x = tf.cast(_steps(inputs[0], sources[0]), tf.int32)
    height, width = config.layer.size
    (left, right, across), (top, bottom, down) = (
        _neighbours(x.shape[axis], side) for axis, side in ((2, width), (1, height))
    )
    x = _between(tf.gather(x, left, axis=2), tf.gather(x, right, axis=2), across[:, None])
    x = _between(tf.gather(x, top, axis=1), tf.gather(x, bottom, axis=1), down[:, None, None])
    half = 1 << (2 * WEIGHT_BITS - 1)
    steps = tf.bitwise.right_shift(x + half, 2 * WEIGHT_BITS)
    return _finish(tf.cast(steps, tf.float32), config)


def _neighbours(side: int, new_side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index before and after each new pixel, and the weight of the latter; in XNNPACK's floats."""
    ratio = np.float32(side) / np.float32(new_side)
    position = np.arange(new_side, dtype=np.float32) * ratio + (
        np.float32(0.5) * ratio - np.float32(0.5)
    )
    position = np.clip(position, np.float32(0), np.float32(side - 1))
    before = position.astype(np.int32)
    weight = np.rint((position - before) * np.float32(1 << WEIGHT_BITS)).astype(np.int32)
    return before, np.minimum(before + 1, side - 1), weight


def _between(before: tf.Tensor, after: tf.Tensor, weight: np.ndarray) -> tf.Tensor:
    return before * (1 << WEIGHT_BITS) + (after - before) * weight


_KERNELS: dict[type, Callable] = {
    tf_keras.layers.Conv2D: _convolution,
    tf_keras.layers.DepthwiseConv2D: _convolution,
    tf_keras.layers.Multiply: _product,
    tf_keras.layers.Add: _sum,
    ShiftReLU6: _shift,
    tf_keras.layers.GlobalAveragePooling2D: _mean,
    tf_keras.layers.AveragePooling2D: _average,
    Resize: _resize,
}
