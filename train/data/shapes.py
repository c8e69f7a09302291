"""`builtin:shapes`: an offline dataset of drawn shapes with classes, boxes and masks.

Every image shows one clearly largest shape, whose class is the label, and up to three smaller ones
on a textured background. The class says nothing about colour, texture or area and next to nothing
about position, so a linear classifier on raw pixels stays at chance, while V3-Small reaches 84-89 %
from 8,000 images in minutes. The difficulty is tuned to that: with twice the texture, two
thirds of the contrast and somewhat smaller shapes, V3-Small was still at chance by then.
An example depends on (VERSION, split, index) alone; drawing needs numpy and Pillow only.
"""

import contextlib
import dataclasses
import io
import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image, ImageDraw

CLASSES = ('circle', 'square', 'triangle', 'star', 'cross', 'ring', 'heart', 'crescent')
IMAGE_SIZE = 96
SPLITS = {'train': 8_000, 'validation': 1_000}
SEED = 0
VERSION = '1.0.0'  # raise it with any change that alters a pixel: prepared data is kept by version

# The side of a square of the shape's area, in pixels: equal areas, whatever the class.
LARGEST_SIDE = (30.0, 50.0)
SMALLEST_SIDE = 13.0
MAX_AREA_RATIO = 0.3  # of a smaller shape's area to the largest's
MAX_OTHERS = 3
MIN_VISIBLE_LARGEST = 0.85
MIN_VISIBLE_OTHER = 0.65

_SUPERSAMPLE = 3
_PLACEMENT_ATTEMPTS = 6
_MIN_CONTRAST = 70  # of 255, in at least one channel, against what lies under the shape

Outline = tuple[np.ndarray, ...]  # polygons [N, 2] in (x, y): the first is filled, others cut out


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One drawn image and its annotations, objects sorted by visible area, largest first.

    Attributes:
        image: `[96, 96, 3]` uint8.
        label: index into CLASSES of the largest shape, which is `box_labels[0]`.
        boxes: `[N, 4]` float32, normalised ymin, xmin, ymax, xmax, tight around the *visible* pixels
            of each shape (as COCO does), 1 <= N <= 4.
        box_labels: `[N]` int64, indices into CLASSES.
        mask: `[96, 96, 1]` uint8, 0 for background, 1 + class index for a visible shape.
    """

    image: np.ndarray
    label: int
    boxes: np.ndarray
    box_labels: np.ndarray
    mask: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Layer:
    """One placed shape: its anti-aliased coverage `alpha` `[H, W]` in 0-1 and where it lies."""

    class_index: int
    alpha: np.ndarray
    top: int
    left: int
    min_visible: float

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def footprint(self) -> np.ndarray:
        return self.alpha >= 0.5


def render(seed: int, split: str, index: int) -> Example:
    """Draws example `index` of `split`; the same arguments always give the same example.

    Labels go round the classes with the index, so every split is balanced to within one image a class.
    """
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    label = index % len(CLASSES)
    layers = _arrange(rng, label)
    canvas = _material(rng, (IMAGE_SIZE, IMAGE_SIZE), rng.uniform(0, 255, 3), spread=45)
    for layer in layers:
        _paint(rng, canvas, layer)
    boxes, box_labels, mask = _annotate(layers)
    return Example(_expose(rng, canvas), label, boxes, box_labels, mask)


# ---------------------------------------------------------------------------------- Outlines


def _arc(start: float, stop: float, radius: float = 1.0, center_x: float = 0.0) -> np.ndarray:
    angles = np.linspace(start, stop, 48)
    return np.stack([center_x + radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _star(points: int, inner_radius: float) -> np.ndarray:
    angles = np.arange(2 * points) * math.pi / points
    radii = np.where(np.arange(2 * points) % 2, inner_radius, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _cross(arm: float) -> np.ndarray:
    quarter = np.array([[arm, -1], [arm, -arm], [1, -arm]])
    turn = np.array([[0, 1], [-1, 0]])  # row vectors, 90 degrees
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, y], axis=1)


def _crescent(bite_center: float, bite_radius: float) -> np.ndarray:
    """The unit circle less a circle centred at (bite_center, 0)."""
    x = (1 + bite_center**2 - bite_radius**2) / (2 * bite_center)  # where the circles meet
    y = math.sqrt(1 - x * x)
    outer, inner = math.atan2(y, x), math.atan2(y, x - bite_center)
    bite = _arc(2 * math.pi - inner, inner, bite_radius, bite_center)
    return np.concatenate([_arc(outer, 2 * math.pi - outer), bite])


def _polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _unit_area(*polygons: np.ndarray) -> Outline:
    area = _polygon_area(polygons[0]) - sum(_polygon_area(hole) for hole in polygons[1:])
    return tuple(polygon / math.sqrt(area) for polygon in polygons)


_OUTLINES: dict[str, Outline] = {
    'circle': _unit_area(_arc(0, 2 * math.pi)),
    'square': _unit_area(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])),
    'triangle': _unit_area(np.array([[0, -1], [0.866, 0.5], [-0.866, 0.5]])),
    'star': _unit_area(_star(points=5, inner_radius=0.42)),
    'cross': _unit_area(_cross(arm=0.32)),
    'ring': _unit_area(_arc(0, 2 * math.pi), _arc(0, 2 * math.pi, radius=0.55)),
    'heart': _unit_area(_heart()),
    'crescent': _unit_area(_crescent(bite_center=0.5, bite_radius=0.85)),
}


# --------------------------------------------------------------------------------- Placement


def _arrange(rng: np.random.Generator, label: int) -> list[_Layer]:
    """Places the largest shape and up to MAX_OTHERS smaller ones; the bottom layer comes first."""
    largest_side = rng.uniform(*LARGEST_SIDE)
    layers = [_place(rng, label, largest_side, MIN_VISIBLE_LARGEST)]
    for _ in range(rng.integers(0, MAX_OTHERS + 1)):
        class_index = int(rng.integers(len(CLASSES)))
        side = rng.uniform(SMALLEST_SIDE, largest_side * math.sqrt(MAX_AREA_RATIO))
        for _ in range(_PLACEMENT_ATTEMPTS):
            layer = _place(rng, class_index, side, MIN_VISIBLE_OTHER)
            candidate = [*layers, layer] if rng.random() < 0.5 else [layer, *layers]
            if _shows_enough(candidate):
                layers = candidate
                break
    return layers


def _place(rng: np.random.Generator, class_index: int, side: float, min_visible: float) -> _Layer:
    """Turns, stretches and moves an outline so that all of it lies in the image."""
    turn, axis = rng.uniform(0, 2 * math.pi, 2)
    stretch = math.sqrt(rng.uniform(1, 1.25))
    transform = side * _rotation(axis) @ np.diag([stretch, 1 / stretch]) @ _rotation(turn)
    polygons = [points @ transform.T for points in _OUTLINES[CLASSES[class_index]]]
    low, high = polygons[0].min(axis=0), polygons[0].max(axis=0)
    shift = rng.uniform(1 - low, IMAGE_SIZE - 1 - high)
    left, top = np.floor(low + shift).astype(int).tolist()
    right, bottom = np.ceil(high + shift).astype(int).tolist()

    drawing = Image.new('L', ((right - left) * _SUPERSAMPLE, (bottom - top) * _SUPERSAMPLE))
    draw = ImageDraw.Draw(drawing)
    for points, value in zip(polygons, (255, 0), strict=False):
        corners = (points + shift - (left, top)) * _SUPERSAMPLE - 0.5  # Pillow: pixel centres
        draw.polygon(corners.ravel().tolist(), fill=value)
    alpha = np.asarray(drawing.reduce(_SUPERSAMPLE), np.float32) / 255
    return _Layer(class_index, alpha, top, left, min_visible)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _owners(layers: list[_Layer]) -> np.ndarray:
    """Returns `[96, 96]` int8: which layer is seen at each pixel, -1 for the background."""
    owners = np.full((IMAGE_SIZE, IMAGE_SIZE), -1, np.int8)
    for position, layer in enumerate(layers):
        owners[layer.window][layer.footprint] = position
    return owners


def _shows_enough(layers: list[_Layer]) -> bool:
    seen = np.bincount(_owners(layers).ravel() + 1, minlength=len(layers) + 1)[1:]
    return all(
        count >= layer.min_visible * np.count_nonzero(layer.footprint)
        for count, layer in zip(seen, layers, strict=True)
    )


# ----------------------------------------------------------------------------------- Painting

_ROWS, _COLUMNS = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32)


def _texture(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Returns stripes, clouds or a gradient, `[H, W]` float32 in about -1 to 1."""
    height, width = size
    kind = rng.integers(3)
    if kind == 0:
        cells = tuple(rng.integers(2, 10, 2))
        coarse = Image.fromarray(rng.uniform(-1, 1, cells).astype(np.float32))
        return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    angle, phase = rng.uniform(0, 2 * math.pi, 2).tolist()
    along = math.cos(angle) * _COLUMNS[:height, :width] + math.sin(angle) * _ROWS[:height, :width]
    if kind == 1:
        return np.sin(along * (2 * math.pi / rng.uniform(5, 24)) + phase)
    low, high = float(along.min()), float(along.max())
    return (along - low) * (2 / max(high - low, 1)) - 1


def _material(
    rng: np.random.Generator, size: tuple[int, ...], color: np.ndarray, spread: float
) -> np.ndarray:
    """Returns `color` modulated by a texture towards a random colour, `[H, W, 3]` float32."""
    tint = rng.uniform(-spread, spread, 3).astype(np.float32)
    return color.astype(np.float32) + _texture(rng, size)[..., None] * tint


def _paint(rng: np.random.Generator, canvas: np.ndarray, layer: _Layer) -> None:
    """Blends the layer into `canvas` in a colour that stands out from what lies under it."""
    window = canvas[layer.window]
    under = window[layer.footprint].mean(axis=0)
    color = rng.uniform(0, 255, 3)
    while np.abs(color - under).max() < _MIN_CONTRAST:
        color = rng.uniform(0, 255, 3)
    fill = _material(rng, layer.alpha.shape, color, spread=25)
    window += layer.alpha[..., None] * (fill - window)


def _expose(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Lights the scene unevenly, lowers its contrast and adds sensor noise; returns uint8."""
    lit = canvas * (1 + rng.uniform(0, 0.3) * _texture(rng, canvas.shape[:2])[..., None])
    mean = lit.mean()
    level = min(max(float(mean), 40), 215) + rng.uniform(-40, 40)
    noise = rng.standard_normal(lit.shape, np.float32) * rng.uniform(2, 10)
    image = level + (lit - mean) * rng.uniform(0.6, 1.0) + noise
    return np.clip(image, 0, 255).astype(np.uint8)


def _annotate(layers: list[_Layer]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns boxes, their labels and the class mask of what is visible."""
    owners = _owners(layers)
    objects = []
    for position, layer in enumerate(layers):
        rows, columns = np.nonzero(owners == position)
        box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        objects.append((len(rows), box, layer.class_index))
    objects.sort(key=lambda visible: -visible[0])
    boxes = np.array([box for _, box, _ in objects], np.float32) / IMAGE_SIZE
    box_labels = np.array([class_index for *_, class_index in objects], np.int64)
    values = np.array([1 + layer.class_index for layer in layers] + [0], np.uint8)
    return boxes, box_labels, values[owners][..., None]  # owner -1 picks the last value, 0


# ------------------------------------------------------------------------------------ On disk


class Shapes(tfds.core.GeneratorBasedBuilder):
    """The shapes as a TFDS dataset; images as JPEG, which the loader decodes and crops in one op."""

    VERSION = tfds.core.Version(VERSION)

    def _info(self) -> tfds.core.DatasetInfo:
        size = (IMAGE_SIZE, IMAGE_SIZE)
        classes = tfds.features.ClassLabel(names=CLASSES)
        features = {
            'image': tfds.features.Image(shape=(*size, 3), encoding_format='jpeg'),
            'label': classes,
            'objects': tfds.features.Sequence(
                {'bbox': tfds.features.BBoxFeature(), 'label': classes}
            ),
            'mask': tfds.features.LabeledImage(
                labels=['background', *CLASSES], shape=(*size, 1), encoding_format='png'
            ),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description='Drawn shapes with classes, boxes and masks.',
            features=tfds.features.FeaturesDict(features),
            supervised_keys=('image', 'label'),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(split, size) for split, size in SPLITS.items()}

    def _generate_examples(self, split: str, size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(size):
            example = render(SEED, split, index)
            boxes = [tfds.features.BBox(*box.tolist()) for box in example.boxes]
            features = {
                'image': _encode(example.image, 'JPEG', quality=95, subsampling=0),
                'label': example.label,
                'objects': {'bbox': boxes, 'label': example.box_labels.tolist()},
                'mask': _encode(example.mask[..., 0], 'PNG', compress_level=3),
            }
            yield index, features


def _encode(pixels: np.ndarray, image_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def prepare(data_dir: str) -> tfds.core.DatasetBuilder:
    """Returns the builder with its data under `data_dir`, which the first call writes (15 s).

    TFDS writes to a temporary folder and renames it at the end, so a killed preparation is never
    taken for a whole one. Preparing turns TFDS's progress bars off for the process.

    Raises:
        OSError: `data_dir` cannot be written, or the disk is full.
    """
    builder = Shapes(data_dir=data_dir)
    if builder.data_path.exists():
        return builder
    logging.info('builtin:shapes: drawing %d images into %s', sum(SPLITS.values()), data_dir)
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints; stdout is for results
            builder.download_and_prepare(download_config=config)
    except OSError:
        # Of several processes that prepare at once, one renames its folder first and the others
        # fail to; what they wanted is then in place.
        builder = Shapes(data_dir=data_dir)
        if not builder.data_path.exists():
            raise
    return builder
