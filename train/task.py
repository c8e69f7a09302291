"""What the loop asks of a task: data, loss and metrics."""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.heads import DetectionHead, SegmentationHead
from train.data.pipeline import Batch, Preprocessing

Outputs = Any  # tf.Tensor, or dict[str, tf.Tensor]


class Task(Preprocessing, Protocol):
    """One kind of learning, on one network and one set of classes.

    What the network gives, its outputs, is a tensor or a dict of them by name.
    """

    config: ConfigDict
    labels: tuple[str, ...]
    resolution: tuple[int, int]
    goal: str  # the metric that is to grow

    @property
    def head(self) -> DetectionHead | SegmentationHead | None:
        """What stands on the backbone; None where that is a classifier itself."""

    def eval_image(self, encoded: tf.Tensor) -> tf.Tensor:
        """What evaluation takes of an encoded image, [H, W, 3] uint8."""

    def build(self) -> tf_keras.Model:
        """The network that is evaluated, with its starting weights."""

    def build_for_training(self) -> tf_keras.Model:
        """The network that is trained: the same weights, in the same order, of another size perhaps."""

    def loss(self, outputs: Outputs, batch: Batch) -> tf.Tensor:
        """The loss of each example, [N]."""

    def statistics(self, outputs: Outputs, batch: Batch) -> dict[str, tf.Tensor]:
        """What evaluation keeps of each example, arrays with leading N."""

    def metrics(self, statistics: dict[str, np.ndarray]) -> dict[str, float]:
        """The figures of a whole evaluation set."""
