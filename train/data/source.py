"""Where examples come from: one small description a dataset, whatever its files."""

import dataclasses
import difflib
import os
from collections.abc import Callable

import tensorflow as tf
from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split, in a fixed order.

    Attributes:
      num_examples: how many there are.
      examples: makes a dataset of dicts with 'image', an encoded JPEG, PNG, BMP or GIF (scalar
        string), and 'label' (int64); sources with more add 'objects' and 'mask'.
      shuffled: makes the same for training: endless, in an order that `seed` determines, another
        one each epoch. Given the number of examples to skip, without decoding them.
    """

    num_examples: int
    examples: Callable[[], tf.data.Dataset]
    shuffled: Callable[[int, int], tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset: its class names and its two splits."""

    name: str
    labels: tuple[str, ...]
    train: Split
    val: Split


def open_source(config: ConfigDict) -> Source:
    """Opens the dataset that `config` (the `data` part of a config) names.

    Raises:
      ValueError: there is no such dataset, or it is not laid out as expected.
    """
    source = _open(config)
    return with_background(source) if config.background else source


def _open(config: ConfigDict) -> Source:
    from train.data import folder, records, tfds_source

    kind, colon, rest = config.dataset.partition(':')
    if kind == 'builtin' and colon:
        return tfds_source.open_builtin(rest, config)
    if kind == 'folder' and colon:
        return folder.open_folder(_directory(rest), config)
    if kind == 'tfrecord' and colon:
        return records.open_records(_directory(rest), config)
    if colon and not os.path.exists(config.dataset):
        near = difflib.get_close_matches(kind, ('builtin', 'folder', 'tfrecord'), n=1)
        if near:
            raise ValueError(f'unknown dataset {config.dataset!r}; did you mean {near[0]}:{rest}?')
    return tfds_source.open_tfds(config.dataset, config)


def shuffled_in_memory(
    examples: tf.data.Dataset, num_examples: int, buffer: int
) -> Callable[[int, int], tf.data.Dataset]:
    """`Split.shuffled` of a dataset whose elements are cheap to read and skip.

    The order is a function of the seed and the epoch. A buffer as large as the dataset shuffles it
    as a whole; a smaller one mixes neighbours only, so files should be written in random order.
    """

    def shuffled(seed: int, skip: int) -> tf.data.Dataset:
        order = examples.shuffle(
            min(num_examples, buffer), seed=seed, reshuffle_each_iteration=True
        )
        return order.repeat().skip(skip)

    return shuffled


def with_background(source: Source) -> Source:
    """The source with one more class before all others, as released ImageNet weights have it."""

    def shift(raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**raw, 'label': raw['label'] + 1}

    def shifted(split: Split) -> Split:
        return Split(
            split.num_examples,
            lambda: split.examples().map(shift),
            lambda seed, skip: split.shuffled(seed, skip).map(shift),
        )

    labels = ('background', *source.labels)
    return Source(source.name, labels, shifted(source.train), shifted(source.val))


def _directory(path: str) -> str:
    path = os.path.expanduser(path)
    if not os.path.isdir(path):
        raise ValueError(f'there is no folder {path!r} for the dataset')
    return path
