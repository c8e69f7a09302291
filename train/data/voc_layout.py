"""Where a folder with an XML file for each image has its splits, in the layouts that tools write."""

import collections
import dataclasses
import functools
import os
import re
from collections.abc import Callable

from train.data.faults import name_some, warn
from train.data.images import IMAGE_ENDINGS

# The names of lists and folders of a split, the first one that is there.
NAMES = {
    'train': ('train', 'trainval', 'default'),
    'val': ('val', 'validation', 'valid'),
    'test': ('test',),
}
IMAGES, ANNOTATIONS = ('jpegimages', 'images'), ('annotations',)
EXPECTED = (
    'lists ImageSets/Main/train.txt and val.txt beside JPEGImages/ and Annotations/, or folders '
    'train/ and valid/ with an .xml beside each image'
)
FLAG = re.compile(r'\s+-?[01]$')  # of a class, which VOC's lists of one class have


@dataclasses.dataclass(frozen=True)
class Entry:
    """An image with its annotation, or why it has none of the two."""

    image: str
    annotation: str
    fault: str = ''


@dataclasses.dataclass(frozen=True)
class _Place:
    """A folder of images and the folder of their annotations, which may be the same."""

    images: str
    annotations: str


def find_splits(path: str) -> dict[str, Callable[[], list[Entry]]]:
    """What reads the entries of 'train', 'val' and 'test', as far as `path` has them.

    The layouts, the first of them that is there; upper and lower case are the same:

    - JPEGImages/ or images/ and Annotations/, with lists in ImageSets/Main/ or ImageSets/;
    - train/, valid/ and test/, themselves or in images/, with .xml files among their images or in
      another of the layouts; or images/train/ with annotations/train/;
    - images and .xml files in one folder, or in two without lists: all is 'train'.

    Raises:
      ValueError: it is none of them; an entry's reader: a list or folder is empty.
    """
    images, annotations = _inner(path, IMAGES), _inner(path, ANNOTATIONS)
    pair = _Place(images, annotations) if images and annotations else None
    lists = _lists(path)
    if pair and lists:
        return {
            split: functools.partial(_read_list, pair, file, path) for split, file in lists.items()
        }
    places = _split_places(path, images, annotations)
    whole = pair or _beside(path) or (images and _beside(images))
    if not places and whole:
        places = {'train': whole}
    if not places:
        raise ValueError(_describe(path, images, annotations, lists))
    return {split: functools.partial(_read_place, place) for split, place in places.items()}


def _describe(path: str, images: str, annotations: str, lists: dict[str, str]) -> str:
    """Why a folder is no dataset."""
    missing = []
    if not images:
        missing.append('JPEGImages/ or images/')
    if not annotations:
        missing.append('Annotations/ or .xml files beside the images')
    if not lists:
        missing.append('ImageSets/Main/train.txt')
    return f'{path} is no VOC folder: missing is {", ".join(missing)}; expected {EXPECTED}'


def _inner(path: str, names: tuple[str, ...]) -> str:
    """The folder in `path` with one of the names, the first of them, or ''."""
    if not path:
        return ''
    folders = {e.name.lower(): e.path for e in sorted(os.scandir(path), key=_name) if e.is_dir()}
    return next((folders[name] for name in names if name in folders), '')


def _lists(path: str) -> dict[str, str]:
    """The lists of splits."""
    sets = _inner(path, ('imagesets',))
    for folder in (_inner(sets, ('main',)), sets):
        files = (
            {e.name.lower(): e.path for e in sorted(os.scandir(folder), key=_name)}
            if folder
            else {}
        )
        found = {
            split: next((files[f'{name}.txt'] for name in names if f'{name}.txt' in files), '')
            for split, names in NAMES.items()
        }
        if any(found.values()):
            return {split: file for split, file in found.items() if file}
    return {}


def _split_places(path: str, images: str, annotations: str) -> dict[str, _Place]:
    """The folders of splits."""
    places: dict[str, _Place] = {}
    for split, names in NAMES.items():
        pair = _inner(images, names), _inner(annotations, names)
        folders = [_inner(path, names), _inner(images, names)]
        place = _Place(*pair) if all(pair) else next(filter(None, map(_place, folders)), None)
        if place:
            places[split] = place
    return places


def _place(folder: str) -> _Place | None:
    images, annotations = _inner(folder, IMAGES), _inner(folder, ANNOTATIONS)
    return _Place(images, annotations) if images and annotations else _beside(folder)


def _beside(folder: str) -> _Place | None:
    """A folder whose images have their annotations among them."""
    return _Place(folder, folder) if folder and _stems(folder, ('.xml',)) else None


def _read_place(place: _Place) -> list[Entry]:
    """All images of a folder that are annotated."""
    images, annotations = _stems(place.images, IMAGE_ENDINGS), _stems(place.annotations, ('.xml',))
    bare = [file for stem, file in images.items() if stem not in annotations]
    if len(bare) == len(images):
        raise ValueError(
            f'no image in {place.images} has an .xml of its name in {place.annotations}; expected '
            'one for each'
        )
    if bare:
        warn(
            f'{len(bare)} of {len(images)} images in {place.images} have no annotation in '
            f'{place.annotations}: {name_some(bare)}; they are left out'
        )
    return [
        Entry(
            images.get(stem, ''), file, '' if stem in images else 'there is no image of that name'
        )
        for stem, file in annotations.items()
    ]


def _read_list(place: _Place, file: str, path: str) -> list[Entry]:
    """The images of a list, each once."""
    images, annotations = _stems(place.images, IMAGE_ENDINGS), _stems(place.annotations, ('.xml',))
    # Windows' editors put a mark of the encoding before the first name.
    with open(file, encoding='utf-8-sig', errors='replace') as lines:
        stems = [_stem(line.strip(), images) for line in lines if line.strip()]
    if not stems:
        raise ValueError(f'{file} lists no images')
    listed = collections.Counter(stems)
    if len(listed) < len(stems):
        warn(
            f'{len(stems) - len(listed)} lines of {file} repeat an image, '
            f'{max(listed, key=lambda stem: listed[stem])} for one; each counts once'
        )
    where, name = os.path.relpath(place.images, path), os.path.basename(file)
    fault = f'{where}/ has no image of that name ({name} lists it)'
    return [
        Entry(
            images.get(stem, ''),
            annotations.get(stem, f'{place.annotations}/{stem}.xml'),
            '' if stem in images else fault,
        )
        for stem in listed
    ]


def _stem(line: str, images: dict[str, str]) -> str:
    """The name in a line, which may have the image's ending, and a flag or columns behind it."""
    texts = (line, FLAG.sub('', line), line.split()[0])
    for text in texts:
        stem, ending = os.path.splitext(text)
        if text not in images and ending.lower() in IMAGE_ENDINGS:
            text = stem
        # A name that is looked up holds no path, so that none can leave the folder.
        if text in images:
            return text
    return texts[1]


def _stems(folder: str, endings: tuple[str, ...]) -> dict[str, str]:
    """The files of a folder with such endings, sorted, by their names without them."""
    found = {}
    for name in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(name)
        # Names with a dot first are not photos: macOS leaves ._x.jpg beside x.jpg.
        if ending.lower() in endings and name[0] != '.':
            found[stem] = os.path.join(folder, name)
    return found


def _name(entry: os.DirEntry) -> str:
    return entry.name
