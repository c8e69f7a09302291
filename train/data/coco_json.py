"""COCO's annotations: one JSON file of boxes a split (cocodataset.org/#format-data)."""

import glob
import json
import os
from typing import Any

from ml_collections import ConfigDict

from train.data.boxes import Annotated, Annotations, Box, check_corners, make_split
from train.data.source import Source, Split

SPLITS = ('train', 'val', 'test')  # as the names of their folders begin
ROBOFLOW = '_annotations.coco.json'
MOST_AREA = 2**40  # pixels; what is larger, or not a number, is none
PARTS = ('images', 'annotations', 'categories')

Record = dict[str, Any]  # one image, annotation or category, as it came


def open_coco_json(path: str, config: ConfigDict) -> Source:
    """Opens `path` in one of two layouts, X being train2017, val2017, test or the like.

    - annotations/instances_X.json beside the images in X/, images/X/ or images/.
    - X/_annotations.coco.json among the images of X/, as Roboflow exports it.

    Expected is one X that begins with train and one that begins with val; one that begins with test
    is optional, and the evaluation split where there is no other. The classes are those of the
    training file in the order of their ids.

    Raises:
      ValueError: a file is missing, is no such JSON or has no classes, or more than
        `config.max_bad_fraction` of the images or boxes are bad.
    """
    found = {name: _find(path, name) for name in SPLITS}
    files = {name: pair for name, pair in found.items() if pair is not None}
    if 'val' not in files and 'test' in files:
        files['val'] = files.pop('test')
    if 'train' not in files or 'val' not in files:
        raise ValueError(
            f'{path} has annotations of {", ".join(files) or "no split"}; expected of train and val, '
            'annotations/instances_train*.json beside the images in train*/, or '
            f'train/{ROBOFLOW} among them'
        )
    read = {name: read_annotations(file, folder) for name, (file, folder) in files.items()}
    labels, _ = read['train']
    splits: dict[str, Split] = {
        name: make_split(found, labels, name, config) for name, (_, found) in read.items()
    }
    return Source(f'cocojson:{path}', labels, **splits)


def read_annotations(file: str, folder: str) -> tuple[tuple[str, ...], Annotations]:
    """The classes of a file in the order of their ids, and its images, which lie in `folder`.

    Raises:
      ValueError: it is no such file.
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
    bad = []
    for number, image in enumerate(images):
        try:
            where = _locate(image, folder, annotated)
        except ValueError as e:
            bad.append(f'{file}: image {_short(image.get("id", number))} ({e})')
            continue
        key = image['id']
        size = _read_size(image)
        annotated[key] = Annotated(where, tuple(boxes[key]), tuple(faults[key]), size)
    found = Annotations(tuple(annotated.values()), tuple(bad), tuple(strays))
    return tuple(names.values()), found


def _find(path: str, prefix: str) -> tuple[str, str] | None:
    """The annotation file of a split and the folder of its images."""
    root = glob.escape(path)
    files = glob.glob(f'{root}/annotations/instances_{prefix}*.json')
    files += glob.glob(f'{root}/{prefix}*/{ROBOFLOW}')
    if len(files) > 1:
        raise ValueError(f'{path} has more than one {prefix} split: {", ".join(sorted(files))}')
    if not files:
        return None
    (file,) = files
    if os.path.basename(file) == ROBOFLOW:
        return file, os.path.dirname(file)
    name = os.path.basename(file).removeprefix('instances_').removesuffix('.json')
    folders = [f'{path}/{name}', f'{path}/images/{name}', f'{path}/images']
    folder = next((folder for folder in folders if os.path.isdir(folder)), None)
    if folder is None:
        raise ValueError(f'{file} has no folder of images; expected one of {", ".join(folders)}')
    return file, folder


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
        if number in names or name.strip() in names.values():
            raise ValueError(f'{file}: the category {_short(category)} comes twice')
        names[number] = name.strip()
    # Roboflow begins with a category that has no box and only gathers the others.
    used = {record.get('category_id') for record in records if _is_id(record.get('category_id'))}
    others = [c for c in categories if c.get('supercategory') != c['name']]
    gathering = {str(category.get('supercategory')) for category in others}
    names = {n: name for n, name in names.items() if n in used or name not in gathering}
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


def _locate(image: Record, folder: str, others: dict[Any, Annotated]) -> str:
    """The file of an image."""
    number, name = image.get('id'), image.get('file_name')
    if not _is_id(number) or not isinstance(name, str) or not name:
        raise ValueError('expected an id and a file_name')
    if number in others:
        raise ValueError('another image has its id')
    file = os.path.normpath(os.path.join(folder, name))
    if not file.startswith(os.path.normpath(folder) + os.sep):
        raise ValueError(f'its file_name {_short(name)} leaves the folder {folder}')
    return file


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
