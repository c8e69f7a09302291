"""What the loop asks of a task: data, loss and metrics."""

from typing import Protocol

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from train.data.pipeline import Batch, Preprocessing


class Task(Preprocessing, Protocol):
    """One kind of learning, on one network and one set of classes."""

    config: ConfigDict
    labels: tuple[str, ...]
    resolution: tuple[int, int]
    goal: str  # the metric that is to grow

    def build(self) -> tf_keras.Model:
        """A network with its starting weights, made of batches' images."""

    def loss(self, outputs: tf.Tensor, batch: Batch) -> tf.Tensor:
        """The loss of each example, [N]."""

    def statistics(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """What evaluation keeps of each example, arrays with leading N."""

    def metrics(self, statistics: dict[str, np.ndarray]) -> dict[str, float]:
        """The figures of a whole evaluation set."""
