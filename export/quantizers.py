"""Fake quantization: what of a layer is rounded in training and evaluation, and to what steps.

tensorflow-model-optimization wraps a layer and asks a QuantizeConfig for the quantizers of its
weights and of its output; these are ours. Its own know no h-swish, keep depthwise weights per tensor,
start every range at [-6, 6] and leave the bias in float.
"""

from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.quantization.keras import (
    QuantizeConfig,
    QuantizeWrapperV2,
    quantizers,
)

from export.rounding import round_channels, round_in_range

LEVELS = 127  # int8 weights are symmetric and leave out -128
STEPS = 255  # between the lowest and the highest of 256 values
# A bias is an int32 in steps of input scale · weight scale. A quarter of the int32 range is left to it
# and the rest to the sum of products and to ranges that training moves.
MAX_BIAS_STEPS = 2.0**29


class RangeQuantizer(quantizers.Quantizer):
    """Activations in 256 steps of one range, which calibration sets and training may move.

    Args:
      decay: of the moving average of the extremes of each training batch.
      observe_steps: training steps after which the range stays as it is; 0 keeps the calibrated one.
      lowest: values below it need not be told apart: -3 before an h-swish, which is 0 from there on.
    """

    def __init__(self, decay: float, observe_steps: int, lowest: float | None = None) -> None:
        self.decay, self.observe_steps, self.lowest = decay, observe_steps, lowest
        self.active = True  # False lets values through as they are: export/sensitivity.py
        self._step: tf.Variable | None = None

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, tf.Variable]:
        """Makes the variables, among the wrapped layer's."""
        # As the statistics of a batch normalisation: each replica moves its own.
        kind = {
            'initializer': tf_keras.initializers.Zeros(),
            'trainable': False,
            'synchronization': tf.VariableSynchronization.ON_READ,
            'aggregation': tf.VariableAggregation.MEAN,
        }
        self.low = layer.add_weight(f'{name}_low', (), **kind)
        self.high = layer.add_weight(f'{name}_high', (), **kind)
        return {'low': self.low, 'high': self.high}

    def follow(self, step: tf.Variable) -> None:
        """Observes training batches until `step`, the number of updates, is `observe_steps`."""
        self._step = step

    def scale(self) -> tf.Tensor:
        """The size of one step, float32 scalar; as the converter computes it, to the last bit."""
        span = tf.cast(self.high, tf.float64) - tf.cast(self.low, tf.float64)
        return tf.cast(span / STEPS, tf.float32)

    def zero_point(self) -> int:
        """The int8 value that stands for 0."""
        return round(-128 - float(tf.identity(self.low)) / float(self.scale()))

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict, **kwargs: Any
    ) -> tf.Tensor:
        """Rounds to the nearest step in the range."""
        if training and self.observe_steps and self._step is not None:
            self._observe(inputs, tf.cast(self._step < self.observe_steps, tf.float32))
        if not self.active:
            return inputs
        return round_in_range(inputs, self.low, self.high, training)

    def _observe(self, inputs: tf.Tensor, observing: tf.Tensor) -> None:
        low = tf.minimum(tf.reduce_min(inputs), 0.0)
        low = low if self.lowest is None else tf.maximum(low, self.lowest)
        high = tf.maximum(tf.reduce_max(inputs), 0.0)
        rate = observing * (1.0 - self.decay)
        self.low.assign_add(rate * (low - self.low))
        self.high.assign_add(rate * (high - self.high))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {'decay': self.decay, 'observe_steps': self.observe_steps, 'lowest': self.lowest}


class FixedQuantizer(quantizers.Quantizer):
    """Activations in 256 steps of a range that is known beforehand."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high, self.active = low, high, True

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, tf.Variable]:
        """Needs no variables."""
        return {}

    def scale(self) -> tf.Tensor:
        """The size of one step, float32 scalar."""
        return tf.constant((self.high - self.low) / STEPS)

    def zero_point(self) -> int:
        """The int8 value that stands for 0."""
        return round(-128 - self.low / float(self.scale()))

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict, **kwargs: Any
    ) -> tf.Tensor:
        """Rounds to the nearest step in the range."""
        if not self.active:
            return inputs
        return tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {'low': self.low, 'high': self.high}


class SharedQuantizer(quantizers.Quantizer):
    """Activations in the steps of another tensor, as TFLite joins, pools and resizes them.

    Args:
      owner: whose steps they are.
    """

    def __init__(self, owner: 'Quantizer') -> None:
        self.owner, self.active = owner, True

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, tf.Variable]:
        """Needs no variables of its own."""
        return {}

    @property
    def low(self) -> Any:
        """The owner's."""
        return self.owner.low

    @property
    def high(self) -> Any:
        """The owner's."""
        return self.owner.high

    def scale(self) -> tf.Tensor:
        """The size of one step, float32 scalar."""
        return self.owner.scale()

    def zero_point(self) -> int:
        """The int8 value that stands for 0."""
        return self.owner.zero_point()

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict, **kwargs: Any
    ) -> tf.Tensor:
        """Rounds to the nearest step in the range."""
        if not self.active:
            return inputs
        return round_in_range(inputs, self.low, self.high, training)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {'owner': self.owner}


Quantizer = RangeQuantizer | FixedQuantizer | SharedQuantizer


class WeightQuantizer(quantizers.Quantizer):
    """int8 weights, one symmetric range an output channel, read off the weights at every step.

    The range has a floor. A channel of tiny weights and a sizeable bias would get so small a scale
    that its bias, in steps of input scale · weight scale, leaves int32. Keras, where the bias is a
    float, does not see it, and the .tflite file answers nonsense: this is the collapse after
    quantization-aware training that users of V3 report (measured with real weights: Keras 75.0 %,
    the file 2.4 %). The converter guards against it where it calibrates by itself, not where the
    ranges come with the model.

    Args:
      layer: whose kernel it rounds.
      source: the quantizer of the layer's input, for the scale of the bias.
    """

    def __init__(self, layer: tf_keras.layers.Layer, source: Quantizer) -> None:
        self._layer, self.source, self.active = layer, source, True
        self._depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
        # The variables themselves: while the wrapper runs, the layer's attributes hold the rounded.
        self.kernel = layer.depthwise_kernel if self._depthwise else layer.kernel
        self.bias = layer.bias

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, tf.Variable]:
        """Needs no variables."""
        return {}

    def scale(self) -> tf.Tensor:
        """The size of one step of each output channel, float32 [k]."""
        limit = tf.reduce_max(tf.abs(self.channels_last(self.kernel)), axis=[0, 1, 2])
        floor = tf.abs(self.bias) / (MAX_BIAS_STEPS * tf.maximum(self.source.scale(), 1e-30))
        # A channel without any weight has a scale, too. The last factor: weights from another
        # quantized file may lie half way between two steps, where the converter rounds otherwise
        # than fake quantization; so they lie a little below.
        scale = tf.maximum(tf.maximum(limit / LEVELS, floor), 1e-20) * (1.0 + 1e-5)
        return tf.stop_gradient(scale)

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict, **kwargs: Any
    ) -> tf.Tensor:
        """The kernel, rounded."""
        if not self.active:
            return inputs
        limit = self.scale() * LEVELS
        rounded = round_channels(self.channels_last(inputs), limit, training)
        return tf.reshape(rounded, inputs.shape)

    def channels_last(self, kernel: tf.Tensor) -> tf.Tensor:
        """A kernel with its output channels as the last axis."""
        # TFLite lays a depthwise kernel out as [1, h, w, C]: the converter cancels this reshape and
        # the one back. Squeezed to [h, w, C] it fails.
        return tf.reshape(kernel, [1, *kernel.shape[:3]]) if self._depthwise else kernel

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {'layer': self._layer, 'source': self.source}


class BiasQuantizer(quantizers.Quantizer):
    """The bias as the file holds it: an int32 in steps of input scale · weight scale.

    Left out, as usual, one output in 500 of a convolution differs by a step between Keras and the
    file, and fifty layers make three steps of it at the logits.
    """

    def __init__(self, weight: WeightQuantizer) -> None:
        self._weight = weight

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, tf.Variable]:
        """Needs no variables."""
        return {}

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict, **kwargs: Any
    ) -> tf.Tensor:
        """The bias, rounded; its gradient passes through."""
        if not self._weight.active:
            return inputs
        step = self._weight.scale() * self._weight.source.scale()
        return inputs + tf.stop_gradient(tf.round(inputs / step) * step - inputs)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {'weight': self._weight}


class LayerConfig(QuantizeConfig):
    """Which quantizers a layer gets: one for its output, and a convolution for kernel and bias.

    Args:
      layer: that is wrapped.
      output: rounds its output.
      source: what rounded its first input.
      weight: of a convolution.
    """

    def __init__(
        self,
        layer: tf_keras.layers.Layer,
        output: Quantizer,
        source: Quantizer,
        weight: WeightQuantizer | None,
    ) -> None:
        self.layer, self.output, self.source, self.weight = layer, output, source, weight
        self._bias = BiasQuantizer(weight) if weight else None

    def get_weights_and_quantizers(self, layer: tf_keras.layers.Layer) -> list:
        """Kernel and bias of a convolution."""
        if self.weight is None:
            return []
        return [(getattr(layer, _kernel_name(layer)), self.weight), (layer.bias, self._bias)]

    def set_quantize_weights(
        self, layer: tf_keras.layers.Layer, quantize_weights: list[tf.Tensor]
    ) -> None:
        """Lets the layer compute with the rounded weights."""
        if self.weight is not None:
            kernel, layer.bias = quantize_weights
            setattr(layer, _kernel_name(layer), kernel)

    def get_activations_and_quantizers(self, layer: tf_keras.layers.Layer) -> list:
        """None: the output is rounded after the fused activation."""
        return []

    def set_quantize_activations(
        self, layer: tf_keras.layers.Layer, quantize_activations: list
    ) -> None:
        """Nothing to set."""
        del layer, quantize_activations

    def get_output_quantizers(self, layer: tf_keras.layers.Layer) -> list:
        """The one of the output."""
        return [self.output]

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            'layer': self.layer,
            'output': self.output,
            'source': self.source,
            'weight': self.weight,
        }


def _kernel_name(layer: tf_keras.layers.Layer) -> str:
    return 'depthwise_kernel' if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else 'kernel'


class QuantizedLayer(QuantizeWrapperV2):
    """A layer of the deploy form that rounds; it bears the layer's name."""

    def __init__(self, layer: tf_keras.layers.Layer, config: LayerConfig) -> None:
        super().__init__(layer, config, name=layer.name)

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """None of a frozen layer's, whose kernel the wrapper alone would train."""
        return super().trainable_weights if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """All others."""
        frozen = [] if self.trainable else super().trainable_weights
        return frozen + super().non_trainable_weights

    def follow(self, step: tf.Variable, seed: int, part: tf.Variable | None = None) -> None:
        """Lets the range move with training; `train.trainer` calls it."""
        del seed, part  # nothing is random here
        if isinstance(self.quantize_config.output, RangeQuantizer):
            self.quantize_config.output.follow(step)
