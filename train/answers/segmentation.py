"""What people see of a segmenter's answers: shares and regions of classes, overlays, a report."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import tensorflow as tf
from pycocotools import mask as run_lengths

from train.answers.drawn_masks import draw_classes, legend
from train.answers.segmentation_report import FOUND, write_report
from train.answers.sheet import GREY, LARGE, Line, Tile
from train.data.mask_file import IGNORED
from train.tasks.segmentation import Segmentation

__all__ = ['HEAD', 'LAYOUT', 'LEAST_SCORE', 'SCORE', 'TOP', 'Prediction', 'answers', 'details']
__all__ += ['predictions', 'rows', 'tile', 'whole', 'write_report']

SCORE = 'share'  # of a prediction, by which it is kept
HEAD = ('label', 'share')  # of the columns that `rows` fills
TOP, LEAST_SCORE = 255, 0.0  # what an image is told of, where nobody says otherwise
LAYOUT = LARGE
_MOST_LOGITS = 2**24  # at once at the size of an image: 64 MB


class Region(TypedDict):
    """Pixels of a class as COCO's compressed run lengths: (height, width) and the runs."""

    size: list[int]
    counts: str


class Prediction(TypedDict):
    """A class, its share of the pixels in [0, 1], and where they are, in plain JSON values."""

    label: str
    share: float
    region: Region


def answers(task: Segmentation, outputs: np.ndarray) -> np.ndarray:
    """The class of each pixel, [N, H, W] uint8."""
    return task.classes(tf.constant(outputs)).numpy().astype(np.uint8)


def predictions(
    outputs: np.ndarray, found: np.ndarray, labels: Sequence[str], top: int
) -> list[list[Prediction]]:
    """The `top` classes of each image that has pixels of them, the largest first.

    Args:
      outputs: of the task; the classes say it all.
      found: of `answers`.
      labels: of the classes.
      top: how many; all where there are fewer.
    """
    told = []
    for classes in found:
        counts = np.bincount(classes.reshape(-1), minlength=len(labels))
        order = [int(n) for n in np.argsort(-counts, kind='stable')[:top] if counts[n]]
        regions = np.stack([classes == n for n in order], axis=-1)
        encoded = run_lengths.encode(np.asfortranarray(regions, np.uint8))
        told.append(
            [
                Prediction(
                    label=labels[n],
                    share=float(counts[n] / classes.size),
                    region=Region(size=region['size'], counts=region['counts'].decode('ascii')),
                )
                for n, region in zip(order, encoded, strict=True)
            ]
        )
    return told


def rows(found: Sequence[Prediction]) -> list[tuple[str, str]]:
    """An image's lines of a table."""
    return [(prediction['label'], f'{prediction["share"]:.1%}') for prediction in found]


def tile(pixels: np.ndarray, name: str, found: Sequence[Prediction], labels: Sequence[str]) -> Tile:
    """An image [H, W, 3] uint8 under the colours of its classes, with their shares as a legend."""
    classes = np.full(found[0]['region']['size'] if found else (1, 1), IGNORED, np.uint8)
    for prediction in found:
        region = run_lengths.decode(prediction['region']).astype(bool)
        classes[region] = labels.index(prediction['label'])
    return Tile(draw_classes(pixels, classes), _lines(name, found, labels))


def whole(
    pixels: np.ndarray,
    name: str,
    found: Sequence[Prediction],
    labels: Sequence[str],
    output: np.ndarray,
) -> Tile:
    """The same of an image at its own size.

    Args:
      pixels: the image.
      name: its file's.
      found: what is drawn of it; other classes are left out.
      labels: of the classes.
      output: of the task's network for it: logits [h, w, k], which are resized, or classes [h, w].
    """
    classes = output.astype(np.uint8)
    if output.ndim == 3:
        classes = classes_at(output, pixels.shape[:2])
    told = [labels.index(prediction['label']) for prediction in found]
    shown = np.where(np.isin(classes, told), classes, IGNORED)
    return Tile(draw_classes(pixels, shown, whole=True), _lines(name, found, labels))


def classes_at(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The class of each pixel of an image, of logits resized as evaluation does.

    A part of the rows at a time: at the size of a photo all logits would take gigabytes.

    Args:
      logits: [h, w, k].
      size: (height, width) of the image.

    Returns:
      [height, width] uint8.
    """
    (height, width), last = size, len(logits) - 1
    y = np.clip((np.arange(height) + 0.5) * len(logits) / height - 0.5, 0, last)
    low = y.astype(int)
    share = (y - low)[:, np.newaxis, np.newaxis].astype(np.float32)
    step = max(1, _MOST_LOGITS // (width * logits.shape[-1]))
    parts = []
    for part in (slice(start, start + step) for start in range(0, height, step)):
        above, below = logits[low[part]], logits[np.minimum(low[part] + 1, last)]
        lines = above + share[part] * (below - above)
        parts.append(tf.argmax(tf.image.resize(lines, (len(lines), width)), axis=-1).numpy())
    return np.concatenate(parts).astype(np.uint8)


def _lines(name: str, found: Sequence[Prediction], labels: Sequence[str]) -> tuple[Line, ...]:
    told = [(labels.index(label), label, share) for label, share in rows(found)]
    return (*(legend(told) or (Line('nothing'),)), Line(name, color=GREY))


def details(answers: Callable[[], np.ndarray], batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a report needs of each example beside what the task keeps: the answer, as a PNG."""
    found = tf.constant(answers())[..., tf.newaxis]
    return {FOUND: tf.map_fn(tf.io.encode_png, found, fn_output_signature=tf.string)}
