"""Where int8 hurts: what rounding one layer alone changes in the answers of a network."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras
from tqdm import tqdm

from export.quantize import layer_configs, to_pixel_grid
from export.quantizers import Quantizer, WeightQuantizer

BATCH_SIZE = 16


class Sensitivity:
    """Measures the noise that rounding single layers makes in the answers.

    Noise is the variance, over images, of the difference to the float answers, as a fraction of the
    variance of those. A constant difference is left out: what a rounded tensor is off on average,
    the rounding of others or training makes up for, and it would drown the rest.

    Args:
      model: a quantized model; it rounds everything again after each measurement.
      images: float32 [N, H, W, C] in [-1, 1].
    """

    def __init__(self, model: tf_keras.Model, images: np.ndarray) -> None:
        self._model = model
        self._configs = layer_configs(model)
        self._batches = [
            to_pixel_grid(images[i : i + BATCH_SIZE]) for i in range(0, len(images), BATCH_SIZE)
        ]
        with self._rounding_only():
            self._expected = self._answers()
        self._variance = sum(float(np.var(a, axis=0).mean()) for a in self._expected)

    def of_tensor(self, name: str) -> float:
        """The noise of rounding the output of a layer."""
        return self._noise(self._configs[name].output)

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
        noise = sum(
            float(np.var(answer - expected, axis=0).mean())
            for answer, expected in zip(answers, self._expected, strict=True)
        )
        return noise / max(self._variance, 1e-30)

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
