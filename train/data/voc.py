"""Pascal VOC: an XML file of boxes beside each image (host.robots.ox.ac.uk/pascal/VOC)."""

import functools
import os
from collections.abc import Callable
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree
from ml_collections import ConfigDict

from train.data.box_splits import BoxFolder, open_all, open_one
from train.data.boxes import Annotated, Annotations, Box, check_corners
from train.data.labels import check_name, read_names
from train.data.source import Judged, Source
from train.data.voc_layout import EXPECTED, Entry, find_splits

SIDES = ('ymin', 'xmin', 'ymax', 'xmax')


def open_voc(path: str, config: ConfigDict) -> Source:
    """Opens `path` in one of the layouts of `train.data.voc_layout.find_splits`.

    A list holds a name a line, of an image and of its annotation; endings and flags behind it are
    passed over. The classes are those of labels.txt, a name a line, or else the sorted names in all
    annotations. The test split is optional; without val it is the evaluation split, and where there
    is train alone, a fifth of it.

    Corners count pixels from 1 and belong to the box, as VOC's development kit has it: xmin = 1 and
    xmax = the width of the image span it all. They are scaled where the annotation's size is that
    of a smaller or larger image; its file name is not used.

    `difficult` objects are neither targets nor mistakes.

    Departs from paper: evaluation takes them as COCO takes crowds. A detection is excused by the
    share of it that lies in a difficult object, not by the overlap (IoU) that VOC's kit asks for,
    and any number of detections by one object.

    Raises:
      ValueError: a folder or list is missing or empty, or more than `config.max_bad_fraction` of
        the images or boxes are bad.
    """
    return open_all(_folder(path), config)


def open_voc_split(path: str, config: ConfigDict, split: str, labels: tuple[str, ...]) -> Judged:
    """Opens one split of such a folder for a model with the classes `labels`.

    Raises:
      ValueError: there is no such split, it is bad, or has classes besides `labels`.
    """
    return open_one(_folder(path), config, split, labels)


def read_objects(file: str) -> tuple[tuple[int, int], list[Box], list[str]]:
    """Reads an annotation: (height, width) as it says, boxes, and what is wrong with others.

    Raises:
      ValueError: why it cannot be read, in a few words.
    """
    try:
        if not os.path.getsize(file):
            raise ValueError('empty file')
        root = defusedxml.ElementTree.parse(file).getroot()
    except defusedxml.DefusedXmlException as e:
        raise ValueError(f'declares entities, which nothing good needs: {type(e).__name__}') from e
    except (ParseError, LookupError, UnicodeError) as e:
        raise ValueError(f'no XML: {e}') from e
    except FileNotFoundError:
        raise ValueError('no such file') from None
    except OSError as e:
        raise ValueError(e.strerror) from e
    if root is None or root.tag != 'annotation':
        raise ValueError(f'holds {root if root is None else root.tag[:40]!r}; expected annotation')
    boxes, faults = [], []
    for number, element in enumerate(root.iterfind('object'), start=1):
        try:
            boxes.append(_read_object(element, f'{file}: object {number}'))
        except ValueError as e:
            faults.append(str(e))
    return _read_size(root), boxes, faults


def _folder(path: str) -> BoxFolder:
    splits = find_splits(path)
    readers = {split: functools.partial(_read, entries) for split, entries in splits.items()}
    return BoxFolder(f'voc:{path}', readers, EXPECTED, read_names(path))


def _read(entries: Callable[[], list[Entry]]) -> Annotations:
    """The images of a split with their boxes."""
    annotated, faults = [], []
    for entry in entries():
        try:
            if entry.fault:
                raise ValueError(entry.fault)
            size, boxes, bad = read_objects(entry.annotation)
        except ValueError as e:
            faults.append(f'{entry.annotation} ({e})')
            continue
        annotated.append(Annotated(entry.image, tuple(boxes), tuple(bad), size))
    return Annotations(tuple(annotated), tuple(faults))


def _read_object(element: Element, where: str) -> Box:
    label = (element.findtext('name') or '').strip()
    numbers = [(element.findtext(f'bndbox/{side}') or '').strip() for side in SIDES]
    written = ', '.join(f'{side} {n[:20]}' for side, n in zip(SIDES, numbers, strict=True))
    try:
        check_name(label)
    except ValueError as e:
        raise ValueError(f'{where} ({label[:40]!r}, {written}): {e} in <name>') from None
    told = f'{where} ({label}, {written})'
    try:
        ymin, xmin, ymax, xmax = (float(number) for number in numbers)
    except ValueError:
        raise ValueError(f'{told}: expected a <bndbox> of four numbers') from None
    try:
        # A box from a pixel to the same pixel would hold it, but tools write such ones for a click.
        check_corners(ymin, xmin, ymax, xmax)
    except ValueError as e:
        raise ValueError(f'{told}: {e}') from None
    difficult = (element.findtext('difficult') or '').strip() == '1'
    return Box(told, label, (ymin - 1, xmin - 1, ymax, xmax), difficult)


def _read_size(root: Element) -> tuple[int, int]:
    """(height, width) by the annotation, (0, 0) where it says none."""
    try:
        height, width = (int(root.findtext(f'size/{side}') or 0) for side in ('height', 'width'))
    except ValueError:
        return 0, 0
    return height, width
