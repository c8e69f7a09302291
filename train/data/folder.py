"""Folders of images as a dataset."""

import concurrent.futures
import dataclasses
import hashlib
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from train.data.faults import skip_or_stop
from train.data.images import IMAGE_ENDINGS, read_image
from train.data.labels import read_lines
from train.data.source import Source, Split, listed_split

VAL_NAMES = ('val', 'validation', 'test')

Listing = list[tuple[str, int]]  # file and label


def open_folder(path: str, config: ConfigDict) -> Source:
    """Opens `path` in one of two layouts.

    - `{train,val}/<class>/*.jpg`: the sorted class folders are the labels.
    - flat `{train,val}/` with `train.txt` and `val.txt` beside them: lines of file and label;
      `labels.txt`, a name a line, is optional.

    Every image is decoded once, to find those that cannot be: they are named, counted and left out.

    Raises:
      ValueError: a split is missing or empty, a class folder is empty, a list is malformed, or more
        than `config.max_bad_fraction` of the images are bad.
    """
    val_name = next((name for name in VAL_NAMES if os.path.isdir(f'{path}/{name}')), None)
    if not os.path.isdir(f'{path}/train') or val_name is None:
        raise ValueError(
            f'{path} has no train/ and val/; expected train/<class>/*.jpg and val/<class>/*.jpg, '
            'or flat train/ and val/ with train.txt and val.txt (file and label a line)'
        )
    if os.path.isfile(f'{path}/train.txt'):
        train, val = (_read_list(path, name) for name in ('train', val_name))
        labels = _list_labels(path, train + val)
    else:
        labels = _class_folders(f'{path}/train')
        train, val = (_list_classes(f'{path}/{name}', labels) for name in ('train', val_name))
    splits = [
        _split(path, _readable(files, name, config))
        for name, files in (('train', train), ('val', val))
    ]
    return Source(f'folder:{path}', tuple(labels), *splits)


def _class_folders(path: str) -> list[str]:
    labels = sorted(e.name for e in os.scandir(path) if e.is_dir() and e.name[0] != '.')
    if len(labels) < 2:
        raise ValueError(f'{path} has {len(labels)} class folders; expected at least 2')
    return labels


def _list_classes(path: str, labels: Sequence[str]) -> Listing:
    unknown = set(_class_folders(path)) - set(labels)
    if unknown:
        raise ValueError(f'{path} has classes that train/ lacks: {", ".join(sorted(unknown))}')
    files: Listing = []
    for i, label in enumerate(labels):
        folder = os.path.join(path, label)
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        # Names with a dot first are not photos: macOS leaves ._x.jpg beside x.jpg.
        images = [n for n in names if n.lower().endswith(IMAGE_ENDINGS) and n[0] != '.']
        if not images:
            raise ValueError(
                f'class folder {folder} has no images ({", ".join(IMAGE_ENDINGS)}); add some or '
                'remove the class'
            )
        files += [(os.path.join(folder, name), i) for name in images]
    return files


def _read_list(path: str, split: str) -> Listing:
    list_path = f'{path}/{split}.txt'
    if not os.path.isfile(list_path):
        raise ValueError(f'{list_path} is missing; train.txt is there, so both lists are expected')
    files: Listing = []
    with open(list_path, encoding='utf-8-sig') as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            name, _, label = line.strip().rpartition(' ')
            image = os.path.normpath(os.path.join(path, split, name))
            if not name or not label.isdecimal():
                raise ValueError(f'{list_path}:{number}: expected "file label", came {line!r}')
            if not image.startswith(os.path.normpath(f'{path}/{split}') + os.sep):
                raise ValueError(f'{list_path}:{number}: {name!r} leaves the folder {split}/')
            files.append((image, int(label)))
    if not files:
        raise ValueError(f'{list_path} lists no images')
    return files


def _list_labels(path: str, files: Listing) -> list[str]:
    num_classes = max(label for _, label in files) + 1
    if not os.path.isfile(f'{path}/labels.txt'):
        return [str(i) for i in range(num_classes)]
    labels = list(read_lines(f'{path}/labels.txt'))  # as they are: ImageNet has two cranes
    if len(labels) < num_classes:
        raise ValueError(
            f'{path}/labels.txt names {len(labels)} classes, the lists use {num_classes}'
        )
    return labels


def _readable(files: Listing, split: str, config: ConfigDict) -> Listing:
    """Leaves out the images that cannot be decoded, and says which."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = list(pool.map(_fault, (file for file, _ in files)))
    bad = [f'{file} ({fault})' for (file, _), fault in zip(files, faults, strict=True) if fault]
    skip_or_stop(bad, len(files), f'{split} images cannot be decoded', config)
    return [pair for pair, fault in zip(files, faults, strict=True) if not fault]


def _fault(file: str) -> str | None:
    """Why the pipeline could not decode a file, or None."""
    try:
        read_image(file)
    except ValueError as e:
        return str(e)
    return None


def _split(root: str, files: Listing) -> Split:
    paths = np.array([file for file, _ in files])
    labels = np.array([label for _, label in files], np.int64)

    def read(index: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            'image': tf.io.read_file(tf.gather(paths, index)),
            'label': tf.gather(labels, index),
        }

    names = '\n'.join(f'{os.path.relpath(file, root)} {label}' for file, label in files)
    listing = hashlib.sha256(names.encode(errors='surrogateescape')).hexdigest()
    return dataclasses.replace(listed_split(len(files), read), listing=listing)
