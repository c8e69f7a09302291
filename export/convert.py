"""From a Keras model to the content of a .tflite file."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras

from export.quantize import to_pixel_grid
from train.tflite_file import open_content

IOType = Literal['uint8', 'int8', 'float32']
IO_TYPES: dict[str, tf.DType] = {'uint8': tf.uint8, 'int8': tf.int8, 'float32': tf.float32}


@dataclasses.dataclass(frozen=True)
class Finish:
    """What a file computes of the network's outputs, a tensor or a dict of them.

    Attributes:
      function: in TensorFlow, in floats; of batches of one.
      typed: whether what it gives has the type that is asked of an int8 file; else it keeps its own.
      custom_op: an op outside TFLite's own that has to be in the file.
    """

    function: Callable[[Any], Any] = tf.identity
    typed: bool = True
    custom_op: str = ''


AS_IT_IS = Finish(lambda outputs: tf.nest.map_structure(tf.identity, outputs))


def convert_float(model: tf_keras.Model, finish: Finish = AS_IT_IS) -> bytes:
    """Converts to float32.

    Args:
      model: from images [N, H, W, C] to its outputs, in deploy form or as trained.
      finish: what the file computes of these.

    Returns:
      The file's content; its batch is fixed at 1, as phones and browsers ask.

    Raises:
      ValueError: the op that the file needs is not in it.
    """
    return _convert(_converter(model, finish), finish)


def convert_int8(
    model: tf_keras.Model, finish: Finish = AS_IT_IS, *, io: IOType = 'uint8'
) -> bytes:
    """Converts a quantized model, whose ranges and roundings become the file's.

    Args:
      model: of `export.quantize.quantized_model`.
      finish: what the file computes of its outputs.
      io: type of input and outputs: uint8 pixels, pixels - 128 as int8, or float32 images in
        [-1, 1]. MediaPipe and browsers refuse int8.
    """
    # Pixels are on the grid already; floats as in training lie half a step beside it.
    prepare = to_pixel_grid if io == 'float32' else tf.identity
    converter = _converter(model, finish, prepare)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = IO_TYPES[io]
    converter.inference_output_type = IO_TYPES[io] if finish.typed else tf.float32
    return _convert(converter, finish)


def convert_int16(
    model: tf_keras.Model, images: Iterable[np.ndarray], finish: Finish = AS_IT_IS
) -> bytes:
    """Converts to int8 weights and int16 activations, float outside; `model` in deploy form.

    Args:
      model: float, its h-swish decomposed: HARD_SWISH has no int16 kernel.
      images: float32 [H, W, C], of the training set, for the ranges.
      finish: what the file computes of the outputs.
    """
    converter = _converter(model, finish)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    return _convert(converter, finish)


def convert_dynamic(model: tf_keras.Model, finish: Finish = AS_IT_IS) -> bytes:
    """Converts to int8 weights; activations are floats, quantized by the kernels as they go."""
    converter = _converter(model, finish)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return _convert(converter, finish)


def convert_float16(model: tf_keras.Model, finish: Finish = AS_IT_IS) -> bytes:
    """Converts to float16 weights; the runtime computes in float32 where it has no float16."""
    converter = _converter(model, finish)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _convert(converter, finish)


def _converter(
    model: tf_keras.Model, finish: Finish, prepare: Callable = tf.identity
) -> tf.lite.TFLiteConverter:
    image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name='image')

    @tf.function(input_signature=[image])
    def serve(image: tf.Tensor) -> Any:
        return finish.function(model(prepare(image), training=False))

    function = serve.get_concrete_function()
    # Holds the variables for the converter. The model itself it would save with a trace of every
    # layer, which takes ten times as long as all the rest.
    holder = tf.Module()
    holder.held = function.variables
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    converter.allow_custom_ops = bool(finish.custom_op)
    return converter


def _convert(converter: tf.lite.TFLiteConverter, finish: Finish) -> bytes:
    content = converter.convert()
    # The converter knows the op by its name and attributes; with one of them missing it takes the
    # function that stands in for the op, without a word.
    ops = {op['op_name'] for op in open_content(content)._get_ops_details()}
    if finish.custom_op and finish.custom_op not in ops:
        raise ValueError(
            f'the converter left {finish.custom_op} out of the file; this version of TensorFlow does '
            'not know it by its attributes: use 2.20 or 2.21'
        )
    return content
