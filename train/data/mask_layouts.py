"""Where folders keep images and their masks."""

import dataclasses
import os
from collections.abc import Sequence

# What the folders of a split are called.
SPLITS = {
    'train': ('train', 'training'),
    'val': ('val', 'validation', 'valid'),
    'test': ('test', 'testing'),
}
# The folders of a split's images and masks.
LAYOUTS = (
    ('{}', '{}annot'),
    ('{}', '{}_annot'),
    ('{}', '{}labels'),
    ('{}', '{}_labels'),
    ('{}', '{}_mask'),
    ('{}', '{}_masks'),
    ('images/{}', 'masks/{}'),
    ('images/{}', 'labels/{}'),
    ('images/{}', 'annotations/{}'),
    ('{}/images', '{}/masks'),
    ('{}/images', '{}/labels'),
    ('{}/images', '{}/annotations'),
)
MASK_NAMES = ('{}', '{}_L', '{}_mask')  # of the mask of an image, without their endings
MASK_ENDING = '.png'  # in any case


@dataclasses.dataclass(frozen=True)
class Folders:
    """The folders of a split's images and masks."""

    images: str
    masks: str


def splits_there(path: str) -> list[str]:
    """Which of the splits 'train', 'val' and 'test' a folder has, images with masks."""
    return [split for split in SPLITS if _annotated(_places(path, split))]


def find_split(path: str, split: str, needed: bool = True) -> Folders | None:
    """The folders of the split 'train', 'val' or 'test'; None where there are none.

    Raises:
      ValueError: it has two layouts, or its images have no masks and are `needed`.
    """
    places = _places(path, split)
    there = _annotated(places)
    if len(there) > 1:
        ways = ' and '.join(f'{place.images} with {place.masks}' for place in there)
        raise ValueError(f'{path} has the {split} split twice, {ways}; move one of them away')
    if there:
        return there[0]
    if places and needed:
        images = places[-1].images  # train/images rather than train
        masks = [place.masks for place in places if place.images == images]
        names = _any([f'{os.path.relpath(mask, path)}/' for mask in masks])
        raise ValueError(f'{images} has no masks; {path} is expected to hold {names}')
    return None


def _places(path: str, split: str) -> list[Folders]:
    """Where a split's images are, and may have masks."""
    places = [
        Folders(f'{path}/{images.format(name)}', f'{path}/{masks.format(name)}')
        for name in SPLITS[split]
        for images, masks in LAYOUTS
    ]
    return [place for place in places if os.path.isdir(place.images)]


def _annotated(places: list[Folders]) -> list[Folders]:
    return [place for place in places if os.path.isdir(place.masks)]


def expected_layouts() -> str:
    """The layouts in words."""
    ways = [f'{i.format("train")}/ with {m.format("train")}/' for i, m in LAYOUTS]
    return f'segmentation expects images with masks in {_any(ways)}, and those of val likewise'


def _any(names: Sequence[str]) -> str:
    return f'{", ".join(names[:-1])} or {names[-1]}'


def match_masks(images: Sequence[str], files: Sequence[str]) -> dict[str, list[str]]:
    """The masks of each image: one where all is well.

    A file whose name is that of another image without its ending is the mask of that one.

    Args:
      images: names of files.
      files: those in the folder of masks.

    Returns:
      By image the PNG files that may be its mask; others of their names where there are none.
    """
    stems = {os.path.splitext(image)[0] for image in images}
    by_stem: dict[str, list[str]] = {}
    for file in sorted(files):
        by_stem.setdefault(os.path.splitext(file)[0], []).append(file)
    matched = {}
    for image in images:
        stem = os.path.splitext(image)[0]
        names = [name.format(stem) for name in MASK_NAMES]
        own = [name for name in names if name == stem or name not in stems]
        found = [file for name in own for file in by_stem.get(name, ())]
        matched[image] = [file for file in found if is_mask(file)] or found
    return matched


def is_mask(file: str) -> bool:
    """Whether a file is a mask by its name."""
    return file.lower().endswith(MASK_ENDING)
