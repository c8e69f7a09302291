"""The classes of a model beside those of a dataset."""

import dataclasses
import os

from ml_collections import ConfigDict

from train.data.faults import name_some
from train.data.labels import BACKGROUND, has_names, read_lines
from train.data.source import Judged, open_split, shifted


def read_labels(path: str | os.PathLike) -> tuple[str, ...]:
    """Names of classes from a text file, a line each.

    Raises:
      ValueError: it names none.
    """
    labels = read_lines(path)
    if not labels:
        raise ValueError(f'{path} names no classes; expected one a line')
    return labels


def check_labels(labels: tuple[str, ...] | None, classes: int, model: str, task: str) -> None:
    """Refuses what --labels names where it does not fit the classes of a model of `task`.

    Raises:
      ValueError: they are more or fewer, or two are equal. Classes of a classifier may be, as
        ImageNet has two cranes; boxes and masks are drawn by name.
    """
    if labels is None:
        return
    if len(labels) != classes:
        raise ValueError(f'--labels names {len(labels)} classes, {model} has {classes}')
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice and task != 'classification':
        raise ValueError(
            f'--labels names {name_some(twice)} more than once; expected names of {task} that differ'
        )


def open_matching(
    config: ConfigDict,
    labels: tuple[str, ...],
    model: str,
    split: str = 'val',
    task: str = 'classification',
) -> Judged:
    """Opens a split of a dataset for a model of the given classes.

    A model with one class more than the dataset has a background before them, as released weights
    do. Classes without names, which are the numbers from 0 on, match by their number. Folders of
    boxes may have fewer classes than the model: theirs are found by name (`open_split`).

    Args:
      config: the `data` part of a config; `background` is found here.
      labels: of the model.
      model: its name, for an error.
      split: 'train', 'val' or 'test'.
      task: of the model.

    Returns:
      The split; its labels are the model's, or the dataset's where the model's have no names.

    Raises:
      ValueError: the dataset has other classes, or no such split.
    """
    config = config.copy_and_resolve_references()
    config.background = False
    opened = open_split(config, task, split, labels)
    comparable = has_names(labels) and has_names(opened.labels)
    one_more = task == 'classification' and len(labels) == len(opened.labels) + 1
    if one_more and (labels[0] == BACKGROUND or not comparable):
        opened = Judged(opened.name, (BACKGROUND, *opened.labels), shifted(opened.split))
    if len(opened.labels) != len(labels) or (comparable and opened.labels != labels):
        raise ValueError(
            f'{opened.name} has other classes than {model}: '
            f'{first_difference(opened.labels, labels)}; give data of its classes, or the names '
            'that the data has for them by --labels'
        )
    chosen = labels if has_names(labels) else opened.labels
    return dataclasses.replace(opened, labels=chosen)


def first_difference(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    """Where two lists of classes part, in words: 'there' and 'here'."""
    counts = f'{len(theirs)} there, {len(ours)} here'
    for number, (there, here) in enumerate(zip(theirs, ours, strict=False)):
        if there != here:
            prefix = '' if len(theirs) == len(ours) else f'{counts}: '
            return f'{prefix}class {number} is {there!r} there, {here!r} here'
    return counts
