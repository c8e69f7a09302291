"""The layers of a deploy form that Keras does not have; each is one op in a .tflite file."""

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable('export')
class ShiftReLU6(tf_keras.layers.Layer):
    """relu6(x + 3), six times the hard sigmoid (Paper: §5.2): one ADD with a fused RELU6."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps any shape to the same shape, in [0, 6]."""
        return tf.nn.relu6(x + 3.0)


@tf_keras.utils.register_keras_serializable('export')
class Scale(tf_keras.layers.Layer):
    """Multiplies by one number: a factor that no convolution could take in."""

    def __init__(self, factor: float, name: str | None = None) -> None:
        super().__init__(name=name)
        self.factor = factor

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps any shape to the same shape."""
        return x * self.factor

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {'name': self.name, 'factor': self.factor}
