"""Datasets of boxes in files, whatever their format: which split stands in, and their classes."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from train.data.boxes import Annotated, Annotations, make_split
from train.data.faults import name_some, warn
from train.data.labels import has_names
from train.data.source import Judged, Source, Split

HELD_OUT = 5  # one image of so many is for evaluation where files do not say which


@dataclasses.dataclass(frozen=True)
class BoxFolder:
    """A dataset before its files are read.

    Attributes:
      name: 'voc:PATH' or the like.
      readers: read what the files say of 'train', 'val' and 'test', as far as these are there.
      expected: where a split is looked for, in words.
      labels: names of classes beside the data, () where there are none.
    """

    name: str
    readers: Mapping[str, Callable[[], Annotations]]
    expected: str
    labels: tuple[str, ...] = ()


def open_all(folder: BoxFolder, config: ConfigDict) -> Source:
    """Opens it for training; the test split stands in for a missing val, and else a part of train.

    Beside val a test split without boxes is left out.

    The classes are those beside the data; or else those that the training file declares, in its
    order, and after them the sorted names of all others that boxes of any split have.

    Raises:
      ValueError: there is no training split, or its files are bad.
    """
    if 'train' not in folder.readers:
        raise ValueError(
            f'{folder.name} has no train split, only {" and ".join(folder.readers)}; expected '
            f'{folder.expected}. What is only to be evaluated is given to train.evaluate'
        )
    read = {split: reader() for split, reader in folder.readers.items()}
    if 'val' in read and 'test' in read and not read['test'].labels():
        # Benchmarks keep the boxes of their test images to themselves.
        warn(f'{folder.name}: no box of the test split can be read; it is left out')
        del read['test']
    if 'val' not in read:
        if 'test' in read:
            read['val'] = read.pop('test')
        else:
            read['train'], read['val'] = hold_out(read['train'], folder)
    _warn_of_shared(read, folder.name)
    labels = folder.labels or _union(read)
    _warn_of_absent(read['train'], labels, folder.name)
    splits: dict[str, Split] = {
        split: make_split(found, labels, split, config) for split, found in read.items()
    }
    return Source(folder.name, labels, **splits)


def open_one(folder: BoxFolder, config: ConfigDict, split: str, labels: tuple[str, ...]) -> Judged:
    """Opens one split for a model with the classes `labels`; those of its boxes are found by name.

    Raises:
      ValueError: there is no such split, its files are bad, or boxes have classes besides.
    """
    readers = folder.readers
    if split in readers and (split != 'train' or len(readers) > 1):
        found = readers[split]()
    elif split == 'val' and 'test' in readers:
        found = readers['test']()
    elif split != 'test' and set(readers) == {'train'}:
        train, val = hold_out(readers['train'](), folder)
        found = train if split == 'train' else val
    else:
        raise ValueError(
            f'{folder.name} has no {split} split; expected {folder.expected}, or one that it has: '
            f'{" or ".join(f"--split={name}" for name in readers)}'
        )
    chosen = _match(found, folder, labels)
    return Judged(folder.name, chosen, make_split(found, chosen, split, config))


def hold_out(found: Annotations, folder: BoxFolder) -> tuple[Annotations, Annotations]:
    """Training images and, in the place of a missing split, some of them for evaluation.

    They are the same each time: the names of the files choose, not their order or number.

    Raises:
      ValueError: there are fewer than two images.
    """
    if len(found.images) < 2:
        raise ValueError(
            f'{folder.name} has {len(found.images)} annotated images; expected at least 2, one to '
            'train on and one to evaluate'
        )
    held = sorted(found.images, key=_digest)[: max(1, round(len(found.images) / HELD_OUT))]
    names = {image.image for image in held}
    kept = tuple(image for image in found.images if image.image not in names)
    warn(
        f'{folder.name} names no split for evaluation: of its {len(found.images)} annotated images '
        f'{len(kept)} are train and {len(held)} val, the same each time by a hash of their names; '
        f'to choose them yourself give {folder.expected}'
    )
    val = tuple(image for image in found.images if image.image in names)
    return dataclasses.replace(found, images=kept), Annotations(val, classes=found.classes)


def make_room(config: ConfigDict, *splits: Split | None) -> None:
    """Raises `config.max_boxes` to the most boxes that an image of the splits has.

    Args:
      config: the `data` part of a config, which is changed.
      *splits: those that are read, or None.
    """
    most = max((split.most_boxes for split in splits if split), default=0)
    if most > config.max_boxes:
        warn(
            f'an image has {most} boxes: config.data.max_boxes is raised to that from '
            f'{config.max_boxes}'
        )
        config.max_boxes = most


def _digest(image: Annotated) -> tuple[bytes, str]:
    name = os.path.basename(image.image).encode(errors='surrogateescape')
    return hashlib.sha256(name).digest(), image.image


def _union(read: Mapping[str, Annotations]) -> tuple[str, ...]:
    """The classes that the training files declare, and after them the names of others, sorted."""
    declared = read['train'].classes
    named = {label for found in read.values() for label in found.labels()}
    return (*declared, *sorted(named - set(declared)))


def _match(found: Annotations, folder: BoxFolder, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The classes by which the boxes are numbered, the model's if possible."""
    theirs = found.labels()
    unknown = [name for name in theirs if name not in labels]
    if not unknown:
        return labels
    if not has_names(labels):
        return folder.labels or found.classes or theirs
    raise ValueError(
        f'{folder.name} has boxes of classes that the model does not know: {name_some(unknown)}; it '
        f'knows {name_some(labels)}. Remove those boxes, or give the names that the data has for '
        "the model's classes, in their order, by --labels"
    )


def _warn_of_shared(read: Mapping[str, Annotations], name: str) -> None:
    train = {image.image for image in read['train'].images}
    for split, found in read.items():
        shared = [image.image for image in found.images if image.image in train]
        if split != 'train' and shared:
            warn(
                f'{name}: {len(shared)} images of {split} are in train too, {shared[0]} for one; '
                'what they say of the model is too good'
            )


def _warn_of_absent(train: Annotations, labels: tuple[str, ...], name: str) -> None:
    """Of classes that cannot be learnt."""
    present = set(train.labels())
    absent = [label for label in labels if label not in present]
    if absent:
        warn(
            f'{name}: no training image has a box of {name_some(absent)}, which count as '
            f'class{"es" if len(absent) > 1 else ""} all the same'
        )
