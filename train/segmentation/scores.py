"""How well pixels are told apart: counts of which class is taken for which, and what is made of them."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from train.data.mask_file import IGNORED


def confusion_matrix(truth: tf.Tensor, found: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Counts the pixels of each class that are taken for each.

    Args:
      truth: whole numbers of any shape, classes or IGNORED.
      found: of the same shape, classes.
      num_classes: K.

    Returns:
      [K, K] int32; rows are the true classes.
    """
    truth, found = tf.cast(truth, tf.int32), tf.cast(found, tf.int32)
    # Numbers below 0 are dropped. A segment sum, since TensorFlow's bincount has no deterministic
    # kernel on a GPU.
    cells = tf.where(truth == IGNORED, -1, truth * num_classes + found)
    cells = tf.reshape(cells, [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(cells), cells, num_classes**2)
    return tf.reshape(counts, [num_classes, num_classes])


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a confusion matrix of pixels says.

    Attributes:
      matrix: [K, K] pixels; rows are the true classes.
    """

    matrix: np.ndarray

    @classmethod
    def of(cls, matrices: np.ndarray) -> 'Scores':
        """Of many images, [N, K, K], every pixel counted alike."""
        return cls(matrices.sum(axis=0, dtype=np.int64))

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """Of each class, [K]."""
        return self.matrix.sum(axis=1)

    @functools.cached_property
    def found(self) -> np.ndarray:
        """How many pixels are taken for each class, [K]."""
        return self.matrix.sum(axis=0)

    @functools.cached_property
    def right(self) -> np.ndarray:
        """How many pixels of each class are taken for it, [K]."""
        return np.diagonal(self.matrix)

    @functools.cached_property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class, [K]; NaN where nothing is of it or taken for it."""
        union = self.pixels + self.found - self.right
        return self.right / np.where(union, union, np.nan)

    @property
    def miou(self) -> float:
        """The mean over the classes that have an intersection over union; 0 without any."""
        present = self.iou[~np.isnan(self.iou)]
        return float(present.mean()) if len(present) else 0.0

    @property
    def accuracy(self) -> float:
        """The share of pixels that are right; 0 without any."""
        return float(self.right.sum() / max(self.matrix.sum(), 1))
