"""Faster training on the CPU: the same maths through other kernels of TensorFlow.

One model object's layers get other functions; their classes, weights and configs stay as they are, so
that checkpoints, exports and clones know nothing of it. On GPU and TPU there is nothing to gain.
Measured as steps per second against the plain layers: see `python -m benchmark.peers --only=steps`.
"""

import functools

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
            if layer.kernel_size == (5, 5) and layer.dilation_rate == (1, 1):
                layer.call = functools.partial(_depthwise_5x5, layer)
        elif type(layer) is HardSwish:
            layer.call = _hard_swish  # type: ignore[method-assign]


def _pointwise(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A 1×1 convolution of [N, H, W, C] as one product of matrices."""
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel[0, 0])
    shape = tf.concat([tf.shape(x)[:-1], tf.shape(flat)[-1:]], axis=0)
    return tf.ensure_shape(tf.reshape(flat, shape), [*x.shape[:-1], kernel.shape[-1]])


def _depthwise_5x5(layer: tf_keras.layers.DepthwiseConv2D, x: tf.Tensor) -> tf.Tensor:
    """A depthwise convolution whose kernel's gradient comes from Eigen instead of oneDNN.

    oneDNN takes twice as long for 5×5. TensorFlow puts oneDNN's ops into a graph when it optimizes
    it, but not into a function that an op calls by itself. MapDefun is such an op: it maps a function
    over a leading axis, here of length 1.
    """
    window = {'strides': [1, *layer.strides, 1], 'padding': layer.padding.upper()}

    @tf.function(autograph=False)
    def kernel_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        shape = layer.depthwise_kernel.shape
        return tf.nn.depthwise_conv2d_backprop_filter(x, shape, upstream, **window)

    @tf.custom_gradient
    def convolve(x: tf.Tensor, kernel: tf.Tensor):  # type: ignore[no-untyped-def]
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            function = kernel_gradient.get_concrete_function(
                tf.TensorSpec(x.shape, x.dtype), tf.TensorSpec(upstream.shape, x.dtype)
            )
            (to_kernel,) = tf.raw_ops.MapDefun(
                arguments=[x[tf.newaxis], upstream[tf.newaxis]],
                captured_inputs=[],
                output_types=[x.dtype],
                output_shapes=[kernel.shape],
                f=function,
            )
            to_x = tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), kernel, upstream, **window)
            return to_x, to_kernel[0]

        return tf.nn.depthwise_conv2d(x, kernel, **window), gradient

    return convolve(x, tf.convert_to_tensor(layer.depthwise_kernel))


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
