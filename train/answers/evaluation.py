"""What a report is written of: a model's answers on one split of a dataset."""

import dataclasses

import numpy as np

from train.data.source import Split


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A model on a dataset.

    Attributes:
      model: its path.
      dataset: its name.
      split_name: 'val' or 'train'.
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
