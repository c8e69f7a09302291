"""Rounding to the steps of a range, in training with gradients that every device computes alike.

Those that TensorFlow has for fake quantization also tell how the ends of the range should move. Nothing
learns them here, and on GPUs they depend on the order of a sum: a run, which asks for the same result
each time (train/loop.py), would end with an error. Others are the same as TensorFlow's, bit for bit.

Outside of training it is TensorFlow's op by itself, which the converter knows.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

Gradient = Callable[[tf.Tensor], tuple[tf.Tensor, None, None]]

_values = tf.quantization.fake_quant_with_min_max_vars
_channels = functools.partial(
    tf.quantization.fake_quant_with_min_max_vars_per_channel, num_bits=8, narrow_range=True
)


def round_in_range(inputs: tf.Tensor, low: tf.Tensor, high: tf.Tensor, training: bool) -> tf.Tensor:
    """Nearest of 256 values from low to high; gradients pass inside the range.

    Args:
      inputs: float32, of any shape.
      low, high: float32 scalars, at most and at least 0; 0 is one of the values.
      training: whether gradients are asked for.
    """
    if not training:
        return _values(inputs, low, high)
    return _values_with_gradient(inputs, tf.identity(low), tf.identity(high))


def round_channels(inputs: tf.Tensor, limit: tf.Tensor, training: bool) -> tf.Tensor:
    """Nearest of 255 values of each channel's range; gradients pass as they are.

    Args:
      inputs: float32 [..., k], all of them inside the ranges.
      limit: float32 [k]; the ranges are [-limit, limit].
      training: whether gradients are asked for.
    """
    call = _channels_with_gradient if training else _channels
    return call(inputs, -limit, limit)


@tf.custom_gradient
def _values_with_gradient(
    inputs: tf.Tensor, low: tf.Tensor, high: tf.Tensor
) -> tuple[tf.Tensor, Gradient]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None, None]:
        # The ends as the rounding has them: moved so that 0 is a whole number of steps away.
        ends = _values(tf.constant([inputs.dtype.min, inputs.dtype.max]), low, high)
        inside = (inputs >= ends[0]) & (inputs <= ends[1])
        return tf.where(inside, upstream, tf.zeros_like(upstream)), None, None

    return _values(inputs, low, high), gradient


@tf.custom_gradient
def _channels_with_gradient(
    inputs: tf.Tensor, low: tf.Tensor, high: tf.Tensor
) -> tuple[tf.Tensor, Gradient]:
    return _channels(inputs, low, high), lambda upstream: (upstream, None, None)
