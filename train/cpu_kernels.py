"""Faster training on the CPU: the same maths through other kernels of TensorFlow.

One model object's layers get other functions; their classes, weights and configs stay as they are, so
that checkpoints, exports and clones know nothing of it. On GPU and TPU there is nothing to gain.
Measured as steps per second against the plain layers: see `python -m benchmark.peers --only=steps`.
"""

import functools
from typing import Any

import tensorflow as tf
import tf_keras

from mobilenet_v3.layers import HardSwish
from train.data.compiled import compiled


def use_cpu_kernels(model: tf_keras.Model) -> None:
    """Makes the training steps of `model` faster on a CPU; gradients agree to rounding.

    Layers that compute in bfloat16 stay as they are.
    """
    for layer in model.layers:
        if layer.compute_dtype != 'float32':
            continue
        if type(layer) is tf_keras.layers.Conv2D:
            if layer.kernel_size == layer.strides == (1, 1):
                layer.convolution_op = _pointwise
        elif type(layer) is tf_keras.layers.DepthwiseConv2D:
            if layer.dilation_rate == (1, 1) and not layer.use_bias:
                layer.call = functools.partial(_depthwise, layer)
        elif type(layer) is HardSwish:
            layer.call = _hard_swish  # type: ignore[method-assign]
        elif type(layer) is tf_keras.layers.Multiply and layer.name.endswith('/se/scale'):
            stem = layer.name.removesuffix('scale')
            parts = ('squeeze', 'relu', 'excite', 'gate')
            layer.call = functools.partial(
                _squeeze_excite, *(model.get_layer(stem + part) for part in parts)
            )


def _pointwise(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A 1×1 convolution of [N, H, W, C] as one product of matrices."""
    # Not kernel[0, 0], whose gradient is written into zeros.
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), tf.reshape(kernel, kernel.shape[2:]))
    shape = tf.concat([tf.shape(x)[:-1], tf.shape(flat)[-1:]], axis=0)
    return tf.ensure_shape(tf.reshape(flat, shape), [*x.shape[:-1], kernel.shape[-1]])


def _depthwise(layer: tf_keras.layers.DepthwiseConv2D, x: tf.Tensor) -> tf.Tensor:
    """A depthwise convolution whose gradients come from faster kernels than oneDNN's own."""
    window = {'strides': [1, *layer.strides, 1], 'padding': layer.padding.upper()}
    # Where a kernel is even, SAME puts more zeros behind than before: turned, it would be one off.
    is_odd = all(side % 2 for side in layer.kernel_size)
    turns = layer.strides == (1, 1) and layer.padding == 'same' and is_odd
    to_kernel = _by_eigen if layer.kernel_size == (5, 5) else _kernel_gradient

    @tf.custom_gradient
    def convolve(x: tf.Tensor, kernel: tf.Tensor):  # type: ignore[no-untyped-def]
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            if turns:  # a convolution again, in two thirds of the time
                to_x = tf.nn.depthwise_conv2d(upstream, tf.reverse(kernel, [0, 1]), **window)
            else:
                to_x = tf.nn.depthwise_conv2d_backprop_input(
                    tf.shape(x), kernel, upstream, **window
                )
            return to_x, to_kernel(x, kernel.shape, upstream, window)

        return tf.nn.depthwise_conv2d(x, kernel, **window), gradient

    return convolve(x, tf.convert_to_tensor(layer.depthwise_kernel))


def _kernel_gradient(
    x: tf.Tensor, shape: tf.TensorShape, upstream: tf.Tensor, window: dict[str, Any]
) -> tf.Tensor:
    return tf.nn.depthwise_conv2d_backprop_filter(x, shape, upstream, **window)


def _by_eigen(
    x: tf.Tensor, shape: tf.TensorShape, upstream: tf.Tensor, window: dict[str, Any]
) -> tf.Tensor:
    """The same by Eigen instead of oneDNN, which takes twice as long for 5×5.

    TensorFlow puts oneDNN's ops into a graph when it optimizes it, but not into a function that an op
    calls by itself. MapDefun is such an op: it maps a function over a leading axis, here of length 1.
    """

    @tf.function(autograph=False)
    def function(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        return _kernel_gradient(x, shape, upstream, window)

    (result,) = tf.raw_ops.MapDefun(
        arguments=[x[tf.newaxis], upstream[tf.newaxis]],
        captured_inputs=[],
        output_types=[x.dtype],
        output_shapes=[shape],
        f=function.get_concrete_function(
            tf.TensorSpec(x.shape, x.dtype), tf.TensorSpec(upstream.shape, x.dtype)
        ),
    )
    return result[0]


def _squeeze_excite(
    squeeze: tf_keras.layers.Conv2D,
    relu: tf_keras.layers.Layer,
    excite: tf_keras.layers.Conv2D,
    gate: tf_keras.layers.Layer,
    inputs: list[tf.Tensor],
) -> tf.Tensor:
    """Scales inputs[0] by its gate, whose gradient comes back in the pass of the product's.

    What the layers before have made of the gate, inputs[1], is left unused, and so not computed.
    """

    @tf.custom_gradient
    def scale(x: tf.Tensor, *weights: tf.Tensor):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            means = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
            tape.watch([means, *weights])
            kernel, bias, second_kernel, second_bias = weights
            hidden = relu.call(_pointwise(means, kernel) + bias)
            factors = gate.call(_pointwise(hidden, second_kernel) + second_bias)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            to_factors = tf.reduce_sum(upstream * x, axis=[1, 2], keepdims=True)
            to_means, *to_weights = tape.gradient(factors, [means, *weights], to_factors)
            size = tf.cast(tf.reduce_prod(tf.shape(x)[1:3]), x.dtype)
            return _scale_and_add(upstream, factors, to_means / size), *to_weights

        return x * factors, gradient

    kernels = (squeeze.kernel, squeeze.bias, excite.kernel, excite.bias)
    return scale(inputs[0], *map(tf.convert_to_tensor, kernels))


@compiled
def _scale_and_add(x: tf.Tensor, factors: tf.Tensor, terms: tf.Tensor) -> tf.Tensor:
    return x * factors + terms


@tf.custom_gradient
def _hard_swish(x: tf.Tensor):  # type: ignore[no-untyped-def]
    return _hard_swish_forward(x), lambda upstream: _hard_swish_backward(x, upstream)


# Compiled, each is one pass over memory; otherwise every factor is written out and read again.
@compiled
def _hard_swish_forward(x: tf.Tensor) -> tf.Tensor:
    return x * (tf.nn.relu6(x + 3.0) * (1.0 / 6.0))


@compiled
def _hard_swish_backward(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    inside, above = tf.abs(x) < 3.0, x >= 3.0
    slope = tf.where(inside, x * (1.0 / 3.0) + 0.5, tf.cast(above, x.dtype))
    return upstream * slope
