"""Weights of classes that make rare ones count as much as common ones."""

import numpy as np

from train.data.source import Split


def class_weights(split: Split, num_classes: int) -> tuple[float, ...]:
    """n / (k · n_c) for each class c: the mean weight of an example is 1.

    Raises:
      ValueError: a class has no example.
    """
    counts = np.zeros(num_classes, np.int64)
    for labels in split.examples().map(lambda raw: raw['label']).batch(1024).as_numpy_iterator():
        counts += np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise ValueError(
            f'class {int(np.argmin(counts))} has no training example, so that no weight balances it; '
            'give it some, or set --config.train.balanced=False'
        )
    return tuple((split.num_examples / (num_classes * counts)).tolist())
