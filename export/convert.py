"""From a Keras model to a .tflite file."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tf_keras

CALIBRATION_IMAGES = 200


def convert_float(model: tf_keras.Model) -> bytes:
    """Converts to float32 with one HARD_SWISH op an h-swish.

    Args:
      model: from images [N, H, W, C] to one output.

    Returns:
      The file's content; its batch is fixed at 1, as phones and browsers ask.
    """
    return _converter(model).convert()


def convert_int8(model: tf_keras.Model, images: Iterable[np.ndarray]) -> bytes:
    """Converts to int8 weights and activations by post-training quantization, uint8 outside.

    Args:
      model: from images [N, H, W, C] to one output.
      images: float32 [H, W, C] in [-1, 1], from the training set; the ranges of all activations
        are read off them.

    Returns:
      The file's content. Input and output are uint8, which MediaPipe and browsers take and int8
      they refuse; every op between them is int8, or the conversion fails.
    """
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    return converter.convert()


def _converter(model: tf_keras.Model) -> tf.lite.TFLiteConverter:
    image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name='image')

    @tf.function(input_signature=[image])
    def serve(image: tf.Tensor) -> tf.Tensor:
        return model(image, training=False)

    return tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], model)
