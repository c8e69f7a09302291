"""The classes of a model beside those of a dataset."""

import dataclasses
import os

from ml_collections import ConfigDict

from train.data.source import Source, open_source, with_background

BACKGROUND = 'background'


def read_labels(path: str | os.PathLike) -> tuple[str, ...]:
    """Names of classes from a text file, a line each.

    Raises:
      ValueError: it names fewer than two.
    """
    with open(path, encoding='utf-8') as lines:
        labels = tuple(line.strip() for line in lines if line.strip())
    if len(labels) < 2:
        raise ValueError(f'{path} names {len(labels)} classes; expected one a line, at least 2')
    return labels


def open_matching(
    config: ConfigDict, labels: tuple[str, ...], model: str, task: str = 'classification'
) -> Source:
    """Opens a dataset for a model of the given classes.

    A model with one class more than the dataset has a background before them, as released weights
    do. Classes without names, which are the numbers from 0 on, match by their number.

    Args:
      config: the `data` part of a config; `background` is found here.
      labels: of the model.
      model: its name, for an error.
      task: of the model.

    Returns:
      The source; its labels are the model's, or the dataset's where the model's have no names.

    Raises:
      ValueError: the dataset has other classes.
    """
    config = config.copy_and_resolve_references()
    config.background = False
    source = open_source(config, task)
    comparable = _has_names(labels) and _has_names(source.labels)
    one_more = task == 'classification' and len(labels) == len(source.labels) + 1
    if one_more and (labels[0] == BACKGROUND or not comparable):
        source = with_background(source)
    if len(source.labels) != len(labels) or (comparable and source.labels != labels):
        raise ValueError(
            f'{source.name} has other classes than {model}: '
            f'{first_difference(source.labels, labels)}; give data of its classes, or the names '
            'that the data has for them by --labels'
        )
    chosen = labels if _has_names(labels) else source.labels
    return dataclasses.replace(source, labels=chosen)


def numbered(count: int) -> tuple[str, ...]:
    """The labels of classes without names."""
    return tuple(str(number) for number in range(count))


def first_difference(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    """Where two lists of classes part, in words: 'there' and 'here'."""
    counts = f'{len(theirs)} there, {len(ours)} here'
    for number, (there, here) in enumerate(zip(theirs, ours, strict=False)):
        if there != here:
            prefix = '' if len(theirs) == len(ours) else f'{counts}: '
            return f'{prefix}class {number} is {there!r} there, {here!r} here'
    return counts


def _has_names(labels: tuple[str, ...]) -> bool:
    rest = labels[1:] if labels[0] == BACKGROUND else labels
    return rest != numbered(len(rest))
