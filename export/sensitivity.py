"""Where int8 hurts: what rounding one layer alone changes in the answers of a network."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras
from tqdm import tqdm

from export.quantize import layer_configs, to_pixel_grid
from export.quantizers import Quantizer, SharedQuantizer, WeightQuantizer
from mobilenet_v3.layers import Resize
from train.data.pipeline import images_at_once

BATCH_SIZE = 16


class Sensitivity:
    """Measures the noise that rounding single layers makes in the answers.

    Noise is the variance, over images, of the difference to the float answers, as a fraction of the
    variance of those; of several outputs the mean. A constant difference is left out: what a rounded
    tensor is off on average, the rounding of others or training makes up for, and it would drown the
    rest. Answers that are resized at the end are looked at before that.

    Args:
      model: a quantized model; it rounds everything again after each measurement.
      images: float32 [N, H, W, C] in [-1, 1].
    """

    def __init__(self, model: tf_keras.Model, images: np.ndarray) -> None:
        outputs = [_before_resizing(tensor) for tensor in tf.nest.flatten(model.output)]
        self._model = tf_keras.Model(model.input, outputs)
        self._configs = layer_configs(model)
        size = images_at_once(BATCH_SIZE, images.shape[1:3])
        self._batches = [to_pixel_grid(images[i : i + size]) for i in range(0, len(images), size)]
        with self._rounding_only():
            self._expected = self._answers()
        self._variances = [float(np.var(a, axis=0).mean()) for a in self._expected]

    def of_tensor(self, name: str) -> float:
        """The noise of rounding the output of a layer, and all that share its range."""
        owner = self._configs[name].output
        outputs = [config.output for config in self._configs.values()]
        sharing = [q for q in outputs if isinstance(q, SharedQuantizer) and q.owner is owner]
        return self._noise(owner, *sharing)

    def of_layer(self, name: str) -> float:
        """The noise of rounding the weights and the output of a layer."""
        config = self._configs[name]
        return self._noise(config.output, *([config.weight] if config.weight else []))

    def ranking(self) -> list[tuple[str, float]]:
        """Every layer with its noise, the costliest first."""
        noises = {name: self.of_layer(name) for name in tqdm(self._configs, desc='sensitivity')}
        return sorted(noises.items(), key=lambda item: -item[1])

    def _noise(self, *quantizers: Quantizer | WeightQuantizer) -> float:
        with self._rounding_only(*quantizers):
            answers = self._answers()
        shares = [
            float(np.var(answer - expected, axis=0).mean()) / max(variance, 1e-30)
            for answer, expected, variance in zip(
                answers, self._expected, self._variances, strict=True
            )
        ]
        return float(np.mean(shares))

    def _answers(self) -> list[np.ndarray]:
        """Each output over all images. Eagerly, so that switches need no new trace."""
        outputs = [tf.nest.flatten(self._model(batch, training=False)) for batch in self._batches]
        return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]

    @contextlib.contextmanager
    def _rounding_only(self, *quantizers: Quantizer | WeightQuantizer) -> Iterator[None]:
        every = [q for c in self._configs.values() for q in (c.output, c.weight) if q is not None]
        for quantizer in every:
            quantizer.active = quantizer in quantizers
        try:
            yield
        finally:
            for quantizer in every:
                quantizer.active = True


def _before_resizing(tensor: tf.Tensor) -> tf.Tensor:
    layer = tensor.node.layer
    resizes = isinstance(getattr(layer, 'layer', layer), Resize)
    return layer.input if resizes else tensor
