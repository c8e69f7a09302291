"""Boxes that files tell of: none is trusted; they are checked beside their images and made a split."""

import concurrent.futures
import dataclasses
import math
import os
from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from train.data.exif import warn_of_turned
from train.data.faults import name_some, skip_or_stop, warn
from train.data.images import Stored, look_at
from train.data.source import Split, listed_split

OVERHANG = (
    1.0  # pixels by which a box may leave its image unmentioned: files round and count from 1
)


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """One annotated object.

    Attributes:
      told: its file, number, class and corners, as a message names it.
      label: the name of its class.
      corners: ymin, xmin, ymax, xmax in pixels, of positive height and width (`check_corners`).
      crowd: neither target nor mistake.
      area: of the object in pixels, 0 where the box's counts.
    """

    told: str
    label: str
    corners: tuple[float, float, float, float]
    crowd: bool = False
    area: float = 0.0


@dataclasses.dataclass(frozen=True)
class Annotated:
    """An image and what its annotation says.

    Attributes:
      image: its file.
      boxes: those that could be read.
      faults: why others could not, one text a box.
      size: (height, width) by the annotation, (0, 0) where it says none.
    """

    image: str
    boxes: tuple[Box, ...]
    faults: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Annotations:
    """What the files of one split say.

    Attributes:
      images: with their boxes.
      bad_images: why others are left out, one text an image.
      bad_boxes: why boxes are left out that are of no image, one text a box.
      classes: those that they declare, in their order, with boxes or without.
    """

    images: tuple[Annotated, ...]
    bad_images: tuple[str, ...] = ()
    bad_boxes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def labels(self) -> tuple[str, ...]:
        """The names of all classes that boxes have, sorted."""
        return tuple(sorted({box.label for image in self.images for box in image.boxes}))


def check_corners(ymin: float, xmin: float, ymax: float, xmax: float) -> None:
    """Refuses what is no box, whatever its image.

    Raises:
      ValueError: why, in a few words.
    """
    if not all(math.isfinite(value) for value in (ymin, xmin, ymax, xmax)):
        raise ValueError('not finite')
    if xmax < xmin or ymax < ymin:
        raise ValueError('inverted')
    if xmax == xmin or ymax == ymin:
        raise ValueError('zero-sized')


def make_split(found: Annotations, labels: Sequence[str], name: str, config: ConfigDict) -> Split:
    """The examples of one split, without what is bad.

    Left out and named are images that cannot be decoded, have another shape than was annotated, or
    all of whose boxes are bad, boxes outside their image and those of an unknown class. Boxes are
    scaled to an image of another size, and clipped where they reach out of it. Images without any
    box stay: they show what is no object.

    Args:
      found: what its files say.
      labels: names of the classes.
      name: of the split, for messages.
      config: the `data` part of a config.

    Raises:
      ValueError: too many images or boxes are bad, or none has a box.
    """
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(pool.map(_look_at, (image.image for image in found.images)))
    numbers = {label: number for number, label in enumerate(labels)}
    bad_images, bad_boxes = list(found.bad_images), list(found.bad_boxes)
    kept: list[_Kept] = []
    turned: list[str] = []
    for image, stored in zip(found.images, looks, strict=True):
        try:
            if isinstance(stored, str):
                raise ValueError(stored)
            image, size = _fit(image, stored.size), stored.size
        except ValueError as e:
            bad_images.append(f'{image.image} ({e})')
            continue
        good, bad = _check(image, size, numbers)
        bad_boxes += bad
        if bad and not good:
            bad_images.append(f'{image.image} (all of its {len(bad)} boxes are bad)')
        else:
            kept.append(_Kept(image, size, good, _rows(good, size, numbers)))
            turned += [image.image] if stored.turned else []
    num_boxes = sum(len(image.boxes) + len(image.faults) for image in found.images)
    num_boxes += len(found.bad_boxes)
    num_images = len(found.images) + len(found.bad_images)
    # Boxes first: they tell more than the images that have lost all of theirs.
    skip_or_stop(bad_boxes, num_boxes, f'{name} boxes are bad', config)
    skip_or_stop(bad_images, num_images, f'{name} images are bad', config)
    _warn_of_sizes(kept, name)
    warn_of_turned(turned, len(kept), name)
    if not any(entry.boxes for entry in kept):
        raise ValueError(f'none of the {name} images has a box; expected some that have')
    return _split(kept)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """An image of (height, width) `size` with its good boxes, also as `rows` (`_rows`)."""

    image: Annotated
    size: tuple[int, int]
    boxes: list[Box]
    rows: np.ndarray


def _look_at(file: str) -> Stored | str:
    """How an image is stored, or why it cannot be decoded."""
    try:
        return look_at(file)
    except ValueError as e:
        return str(e)


def _fit(image: Annotated, size: tuple[int, int]) -> Annotated:
    """The image with boxes in pixels of its `size`, where the annotation means a scaled one.

    Raises:
      ValueError: it means one of another shape, on which boxes are elsewhere.
    """
    (height, width), (told_height, told_width) = size, image.size
    if min(image.size) <= 0 or image.size == size:
        return image
    # Sides are rounded to whole pixels, which may move either product by one side.
    if abs(told_height * width - told_width * height) > max(*size, *image.size):
        mend = 'another shape; annotate it as it is, or leave its size out of the annotation'
        if image.size == (width, height):
            mend = 'turned, as a photo with an EXIF orientation; save it upright'
        raise ValueError(f'of {_by(size)}, annotated as {_by(image.size)}: {mend}')
    y, x = height / told_height, width / told_width
    return dataclasses.replace(image, boxes=tuple(_scale(box, y, x) for box in image.boxes))


def _scale(box: Box, y: float, x: float) -> Box:
    ymin, xmin, ymax, xmax = box.corners
    corners = (ymin * y, xmin * x, ymax * y, xmax * x)
    return dataclasses.replace(box, corners=corners, area=box.area * y * x)


def _check(
    image: Annotated, size: tuple[int, int], numbers: dict[str, int]
) -> tuple[list[Box], list[str]]:
    """The boxes that are good, and what is wrong with the others."""
    good, bad = [], list(image.faults)
    for box in image.boxes:
        ymin, xmin, ymax, xmax = box.corners
        if ymin >= size[0] or xmin >= size[1] or ymax <= 0 or xmax <= 0:
            bad.append(f'{box.told}: outside its image of {_by(size)}')
        elif box.label not in numbers:
            bad.append(f'{box.told}: unknown class; expected one of {_shortened(numbers)}')
        else:
            good.append(box)
    return good, bad


def _rows(boxes: list[Box], size: tuple[int, int], numbers: dict[str, int]) -> np.ndarray:
    """[B, 7] float64: the normalised box, clipped; class, crowd and area."""
    sides = np.array([*size, *size], np.float64)
    rows = np.zeros([len(boxes), 7])
    for row, box in zip(rows, boxes, strict=True):
        row[:4] = np.clip(np.array(box.corners) / sides, 0, 1)
        row[4:] = numbers[box.label], box.crowd, box.area
    return rows


def _warn_of_sizes(kept: list[_Kept], name: str) -> None:
    """Of boxes that are clipped, and of annotations that mean an image of another size."""
    clipped, resized = [], []
    for entry in kept:
        clipped += [box.told for box in entry.boxes if _overhang(box, entry.size) > OVERHANG]
        told = entry.image.size
        if min(told) > 0 and told != entry.size:
            resized.append(f'{entry.image.image} ({_by(entry.size)}, annotated as {_by(told)})')
    if clipped:
        warn(
            f'{len(clipped)} of {sum(len(entry.boxes) for entry in kept)} {name} boxes reach out of '
            f'their image: {name_some(clipped)}; they are clipped'
        )
    if resized:
        warn(
            f'{len(resized)} of {len(kept)} {name} images have another size than their annotation '
            f'says: {name_some(resized)}; their boxes are scaled to them'
        )


def _overhang(box: Box, size: tuple[int, int]) -> float:
    """Pixels by which a box leaves its image."""
    ymin, xmin, ymax, xmax = box.corners
    return max(-ymin, -xmin, ymax - size[0], xmax - size[1])


def _split(kept: list[_Kept]) -> Split:
    files = np.array([entry.image.image for entry in kept])
    rows = np.concatenate([entry.rows for entry in kept])
    ends = np.cumsum([len(entry.rows) for entry in kept])  # of each image's rows
    starts = ends - [len(entry.rows) for entry in kept]
    boxes, areas = rows[:, :4].astype(np.float32), rows[:, 6].astype(np.float32)
    labels, crowd = rows[:, 4].astype(np.int64), rows[:, 5].astype(bool)

    def read(index: tf.Tensor) -> dict[str, tf.Tensor]:
        of_image = slice(tf.gather(starts, index), tf.gather(ends, index))
        return {
            'image': tf.io.read_file(tf.gather(files, index)),
            'boxes': tf.constant(boxes)[of_image],
            'box_labels': tf.constant(labels)[of_image],
            'crowd': tf.constant(crowd)[of_image],
            'areas': tf.constant(areas)[of_image],
        }

    most = max(len(entry.rows) for entry in kept)
    return dataclasses.replace(listed_split(len(kept), read), most_boxes=most)


def _by(size: tuple[int, int]) -> str:
    return f'{size[1]}×{size[0]}'


def _shortened(labels: Collection[str]) -> str:
    return ', '.join(list(labels)[:10]) + (', …' if len(labels) > 10 else '')
