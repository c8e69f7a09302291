"""The orders in which training sees the examples of a split."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

SEEDS_APART = 1_000_003  # of streams, so that runs of neighbouring seeds share none


class Shuffled(Protocol):
    """An endless order of examples that a seed determines, another one each epoch."""

    def __call__(self, seed: int, skip: int, every: int = 1) -> tf.data.Dataset:
        """The examples from number `skip` on, of these every `every`-th.

        What comes before is not decoded; what lies between is not even read, of files that are
        listed, or where `every` divides the number of streams.
        """


@dataclasses.dataclass(frozen=True)
class Stream:
    """A part of a split: `num_examples` that are read one after the other."""

    examples: tf.data.Dataset
    num_examples: int


def shuffled_in_turn(streams: Sequence[Stream], buffer: int) -> Shuffled:
    """The order of a split that is read as streams, one example of each in turn.

    The order is a function of the seed, the epoch and the number of streams; that of the readers
    does not change it. Each stream has its share of the buffer, and epochs of its own: streams
    should be of one length, or those of the shorter are seen more often. A buffer as large as the
    dataset shuffles it as a whole; a smaller one mixes neighbours only, so files should be written
    in random order, as TFDS and train.shard write them (measured on sorted input in
    shuffle_test.py).

    Args:
      streams: of a split, together; cheap to read and skip.
      buffer: how many examples are held at once.
    """
    share = max(1, buffer // len(streams))

    def shuffled(seed: int, skip: int, every: int = 1) -> tf.data.Dataset:
        total = len(streams)
        if total % every:
            return shuffled(seed, skip).shard(every, 0)
        ours = [divmod(skip + i * every, total) for i in range(total // every)]
        orders = [
            _order(streams[number], seed + SEEDS_APART * number, before, share)
            for before, number in ours
        ]
        turns = tf.data.Dataset.range(len(orders)).repeat()
        return tf.data.Dataset.choose_from_datasets(orders, turns)

    return shuffled


def shuffled_by_number(numbers: tf.data.Dataset, count: int) -> Shuffled:
    """The order of numbers of examples: a whole shuffle each epoch, of which one at most is skipped.

    It is that of `numbers.shuffle(count, seed).repeat().skip(skip)`, which draws every number before:
    minutes where a hundred epochs of a million images have passed. Here each epoch is a shuffle of its
    own, by the pair of seeds that TensorFlow draws for it.
    """

    def shuffled(seed: int, skip: int, every: int = 1) -> tf.data.Dataset:
        first, position = divmod(skip, count)

        def epoch(number: tf.Tensor, seeds: tf.Tensor) -> tf.data.Dataset:
            variant = tf.raw_ops.ShuffleDataset(
                input_dataset=tf.data.experimental.to_variant(numbers),
                buffer_size=count,
                seed=seeds[0],
                seed2=seeds[1],
                output_types=[tf.int64],
                output_shapes=[[]],
                reshuffle_each_iteration=False,
            )
            order = tf.data.experimental.from_variant(variant, numbers.element_spec)
            return order.skip(tf.where(number == 0, tf.constant(position, tf.int64), 0))

        pairs = tf.data.Dataset.random(seed).batch(2, drop_remainder=True).skip(first)
        return pairs.enumerate().flat_map(epoch).shard(every, 0)

    return shuffled


def mapped(order: Shuffled, function: Callable, **options: Any) -> Shuffled:
    """The order of what `function` makes of examples; `options` are those of `Dataset.map`."""

    def shuffled(seed: int, skip: int, every: int = 1) -> tf.data.Dataset:
        return order(seed, skip, every).map(function, **options)

    return shuffled


def _order(stream: Stream, seed: int, skip: int, buffer: int) -> tf.data.Dataset:
    """The endless order of one stream, from its example `skip` on."""
    count = stream.num_examples
    first, position = divmod(skip, count)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        # Each epoch has a seed, so that a run which continues reads no other epoch again. The seed
        # of this function's graph goes with it; TensorFlow cannot compare 0 with a tensor.
        tf.compat.v1.set_random_seed(1 + seed % (2**31 - 2))
        order = stream.examples.shuffle(min(count, buffer), seed=number)
        return order.skip(tf.where(number == first, tf.constant(position, tf.int64), 0))

    return tf.data.Dataset.range(first, tf.int64.max).flat_map(epoch)
