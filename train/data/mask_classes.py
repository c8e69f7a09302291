"""Which numbers of index masks are classes, and what these are called."""

from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from train.data.faults import name_some, warn
from train.data.labels import read_names
from train.data.mask_file import IGNORED

NAME_FILES = ('labels.txt', 'classes.txt', 'codes.txt')
BLACK_AND_WHITE = {0, 255}
MOST_UNCOUNTED = 64  # numbers; beyond, they may be greys between those of classes
# Names that often stand for pixels that are nothing.
NOTHING = {'unlabelled', 'unlabeled', 'void', 'ignore', 'ignored', 'background', 'unknown'}


def class_numbers(
    path: str, config: ConfigDict, counts: Mapping[str, np.ndarray]
) -> dict[str, int]:
    """The names of the classes of masks, and their numbers there.

    They are named by one of NAME_FILES in `path`, a line each from number 0 on, or counted by
    `config.num_classes`, or are the numbers in the training masks: all up to the largest or, where
    most of those are in no mask (0 and 255 of black and white), the ones that are. Two classes of
    masks in black and white are the numbers 0 and 255. `config.ignore_label` is no class.

    Args:
      path: of the dataset.
      config: the `data` part of a config.
      counts: of each training mask the pixels by number, [256].

    Raises:
      ValueError: masks hold fewer than two, there are more than a mask of bytes can hold or, without
        names or a count, than MOST_UNCOUNTED, or there are two counts of them.
    """
    ignored, (file, names) = config.ignore_label, _names(path)
    if names and config.num_classes not in (0, len(names)):
        raise ValueError(
            f'{path}/{file} names {len(names)} classes, config.data.num_classes is '
            f'{config.num_classes}; expected one of them'
        )
    total = np.sum([*counts.values()], axis=0)
    occurring = {int(number) for number in np.flatnonzero(total)} - {ignored}
    count = len(names) or config.num_classes
    if not count and len(occurring) > MOST_UNCOUNTED:
        raise ValueError(
            f'{path}: the training masks hold {len(occurring)} numbers, as smoothed masks do; expected '
            f'at most {MOST_UNCOUNTED} where nothing names or counts the classes: resize masks by '
            f'nearest, or give {NAME_FILES[0]} or --config.data.num_classes'
        )
    listed = _in_order(count, occurring, ignored) if count else _numbers(occurring)
    named = zip(names or map(str, listed), listed, strict=True)
    numbers = {name: number for name, number in named if number != ignored}
    _check(path, numbers, total, ignored)
    if not count:
        _warn_of_gaps(path, numbers, occurring, ignored, counts)
    elif absent := [name for name, number in numbers.items() if number not in occurring]:
        warn(f'{path}: no training mask holds {name_some(absent)}, which count as classes')
    _warn_of_nothing(path, file, numbers)
    return numbers


def match_numbers(
    path: str, config: ConfigDict, labels: tuple[str, ...], total: np.ndarray
) -> tuple[tuple[str, ...], list[int | None]]:
    """A model's classes in masks that it is evaluated on.

    They are found by their names among those in `path`; where one of the two has no names, by
    their numbers: the model's, or those from 0 on without `config.ignore_label`, as in training; of
    two classes in black and white, 0 and 255.

    Args:
      path: of the dataset.
      config: the `data` part of a config.
      labels: of the model.
      total: pixels by number, [256].

    Returns:
      The labels, those of `path` where the model has none; and the number of each, None where `path`
      has no class of its name.

    Raises:
      ValueError: masks hold a class of `path` that the model lacks, or the numbers are more or fewer.
    """
    file, names = _names(path)
    ignored = config.ignore_label
    occurring = {int(number) for number in np.flatnonzero(total)} - {ignored}
    places = dict(zip(names, _in_order(len(names), occurring, ignored), strict=True))
    places = {name: number for name, number in places.items() if number != ignored}
    if all(label.isdecimal() for label in labels) and not {*labels} & {*names}:
        numbers: list[int | None] = [int(label) for label in labels]
        theirs = tuple(places)
        if theirs and len(theirs) != len(labels):
            raise ValueError(
                f'{path}/{file} names {len(theirs)} classes besides config.data.ignore_label = '
                f'{ignored}, the model has {len(labels)}'
            )
        return theirs if numbers == list(places.values()) else labels, numbers
    if not names:
        count = len(labels) + (0 <= ignored < len(labels))
        return labels, [n for n in _in_order(count, occurring, ignored) if n != ignored]
    unknown = [name for name, n in places.items() if n in occurring and name not in labels]
    if unknown:
        raise ValueError(
            f'{path} has masks of {name_some(unknown)} ({file}), the model has the classes '
            f'{name_some(labels)}; give the names that the data has for them, in the order of the '
            'model, by --labels=FILE'
        )
    return labels, [places.get(label) for label in labels]


def _names(path: str) -> tuple[str, tuple[str, ...]]:
    """The file with the names of the classes, and the names; '' and () without one."""
    read = {file: read_names(path, file) for file in NAME_FILES}
    read = {file: names for file, names in read.items() if names}
    if len(set(read.values())) > 1:
        raise ValueError(
            f'{path}: {" and ".join(read)} name different classes; expected one of them, move the '
            'others away'
        )
    return next(iter(read.items()), ('', ()))


def _in_order(count: int, occurring: set[int], ignored: int) -> Sequence[int]:
    """The numbers of so many classes: from 0 on or, of two in black and white, 0 and 255."""
    white = {255} <= occurring <= BLACK_AND_WHITE
    if count == len(BLACK_AND_WHITE) and white and ignored not in BLACK_AND_WHITE:
        return sorted(BLACK_AND_WHITE)
    return range(count)


def _numbers(occurring: set[int]) -> list[int]:
    """All numbers up to the largest one, or those that occur where these are the fewer."""
    below = max(occurring, default=-1) + 1
    # A class that few images have may be in none of training: it stays one for those to evaluate.
    return list(range(below)) if 2 * len(occurring) >= below else sorted(occurring)


def _check(path: str, numbers: dict[str, int], total: np.ndarray, ignored: int) -> None:
    if len(numbers) > IGNORED:
        raise ValueError(f'{path} has {len(numbers)} classes; expected at most {IGNORED}')
    held = len({*np.flatnonzero(total)} & {*numbers.values()})
    if held >= 2:
        return
    found = ', '.join(map(str, np.flatnonzero(total)))
    message = (
        f'{path}: the training masks hold {held} classes besides config.data.ignore_label = '
        f'{ignored}; expected at least 2. The numbers of their pixels are {found}'
    )
    if 0 <= ignored < len(total) and total[ignored]:
        message += f'; if {ignored} is a class, as white is, give --config.data.ignore_label=-1'
    raise ValueError(message)


def _warn_of_gaps(
    path: str,
    numbers: Mapping[str, int],
    occurring: set[int],
    ignored: int,
    counts: Mapping[str, np.ndarray],
) -> None:
    """Tells of numbers in no mask below one that is in some: that one may be a mistake."""
    if occurring == BLACK_AND_WHITE:
        return
    largest = max(occurring)
    unused = [n for n in range(largest) if n not in occurring and n != ignored]
    if not unused:
        return
    are = 'count as classes' if unused[0] in numbers.values() else 'are no classes'
    file = next(file for file, pixels in counts.items() if pixels[largest])
    warn(
        f'{path}: no training mask holds {name_some([*map(str, unused)])}, which {are}; the largest '
        f'number, {largest}, is in {file}: mend it if that is a mistake, or give the number of classes '
        'by --config.data.num_classes'
    )


def _warn_of_nothing(path: str, file: str, numbers: dict[str, int]) -> None:
    for name, number in numbers.items():
        if name.lower() in NOTHING:
            warn(
                f'{path}/{file} names class {number} {name!r}, which is learned as any other; if its '
                f'pixels shall not count, give --config.data.ignore_label={number}'
            )
