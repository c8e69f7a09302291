"""Folders of images and of index masks as a dataset."""

import concurrent.futures
import dataclasses
import os

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from train.data.faults import name_some, skip_or_stop, warn
from train.data.images import IMAGE_ENDINGS, read_image, read_size
from train.data.labels import read_names
from train.data.mask_file import BITS, HEADER_BYTES, class_tables, read_header
from train.data.source import Source, Split, listed_split

VAL_NAMES = ('val', 'validation', 'valid', 'test')
ANNOTATED = 'annot'  # what the name of a split's folder of masks ends with


@dataclasses.dataclass(frozen=True)
class _Pair:
    """An image and its mask: `header` begins the mask's file, `numbers` are those that occur."""

    image: str
    mask: str
    header: bytes
    bits: int
    numbers: np.ndarray


def open_mask_folder(path: str, config: ConfigDict) -> Source:
    """Opens `path` with images in {train,val}/ and their masks in {train,val}annot/.

    The mask of x.jpg is x.png: of the same size, grey or with a palette, whose numbers, not colours,
    are the classes. They are named by labels.txt in `path`, a line each from number 0 on, or counted
    by `config.num_classes`, or by the largest number in the training masks. `config.ignore_label`
    is no class. A test/ with testannot/ is optional; without val/ it is the evaluation split.

    Every file is decoded once; bad ones are named, counted and left out.

    Raises:
      ValueError: a folder is missing or empty, or more than `config.max_bad_fraction` of the images
        or masks are bad.
    """
    val_name = next((name for name in VAL_NAMES if os.path.isdir(f'{path}/{name}')), None)
    if not os.path.isdir(f'{path}/train') or val_name is None:
        raise ValueError(
            f'{path} has no train/ and val/; segmentation expects images in train/ and val/ and '
            f'their masks in train{ANNOTATED}/ and val{ANNOTATED}/'
        )
    names = {'train': 'train', 'val': val_name}
    if val_name != 'test' and os.path.isdir(f'{path}/test{ANNOTATED}'):
        names['test'] = 'test'
    read = {split: _read_split(path, name) for split, name in names.items()}
    numbers = _class_numbers(path, config, [x for x in read['train'] if isinstance(x, _Pair)])
    splits: dict[str, Split] = {
        split: _make_split(pairs, list(numbers.values()), split, config)
        for split, pairs in read.items()
    }
    return Source(f'folder:{path}', tuple(numbers), **splits)


def _read_split(path: str, name: str) -> list[_Pair | str]:
    """The images of a folder with their masks, or why they are bad."""
    folder, annotated = f'{path}/{name}', f'{path}/{name}{ANNOTATED}'
    if not os.path.isdir(annotated):
        raise ValueError(f'{annotated} is missing; expected the masks of {folder}')
    # Names with a dot first are not photos: macOS leaves ._x.jpg beside x.jpg.
    names = [n for n in sorted(os.listdir(folder)) if n[0] != '.']
    images = [n for n in names if n.lower().endswith(IMAGE_ENDINGS)]
    if not images:
        raise ValueError(f'{folder} has no images ({", ".join(IMAGE_ENDINGS)})')

    def read(image: str) -> _Pair | str:
        mask = f'{annotated}/{os.path.splitext(image)[0]}.png'
        return _read_pair(f'{folder}/{image}', mask)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, images))


def _read_pair(image: str, mask: str) -> _Pair | str:
    """An image and its mask, or what is wrong with one of them."""
    try:
        height, width = read_size(image)
    except ValueError as e:
        return f'{image} ({e})'
    try:
        content, _ = read_image(mask)
        size, bits, header = read_header(content)
        if size != (height, width):
            raise ValueError(f'of {size[1]}×{size[0]}, its image of {width}×{height}')
        # Spread over 0 to 255 where there are fewer than 8 bits.
        values = tf.io.decode_png(header + content[HEADER_BYTES:], channels=1)
        numbers = np.unique(values) // (255 // (2**bits - 1))
    except ValueError as e:
        return f'{mask} ({e})'
    return _Pair(image, mask, header, bits, numbers)


def _class_numbers(path: str, config: ConfigDict, train: list[_Pair]) -> dict[str, int]:
    """The names of classes and their numbers in masks."""
    names, ignored = read_names(path), config.ignore_label
    if names and config.num_classes not in (0, len(names)):
        raise ValueError(
            f'{path}/labels.txt names {len(names)} classes, config.data.num_classes is '
            f'{config.num_classes}; expected one of them'
        )
    occurring = {int(number) for pair in train for number in pair.numbers} - {ignored}
    count = config.num_classes or max(occurring, default=-1) + 1
    named = names or tuple(str(number) for number in range(count))
    numbers = {name: number for number, name in enumerate(named) if number != ignored}
    if len(numbers) < 2:
        raise ValueError(
            f'{path}: the training masks hold {len(numbers)} classes besides config.data.ignore_label '
            f'= {ignored}; expected at least 2'
        )
    absent = [name for name, number in numbers.items() if number not in occurring]
    if absent:
        warn(f'{path}: no training mask holds {name_some(absent)}, which count as classes')
    return numbers


def _make_split(
    pairs: list[_Pair | str], numbers: list[int], name: str, config: ConfigDict
) -> Split:
    allowed = {*numbers, config.ignore_label}
    good: list[_Pair] = []
    bad = []
    for pair in pairs:
        strange = [] if isinstance(pair, str) else sorted(set(pair.numbers.tolist()) - allowed)
        if isinstance(pair, str):
            bad.append(pair)
        elif strange:
            bad.append(
                f'{pair.mask} (has the labels {", ".join(map(str, strange[:5]))}'
                f'{", …" if len(strange) > 5 else ""} beyond the {len(numbers)} classes; expected 0 '
                f'to {max(numbers, default=0)}, or {config.ignore_label} to ignore)'
            )
        else:
            good.append(pair)
    skip_or_stop(bad, len(pairs), f'{name} images or masks are bad', config)
    return _split(good, class_tables(numbers))


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
