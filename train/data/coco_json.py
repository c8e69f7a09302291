"""COCO's annotations: one JSON file of boxes a split (cocodataset.org/#format-data)."""

import functools
import glob
import json
import os
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from train.data.box_splits import BoxFolder, open_all, open_one
from train.data.boxes import Annotated, Annotations, Box, check_corners
from train.data.labels import check_name
from train.data.source import Judged, Source

SPLITS = ('train', 'val', 'test')  # as the names of their files or folders begin
# Where the file of a split is; the first that is there counts.
FILES = (
    'annotations/instances_{}*.json',
    'annotations/{}*.json',
    '{}*/_annotations.coco.json',
    '{}*/annotations.json',
    'instances_{}*.json',
    '{}*.json',
)
EXPECTED = (
    'annotations/instances_train*.json and instances_val*.json, annotations/train*.json, '
    'train*.json, train/_annotations.coco.json or train/annotations.json and the same of val'
)
MOST_AREA = 2**40  # pixels; what is larger, or not a number, is none
PARTS = ('images', 'annotations', 'categories')

Record = dict[str, Any]  # one image, annotation or category, as it came


def open_coco_json(path: str, config: ConfigDict) -> Source:
    """Opens `path` in one of these layouts, X being train2017, val2017, test or the like.

    - annotations/instances_X.json, annotations/X.json or X.json beside the images in X/, images/X/
      or images/.
    - X/_annotations.coco.json among the images of X/, as Roboflow exports it, or annotations.json.

    An image is looked for by its file_name, also from `path`, and then by the end of that alone.

    Expected is an X that begins with train; one that begins with val or test is the evaluation
    split, and without both a fifth of train. The classes are those of the training file in the order
    of their ids, and after them the sorted names of those that only other files have boxes of.

    Raises:
      ValueError: a file is missing, is no such JSON or has no classes, or more than
        `config.max_bad_fraction` of the images or boxes are bad.
    """
    return open_all(_folder(path), config)


def open_coco_json_split(
    path: str, config: ConfigDict, split: str, labels: tuple[str, ...]
) -> Judged:
    """Opens one split of such a folder for a model with the classes `labels`.

    Raises:
      ValueError: there is no such split, it is bad, or has classes besides `labels`.
    """
    return open_one(_folder(path), config, split, labels)


def read_annotations(file: str, folders: Sequence[str]) -> Annotations:
    """What a file says of its images, which lie in one of `folders`; classes in the order of ids.

    Raises:
      ValueError: it is no such file, or none of its images is there.
    """
    images, records, categories = _read_parts(file)
    names = _read_categories(file, categories, records)
    boxes: dict[Any, list[Box]] = {image['id']: [] for image in images if _is_id(image.get('id'))}
    faults: dict[Any, list[str]] = {number: [] for number in boxes}
    strays = []
    for number, record in enumerate(records):
        told = f'{file}: annotation {_short(record.get("id", number))}'
        image = record.get('image_id')
        if not _is_id(image) or image not in boxes:
            strays.append(f'{told}: no image has the id {_short(image)}')
            continue
        try:
            boxes[image].append(_read_box(record, names, told))
        except ValueError as e:
            faults[image].append(str(e))
    annotated: dict[Any, Annotated] = {}
    files: set[str] = set()
    bad = []
    for number, image in enumerate(images):
        try:
            where = _locate(image, folders, annotated)
            if where in files:
                raise ValueError(f'another image has its file {where}')
        except ValueError as e:
            bad.append(f'{file}: image {_short(image.get("id", number))} ({e})')
            continue
        key = image['id']
        files.add(where)
        size = _read_size(image)
        annotated[key] = Annotated(where, tuple(boxes[key]), tuple(faults[key]), size)
    found = tuple(annotated.values())
    return Annotations(found, tuple(bad), tuple(strays), tuple(names.values()))


def _folder(path: str) -> BoxFolder:
    files = {split: file for split in SPLITS if (file := _find(path, split))}
    if not files:
        raise ValueError(f'{path} has no annotations of any split; expected {EXPECTED}')
    readers = {
        split: functools.partial(_read_split, path, split, file) for split, file in files.items()
    }
    return BoxFolder(f'cocojson:{path}', readers, EXPECTED)


def _find(path: str, split: str) -> str:
    """The annotation file of a split, or ''."""
    root = glob.escape(path)
    for pattern in FILES:
        files = sorted(filter(os.path.isfile, glob.glob(f'{root}/{pattern.format(split)}')))
        if len(files) > 1:
            raise ValueError(f'{path} has more than one {split} split: {", ".join(files)}')
        if files:
            return files[0]
    return ''


def _read_split(path: str, split: str, file: str) -> Annotations:
    """What the file of a split says, its images looked for in all folders where they may be."""
    name = os.path.splitext(os.path.basename(file))[0].removeprefix('instances_')
    if os.path.dirname(file) in (path, f'{path}/annotations'):
        folders = [f'{path}/{name}', f'{path}/images/{name}']
        root = glob.escape(path)
        folders += sorted(glob.glob(f'{root}/{split}*/') + glob.glob(f'{root}/images/{split}*/'))
        folders.append(f'{path}/images')
    else:
        folders = [os.path.dirname(file), f'{os.path.dirname(file)}/images']
    found = read_annotations(file, [*filter(os.path.isdir, folders), path])
    # Without any of the folders names may still tell the way from the dataset's own.
    if not any(map(os.path.isdir, folders)) and not any(
        os.path.isfile(image.image) for image in found.images
    ):
        raise ValueError(f'{file} has no folder of images; expected one of {", ".join(folders)}')
    return found


def _read_parts(file: str) -> list[list[Record]]:
    try:
        with open(file, encoding='utf-8') as opened:
            content = json.load(opened)
    except (ValueError, RecursionError) as e:
        raise ValueError(f'{file} is no JSON: {e}') from e
    parts: list[Any] = [content.get(p) if isinstance(content, dict) else None for p in PARTS]
    for part in parts:
        if not isinstance(part, list) or not all(isinstance(record, dict) for record in part):
            raise ValueError(f'{file} is no COCO file; expected lists of {", ".join(PARTS)}')
    return parts


def _read_categories(
    file: str, categories: list[Record], records: list[Record]
) -> dict[int | str, str]:
    """Names by id, in the order of ids."""
    names: dict[Any, str] = {}
    for category in categories:
        number, name = category.get('id'), category.get('name')
        if not _is_id(number) or not isinstance(name, str) or not name.strip():
            raise ValueError(f'{file}: a category is {_short(category)}; expected an id and a name')
        if number in names:
            raise ValueError(f'{file}: the category {_short(category)} comes twice')
        names[number] = name.strip()
    # Roboflow begins with a category that has no box and only gathers the others.
    used = {record.get('category_id') for record in records if _is_id(record.get('category_id'))}
    gathered: dict[str, set[Any]] = {}
    for category in categories:
        gathered.setdefault(str(category.get('supercategory')), set()).add(category['id'])
    names = {n: name for n, name in names.items() if n in used or gathered.get(name, {n}) == {n}}
    for number, name in names.items():
        try:
            check_name(name)
        except ValueError as e:
            raise ValueError(f'{file}: the category {_short(number)} has {e}') from None
        twins = [other for other, its in names.items() if its == name]
        if len(twins) > 1:
            raise ValueError(
                f'{file}: the category {name!r} comes twice, as {_short(twins[0])} and '
                f'{_short(twins[1])}; expected names that differ'
            )
    if not names:
        raise ValueError(f'{file} has no categories; expected at least one')
    return {
        number: names[number] for number in sorted(names, key=lambda n: (isinstance(n, str), n))
    }


def _read_box(record: Record, names: dict[int | str, str], told: str) -> Box:
    category, box = record.get('category_id'), record.get('bbox')
    label = names.get(category) if _is_id(category) else None  # type: ignore[arg-type]
    told = f'{told} ({_short(label or category)}, bbox {_short(box)})'
    if label is None:
        raise ValueError(f'{told}: unknown class; expected the id of a category')
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise ValueError(f'{told}: expected x, y, width and height')
    try:
        x, y, width, height = (float(value) for value in box)
        corners = (y, x, y + height, x + width)
        check_corners(*corners)
    except OverflowError:
        raise ValueError(f'{told}: not finite') from None
    except ValueError as e:
        raise ValueError(f'{told}: {e}') from None
    # Of the outline, by which COCO's figures tell small objects from large ones.
    area: Any = record.get('area')
    area = float(area) if _is_number(area) and 0 < area < MOST_AREA else 0.0
    return Box(told, label, corners, record.get('iscrowd') == 1, area)


def _locate(image: Record, folders: Sequence[str], others: dict[Any, Annotated]) -> str:
    """The file of an image."""
    number, name = image.get('id'), image.get('file_name')
    if not _is_id(number) or not isinstance(name, str) or not name:
        raise ValueError('expected an id and a file_name')
    if number in others:
        raise ValueError('another image has its id')
    # As it is given, and then without the folders of the computer on which it was written.
    short = name.replace('\\', '/').rpartition('/')[2]
    inside = [file for folder in folders if (file := _join(folder, name))]
    alone = [file for folder in folders if (file := _join(folder, short))]
    found = next(filter(os.path.isfile, [*inside, *alone]), None)
    if found is None and not inside:
        raise ValueError(f'its file_name {_short(name)} leaves the folder {folders[0]}')
    return found or inside[0]


def _join(folder: str, name: str) -> str:
    """A file in a folder, or '' where its name leads out of it."""
    folder = os.path.normpath(folder)
    file = os.path.normpath(os.path.join(folder, name))
    return file if file.startswith(folder + os.sep) else ''


def _read_size(image: Record) -> tuple[int, int]:
    """(height, width) by the annotation, (0, 0) where it says none."""
    height, width = image.get('height'), image.get('width')
    return (height, width) if isinstance(height, int) and isinstance(width, int) else (0, 0)


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f'{text[:60]}…'
