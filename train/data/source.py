"""Where examples come from: one small description a dataset, whatever its files."""

import dataclasses
import difflib
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from train.data.order import Shuffled, mapped, shuffled_by_number

# The forms of a dataset's name besides a TFDS name, by task.
KINDS = {
    'classification': ('folder:PATH', 'tfrecord:PATH', 'builtin:shapes'),
    'detection': ('voc:PATH', 'cocojson:PATH', 'builtin:shapes'),
    'segmentation': ('folder:PATH', 'builtin:shapes'),
}


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split, in a fixed order.

    An example is a dict with 'image', an encoded JPEG, PNG, BMP or GIF (scalar string), and of

    - classification: 'label' (int64);
    - detection: 'boxes' float32 [B, 4] (ymin, xmin, ymax, xmax in [0, 1]), 'box_labels' int64 [B],
      'crowd' bool [B] (COCO's crowds and VOC's difficult objects: neither target nor mistake) and
      'areas' float32 [B], of the objects in pixels, 0 where their boxes' count; B may be 0;
    - segmentation: 'mask', an encoded grey PNG of the image's size (scalar string), and 'mask_classes'
      uint8 [256], the class of each of its values, 255 for those to ignore.

    Attributes:
      num_examples: how many there are.
      examples: makes a dataset of the examples.
      shuffled: makes the same for training, in an order of its own.
      most_boxes: that an example has, 0 where that is not known beforehand or there are none.
      subset: makes a split of some of the examples, by their numbers; None where they are a stream.
      listing: SHA-256 of the names and labels of files in their order; '' where it is not known.
    """

    num_examples: int
    examples: Callable[[], tf.data.Dataset]
    shuffled: Shuffled
    most_boxes: int = 0
    subset: Callable[[Sequence[int]], 'Split'] | None = None
    listing: str = ''

    @property
    def known_by(self) -> list:
        """What tells it from another split of the same dataset, as JSON gives it back."""
        return [self.num_examples, self.listing]


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset: its class names and its splits; `test` where there is an annotated one besides."""

    name: str
    labels: tuple[str, ...]
    train: Split
    val: Split
    test: Split | None = None

    def split(self, name: str) -> Split:
        """The split 'train', 'val' or 'test'.

        Raises:
          ValueError: there is no test split.
        """
        found: Split | None = {'train': self.train, 'val': self.val, 'test': self.test}[name]
        if found is None:
            raise ValueError(f'{self.name} has no annotated {name} split; expected train or val')
        return found


@dataclasses.dataclass(frozen=True)
class Judged:
    """A split that is evaluated without the others, which need not be there."""

    name: str
    labels: tuple[str, ...]
    split: Split


def open_source(config: ConfigDict, task: str = 'classification') -> Source:
    """Opens the dataset that `config` (the `data` part of a config) names, for a task.

    Raises:
      ValueError: there is no such dataset, it is not laid out as expected, or not for that task.
    """
    if task not in KINDS:
        raise ValueError(f'task {task!r} has no datasets; expected one of {", ".join(KINDS)}')
    if config.background and task != 'classification':
        raise ValueError(
            f'config.data.background is of classification; {task} has a background of its own'
        )
    source = _open(config, task)
    return with_background(source) if config.background else source


def open_split(config: ConfigDict, task: str, split: str, labels: tuple[str, ...]) -> Judged:
    """Opens one split of the dataset that `config` (the `data` part of a config) names.

    Of folders of boxes or masks nothing else has to be there, and their classes are found by name
    among `labels`; other datasets are opened as for training.

    Args:
      config: the `data` part of a config.
      task: of the model that is evaluated.
      split: 'train', 'val' or 'test'; where there is no val, test stands in for it.
      labels: the model's classes.

    Raises:
      ValueError: as `open_source`; there is no such split, or it has classes besides `labels`.
    """
    from train.data import coco_json, mask_folder, voc

    openers = {
        ('detection', 'voc'): voc.open_voc_split,
        ('detection', 'cocojson'): coco_json.open_coco_json_split,
        ('segmentation', 'folder'): mask_folder.open_mask_split,
    }
    kind, _, rest = config.dataset.partition(':')
    if (task, kind) in openers:
        return openers[task, kind](_directory(rest), config, split, labels)
    source = open_source(config, task)
    return Judged(source.name, source.labels, source.split(split))


def kinds(task: str) -> str:
    """The forms of a dataset's name besides a TFDS name, in words."""
    *first, last = KINDS[task]
    return f'{", ".join(first)} or {last}' if first else last


def _open(config: ConfigDict, task: str) -> Source:
    from train.data import coco_json, folder, mask_folder, records, tfds_source, voc

    kind, colon, rest = config.dataset.partition(':')
    known = {name.partition(':')[0] for names in KINDS.values() for name in names}
    taken = [name.partition(':')[0] for name in KINDS[task]]
    if colon and kind in known and kind not in taken:
        raise ValueError(
            f'{config.dataset} is no dataset for {task}; expected a TFDS name, {kinds(task)}'
        )
    if kind == 'builtin' and colon:
        return tfds_source.open_builtin(rest, config, task)
    if kind == 'folder' and colon:
        opened = mask_folder.open_mask_folder if task == 'segmentation' else folder.open_folder
        return opened(_directory(rest), config)
    if kind == 'voc' and colon:
        return voc.open_voc(_directory(rest), config)
    if kind == 'cocojson' and colon:
        return coco_json.open_coco_json(_directory(rest), config)
    if kind == 'tfrecord' and colon:
        return records.open_records(_directory(rest), config)
    if colon and not os.path.exists(config.dataset):
        near = difflib.get_close_matches(kind, taken, n=1)
        if near:
            raise ValueError(f'unknown dataset {config.dataset!r}; did you mean {near[0]}:{rest}?')
    return tfds_source.open_tfds(config.dataset, config, task)


def listed_split(num_examples: int, read: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Split:
    """A split whose examples `read` makes of their numbers, as those of lists of files."""

    def subset(numbers: Sequence[int]) -> Split:
        chosen = tf.data.Dataset.from_tensor_slices(np.asarray(numbers, np.int64))
        return _numbered(chosen, len(numbers), read)

    whole = _numbered(tf.data.Dataset.range(num_examples), num_examples, read)
    return dataclasses.replace(whole, subset=subset)


def _numbered(
    numbers: tf.data.Dataset, count: int, read: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> Split:
    # Numbers are shuffled, not images: the whole of any folder.
    order = shuffled_by_number(numbers, count)
    return Split(
        count,
        lambda: numbers.map(read, num_parallel_calls=tf.data.AUTOTUNE),
        mapped(order, read, num_parallel_calls=tf.data.AUTOTUNE),
    )


def with_background(source: Source) -> Source:
    """The source with one more class before all others, as released ImageNet weights have it."""
    return Source(
        source.name,
        ('background', *source.labels),
        shifted(source.train),
        shifted(source.val),
        shifted(source.test) if source.test else None,
    )


def shifted(split: Split) -> Split:
    """The split of a classification whose labels begin with 1."""

    def shift(raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**raw, 'label': raw['label'] + 1}

    subset = split.subset
    return dataclasses.replace(
        split,
        examples=lambda: split.examples().map(shift),
        shuffled=mapped(split.shuffled, shift),
        subset=subset and (lambda numbers: shifted(subset(numbers))),
    )


def _directory(path: str) -> str:
    path = os.path.expanduser(path)
    if not os.path.isdir(path):
        raise ValueError(f'there is no folder {path!r} for the dataset')
    return path
