"""From a Keras model to the content of a .tflite file."""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import tensorflow as tf
import tf_keras

from export.quantize import to_pixel_grid

IOType = Literal['uint8', 'int8', 'float32']
IO_TYPES: dict[str, tf.DType] = {'uint8': tf.uint8, 'int8': tf.int8, 'float32': tf.float32}


def convert_float(model: tf_keras.Model, *, probabilities: bool = False) -> bytes:
    """Converts to float32.

    Args:
      model: from images [N, H, W, C] to logits, in deploy form or as trained.
      probabilities: whether the file ends with a softmax over its one output.

    Returns:
      The file's content; its batch is fixed at 1, as phones and browsers ask.
    """
    return _converter(model, probabilities).convert()


def convert_int8(
    model: tf_keras.Model, *, io: IOType = 'uint8', probabilities: bool = False
) -> bytes:
    """Converts a quantized model, whose ranges and roundings become the file's.

    Args:
      model: of `export.quantize.quantized_model`.
      io: type of input and outputs: uint8 pixels, pixels - 128 as int8, or float32 images in
        [-1, 1]. MediaPipe and browsers refuse int8.
      probabilities: whether the file ends with a softmax over its one output.
    """
    # Pixels are on the grid already; floats as in training lie half a step beside it.
    prepare = to_pixel_grid if io == 'float32' else tf.identity
    converter = _converter(model, probabilities, prepare)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = IO_TYPES[io]
    return converter.convert()


def convert_int16(
    model: tf_keras.Model, images: Iterable[np.ndarray], *, probabilities: bool = False
) -> bytes:
    """Converts to int8 weights and int16 activations, float outside; `model` in deploy form.

    Args:
      model: float, its h-swish decomposed: HARD_SWISH has no int16 kernel.
      images: float32 [H, W, C], of the training set, for the ranges.
      probabilities: as above.
    """
    converter = _converter(model, probabilities)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    return converter.convert()


def convert_dynamic(model: tf_keras.Model, *, probabilities: bool = False) -> bytes:
    """Converts to int8 weights; activations are floats, quantized by the kernels as they go."""
    converter = _converter(model, probabilities)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def convert_float16(model: tf_keras.Model, *, probabilities: bool = False) -> bytes:
    """Converts to float16 weights; the runtime computes in float32 where it has no float16."""
    converter = _converter(model, probabilities)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _converter(
    model: tf_keras.Model, probabilities: bool, prepare: Callable = tf.identity
) -> tf.lite.TFLiteConverter:
    image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name='image')
    finish: Callable = tf.nn.softmax if probabilities else tf.identity

    @tf.function(input_signature=[image])
    def serve(image: tf.Tensor) -> tf.Tensor:
        return tf.nest.map_structure(finish, model(prepare(image), training=False))

    function = serve.get_concrete_function()
    # Holds the variables for the converter. The model itself it would save with a trace of every
    # layer, which takes ten times as long as all the rest.
    holder = tf.Module()
    holder.held = function.variables
    return tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
