"""Folders of images and of index masks as a dataset."""

import concurrent.futures
import dataclasses
import os
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from train.data.exif import warn_of_turned
from train.data.faults import skip_or_stop
from train.data.images import IMAGE_ENDINGS, look_at, read_image
from train.data.mask_classes import class_numbers, match_numbers
from train.data.mask_file import BITS, HEADER_BYTES, class_tables, read_header
from train.data.mask_layouts import (
    MASK_ENDING,
    MASK_NAMES,
    Folders,
    expected_layouts,
    find_split,
    is_mask,
    match_masks,
    splits_there,
)
from train.data.source import Judged, Source, Split, listed_split

MOST_TOLD = 40  # classes in a line


@dataclasses.dataclass(frozen=True)
class _Pair:
    """An image and its mask: `header` begins the mask's file, `counts` [256] are pixels by number.

    `turned` is of the image (`train.data.images.Stored`).
    """

    image: str
    turned: bool
    mask: str
    header: bytes
    bits: int
    counts: np.ndarray


def open_mask_folder(path: str, config: ConfigDict) -> Source:
    """Opens `path` with images in {train,val}/ and their masks in {train,val}annot/.

    `mask_layouts.LAYOUTS` holds the other ways to lay them out. The mask of x.jpg is x.png: of the
    same size, grey or with a palette, whose numbers, not colours, are the classes (`class_numbers`).
    A test split is optional; without val it is the evaluation split.

    Every file is decoded once; bad ones are named, counted and left out. What share of the pixels each
    class has is told.

    Raises:
      ValueError: a folder is missing or empty, or more than `config.max_bad_fraction` of the images
        or masks are bad.
    """
    train, val = (find_split(path, name) for name in ('train', 'val'))
    test = find_split(path, 'test', needed=val is None)
    if val is None:
        val, test = test, None
    if train is None or val is None:
        there = splits_there(path)
        having = f'masks for {" and ".join(there)} alone' if there else 'no images with masks'
        raise ValueError(f'{path} has {having}, training needs train and val; {expected_layouts()}')
    folders = {'train': train, 'val': val, **({'test': test} if test else {})}
    read = {split: _read_split(where, split, config) for split, where in folders.items()}
    numbers = class_numbers(path, config, {pair.mask: pair.counts for pair in read['train'].good})
    _tell_shares(train.masks, read['train'].good, numbers, config.ignore_label)
    splits: dict[str, Split] = {
        split: _make_split(pairs, list(numbers.values()), split, config)
        for split, pairs in read.items()
    }
    return Source(f'folder:{path}', tuple(numbers), **splits)


def open_mask_split(path: str, config: ConfigDict, split: str, labels: tuple[str, ...]) -> Judged:
    """Opens a split alone, to evaluate a model on it.

    Args:
      path: as of `open_mask_folder`; other splits need not be there.
      config: the `data` part of a config, with the ignore_label of the model's training.
      split: 'train', 'val' or 'test'; where there is no val, test stands in for it.
      labels: the model's (`match_numbers`).

    Raises:
      ValueError: there is no such split, it has other classes, or too much of it is bad.
    """
    folders = find_split(path, split, needed=split != 'val' or 'test' not in splits_there(path))
    if folders is None and split == 'val':
        folders = find_split(path, 'test')
    if folders is None:
        there = splits_there(path)
        if there:
            raise ValueError(
                f'{path} has no {split} split; it has {", ".join(there)}: give --split={there[0]}'
            )
        raise ValueError(f'{path} has no images with masks; {expected_layouts()}')
    read = _read_split(folders, split, config)
    total = np.sum([pair.counts for pair in read.good], axis=0)
    labels, numbers = match_numbers(path, config, labels, total)
    found = {label: n for label, n in zip(labels, numbers, strict=True) if n is not None}
    _tell_shares(folders.masks, read.good, found, config.ignore_label)
    return Judged(f'folder:{path}', labels, _make_split(read, numbers, split, config))


@dataclasses.dataclass(frozen=True)
class _Read:
    """What can be read of a split, and why the rest cannot."""

    good: list[_Pair]
    bad: list[str]


def _read_split(folders: Folders, name: str, config: ConfigDict) -> _Read:
    """The images of a split with their masks.

    Raises:
      ValueError: there is none, or too many are bad.
    """
    # Names with a dot first are not photos: macOS leaves ._x.jpg beside x.jpg.
    names = [n for n in sorted(os.listdir(folders.images)) if n[0] != '.']
    images = [n for n in names if n.lower().endswith(IMAGE_ENDINGS)]
    if not images:
        raise ValueError(f'{folders.images} has no images ({", ".join(IMAGE_ENDINGS)})')
    masks = match_masks(images, [n for n in os.listdir(folders.masks) if n[0] != '.'])

    def read(image: str) -> _Pair | str:
        try:
            mask = _only(image, masks[image], folders.masks)
        except ValueError as e:
            return str(e)
        return _read_pair(f'{folders.images}/{image}', f'{folders.masks}/{mask}')

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pairs = list(pool.map(read, images))
    bad = [pair for pair in pairs if isinstance(pair, str)]
    # Before classes are counted: of bad masks alone there would be none, and nobody told why.
    skip_or_stop(bad, len(pairs), f'{name} images or masks are bad', config)
    good = [pair for pair in pairs if isinstance(pair, _Pair)]
    warn_of_turned([pair.image for pair in good if pair.turned], len(good), name)
    return _Read(good, bad)


def _only(image: str, masks: list[str], folder: str) -> str:
    """The one mask of an image."""
    if len(masks) == 1 and is_mask(masks[0]):
        return masks[0]
    stem = os.path.splitext(image)[0]
    expected, *others = (f'{name.format(stem)}{MASK_ENDING}' for name in MASK_NAMES)
    if not masks:
        raise ValueError(f'{folder}/{expected} (no such file, nor {" or ".join(others)})')
    if is_mask(masks[0]):
        raise ValueError(f'{folder}/{masks[0]} (beside {", ".join(masks[1:])}; expected one)')
    raise ValueError(f'{folder}/{masks[0]} (no PNG file by its name; expected {expected})')


def _read_pair(image: str, mask: str) -> _Pair | str:
    """An image and its mask, or what is wrong with one of them."""
    try:
        stored = look_at(image)
    except ValueError as e:
        return f'{image} ({e})'
    try:
        content, _ = read_image(mask)
        size, bits, header = read_header(content)
        if size != stored.size:
            height, width = stored.size
            mend = ', which its EXIF orientation turns: save it upright' if stored.turned else ''
            raise ValueError(f'of {size[1]}×{size[0]}, its image of {width}×{height}{mend}')
        values = tf.io.decode_png(header + content[HEADER_BYTES:], channels=1)
    except ValueError as e:
        return f'{mask} ({e})'
    # Spread over 0 to 255 where there are fewer than 8 bits.
    spread = np.bincount(values.numpy().reshape(-1), minlength=256)[:: 255 // (2**bits - 1)]
    return _Pair(image, stored.turned, mask, header, bits, np.pad(spread, (0, 256 - len(spread))))


def _tell_shares(folder: str, pairs: list[_Pair], numbers: dict[str, int], ignored: int) -> None:
    """Says on standard error which numbers have which share of the pixels."""
    counts = np.sum([pair.counts for pair in pairs], axis=0)
    total = counts.sum()
    told = [
        f'{number if name == str(number) else f"{number} {name}"}: {counts[number] / total:.1%}'
        for name, number in numbers.items()
        if number < len(counts) and counts[number]
    ]
    more = f', {len(told) - MOST_TOLD} more' if len(told) > MOST_TOLD else ''
    unseen = counts[ignored] / total if 0 <= ignored < len(counts) else 0
    print(
        f'note: pixels in {folder} of class {", ".join(told[:MOST_TOLD])}{more}; ignored '
        f'(config.data.ignore_label = {ignored}): {unseen:.1%}',
        file=sys.stderr,
    )


def _make_split(read: _Read, classes: Sequence[int | None], name: str, config: ConfigDict) -> Split:
    """Leaves out the masks with other numbers than those of the classes."""
    numbers = [number for number in classes if number is not None]
    allowed = {*numbers, config.ignore_label}
    expected = f'expected {_in_words(numbers)}, or {config.ignore_label} to ignore'
    good, strange = [], []
    for pair in read.good:
        others = [str(number) for number in np.flatnonzero(pair.counts) if number not in allowed]
        if others:
            some = ', '.join(others[:5]) + (', …' if len(others) > 5 else '')
            beyond = f'has the labels {some} beyond the {len(numbers)} classes'
            strange.append(f'{pair.mask} ({beyond}; {expected})')
        else:
            good.append(pair)
    if strange:  # with the others they may be too many
        total = len(read.good) + len(read.bad)
        skip_or_stop([*strange, *read.bad], total, f'{name} images or masks are bad', config)
    return _split(good, class_tables(classes))


def _in_words(numbers: list[int]) -> str:
    """Numbers in order: 0 to 10, or 0, 255."""
    first, last = min(numbers, default=0), max(numbers, default=0)
    if len(numbers) == last - first + 1:
        return f'{first} to {last}'
    return ', '.join(map(str, sorted(numbers)))


def _split(pairs: list[_Pair], tables: np.ndarray) -> Split:
    images, masks = np.array([p.image for p in pairs]), np.array([p.mask for p in pairs])
    # Tensors, since numpy would cut zeros off the ends of bytes.
    headers = tf.constant([pair.header for pair in pairs])
    bits = np.array([BITS.index(pair.bits) for pair in pairs])

    def read(index: tf.Tensor) -> dict[str, tf.Tensor]:
        mask = tf.io.read_file(tf.gather(masks, index))
        rest = tf.strings.substr(mask, HEADER_BYTES, -1)
        return {
            'image': tf.io.read_file(tf.gather(images, index)),
            'mask': tf.strings.join([tf.gather(headers, index), rest]),
            'mask_classes': tf.gather(tables, tf.gather(bits, index)),
        }

    return listed_split(len(pairs), read)
