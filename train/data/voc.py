"""Pascal VOC: an XML file of boxes beside each image (host.robots.ox.ac.uk/pascal/VOC)."""

import os
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree
from ml_collections import ConfigDict

from train.data.boxes import Annotated, Annotations, Box, check_corners, make_split
from train.data.images import IMAGE_ENDINGS
from train.data.labels import read_names
from train.data.source import Source, Split

VAL_NAMES = ('val', 'validation', 'valid', 'test')
SIDES = ('ymin', 'xmin', 'ymax', 'xmax')


def open_voc(path: str, config: ConfigDict) -> Source:
    """Opens `path` with JPEGImages/, Annotations/ and ImageSets/Main/{train,val,test}.txt.

    A list holds a name a line, of an image without its ending and of its annotation. The classes
    are those of labels.txt, a name a line, or else the sorted names in the training annotations.
    The test split is optional; without val.txt it is the evaluation split.

    Corners count pixels from 1 and belong to the box, as VOC's development kit has it: xmin = 1 and
    xmax = the width of the image span it all. `difficult` objects are neither targets nor mistakes.
    The annotation's own file name and size are not used: the image says them.

    Raises:
      ValueError: a folder or list is missing or empty, or more than `config.max_bad_fraction` of
        the images or boxes are bad.
    """
    lists = f'{path}/ImageSets/Main'
    val_name = next((name for name in VAL_NAMES if os.path.isfile(f'{lists}/{name}.txt')), None)
    folders = all(os.path.isdir(f'{path}/{name}') for name in ('JPEGImages', 'Annotations'))
    if not folders or not os.path.isfile(f'{lists}/train.txt') or val_name is None:
        raise ValueError(
            f'{path} is no VOC folder; expected JPEGImages/, Annotations/, ImageSets/Main/train.txt '
            'and ImageSets/Main/val.txt or test.txt'
        )
    names = {'train': 'train', 'val': val_name}
    if val_name != 'test' and os.path.isfile(f'{lists}/test.txt'):
        names['test'] = 'test'
    images = _image_files(f'{path}/JPEGImages')
    read = {split: _read_split(path, name, images) for split, name in names.items()}
    labels = read_names(path) or read['train'].labels()
    splits: dict[str, Split] = {
        split: make_split(found, labels, split, config) for split, found in read.items()
    }
    return Source(f'voc:{path}', labels, **splits)


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


def _read_split(path: str, name: str, images: dict[str, str]) -> Annotations:
    """The images of a list with their boxes."""
    annotated, faults = [], []
    for stem in _read_list(f'{path}/ImageSets/Main/{name}.txt'):
        try:
            if stem not in images:
                raise ValueError(f'JPEGImages/ has no image of that name ({name}.txt lists it)')
            size, boxes, bad = read_objects(f'{path}/Annotations/{stem}.xml')
        except ValueError as e:
            faults.append(f'{path}/Annotations/{stem}.xml ({e})')
            continue
        annotated.append(Annotated(images[stem], tuple(boxes), tuple(bad), size))
    return Annotations(tuple(annotated), tuple(faults))


def _image_files(folder: str) -> dict[str, str]:
    """The images of a folder by their names without ending."""
    # A list that is looked up holds no path, so that no name in it can leave the folder.
    found = {}
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        if ending.lower() in IMAGE_ENDINGS:
            found[stem] = os.path.join(folder, name)
    return found


def _read_list(file: str) -> list[str]:
    with open(file, encoding='utf-8', errors='replace') as lines:
        stems = [line.strip() for line in lines if line.strip()]
    if not stems:
        raise ValueError(f'{file} lists no images')
    return stems


def _read_object(element: Element, where: str) -> Box:
    label = (element.findtext('name') or '').strip()
    numbers = [(element.findtext(f'bndbox/{side}') or '').strip() for side in SIDES]
    written = ', '.join(f'{side} {n[:20]}' for side, n in zip(SIDES, numbers, strict=True))
    told = f'{where} ({label[:40] or "no name"}, {written})'
    if not label:
        raise ValueError(f'{told}: no <name>')
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
