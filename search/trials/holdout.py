"""Images that a search judges by: held out of the training set, so that the evaluation set is left
for the networks that it finds.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from train.data.order import Stream, shuffled_in_turn
from train.data.source import Source, Split


def hold_out(source: Source, every: int, buffer: int) -> Source:
    """The source with an n-th of its training examples for evaluation, and the others for training.

    One of each n that follow each other is held out, drawn at random, the same each time: so an
    n-th of each class where a folder has one after the other, and as good as that where a list has
    them by turns.

    Args:
      source: a dataset.
      every: n; 0 leaves the source as it is.
      buffer: `config.data.shuffle_buffer`, for datasets that come as a stream.

    Raises:
      ValueError: n is 1 or below 0, or larger than the training set.
    """
    if not every:
        return source
    total = source.train.num_examples
    if not 2 <= every <= total:
        raise ValueError(
            f'search.holdout is {every}; expected 0, or 2 to the {total} training examples of '
            f'{source.name}: one of each n is held out'
        )
    held = _one_of_each(every, total)
    subset = source.train.subset
    if subset is not None:
        train, val = (subset(np.flatnonzero(chosen).tolist()) for chosen in (~held, held))
    else:
        train, val = (_streamed(source, chosen, buffer) for chosen in (~held, held))
    # The few that are held are read often.
    val = dataclasses.replace(val, examples=val.examples().cache)
    return Source(source.name, source.labels, train, val)


def _one_of_each(every: int, total: int) -> np.ndarray:
    """Whether an example is held out, bool [total]."""
    first = np.arange(0, total, every)
    held = np.zeros(total, bool)
    held[np.random.default_rng(0).integers(first, np.minimum(first + every, total))] = True
    return held


def _streamed(source: Source, chosen: np.ndarray, buffer: int) -> Split:
    table, count = tf.constant(chosen), int(chosen.sum())
    numbered = source.train.examples().enumerate().filter(lambda number, _: table[number])
    examples = numbered.map(lambda _, example: example)
    return Split(count, lambda: examples, shuffled_in_turn([Stream(examples, count)], buffer))
