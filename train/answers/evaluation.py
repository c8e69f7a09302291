"""What a report is written of: a model's answers on one split of a dataset."""

import dataclasses
from collections.abc import Callable, Collection

import numpy as np
import tensorflow as tf

from train.data.images import decode
from train.data.source import Split


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A model on a dataset.

    Attributes:
      model: its path.
      dataset: its name.
      split_name: 'train', 'val' or 'test'.
      split: its examples.
      labels: names of the classes.
      statistics: what the task keeps of each example and `details` adds, in their order.
      metrics: over all.
      notes: what was assumed.
    """

    model: str
    dataset: str
    split_name: str
    split: Split
    labels: tuple[str, ...]
    statistics: dict[str, np.ndarray]
    metrics: dict[str, float]
    notes: tuple[str, ...]

    def pictures(self, numbers: Collection[int]) -> dict[int, np.ndarray]:
        """Images of examples by their number, decoded: [H, W, 3] uint8."""
        return self.decoded(numbers, lambda raw: decode(raw['image']))

    def decoded(
        self, numbers: Collection[int], decoder: Callable[[dict[str, tf.Tensor]], tf.Tensor]
    ) -> dict[int, np.ndarray]:
        """What `decoder` makes of raw examples, by their number."""
        wanted = set(numbers)
        found: dict[int, np.ndarray] = {}
        for number, raw in enumerate(self.split.examples()):
            if len(found) == len(wanted):
                break
            if number in wanted:
                found[number] = decoder(raw).numpy()
        return found
