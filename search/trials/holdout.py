"""Images that a search judges by: held out of the training set, so that the evaluation set is left
for the networks that it finds.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from train.data.order import Stream, shuffled_in_turn
from train.data.source import Source, Split


def hold_out(source: Source, every: int, buffer: int) -> Source:
    """The source with every n-th training example for evaluation, and the others for training.

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
            f'{source.name}: every n-th is held out'
        )
    held, left = range(0, total, every), [n for n in range(total) if n % every]
    subset = source.train.subset
    if subset is not None:
        train, val = subset(left), subset(held)
    else:
        train = _streamed(source, len(left), lambda number: number % every != 0, buffer)
        val = _streamed(source, len(held), lambda number: number % every == 0, buffer)
    # The few that are held are read often.
    val = dataclasses.replace(val, examples=val.examples().cache)
    return Source(source.name, source.labels, train, val)


def _streamed(
    source: Source, count: int, chosen: Callable[[tf.Tensor], tf.Tensor], buffer: int
) -> Split:
    numbered = source.train.examples().enumerate().filter(lambda number, _: chosen(number))
    examples = numbered.map(lambda _, example: example)
    return Split(count, lambda: examples, shuffled_in_turn([Stream(examples, count)], buffer))
