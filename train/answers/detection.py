"""What people see of a detector's answers: boxes with labels and scores, pictures, a report."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import tensorflow as tf

from train.answers.detection_report import write_report
from train.answers.drawn_boxes import Drawn, color_of, draw_boxes
from train.answers.sheet import GREY, LARGE, Line, Tile
from train.tasks.detection import Detection

__all__ = ['HEAD', 'LAYOUT', 'LEAST_SCORE', 'SCORE', 'TOP', 'Prediction', 'answers', 'details']
__all__ += ['predictions', 'rows', 'tile', 'whole', 'write_report']

SCORE = 'score'  # of a prediction, by which it is kept
HEAD = ('label', 'score', 'ymin xmin ymax xmax')  # of the columns that `rows` fills
TOP, LEAST_SCORE = 100, 0.3  # what an image is told of, where nobody says otherwise
LAYOUT = LARGE
_COUNTED = 4  # classes under a picture

Found = dict[str, np.ndarray]


class Prediction(TypedDict):
    """A detection in plain JSON values: score in [0, 1]; ymin, xmin, ymax, xmax in [0, 1]."""

    label: str
    score: float
    box: list[float]


def answers(task: Detection, outputs: Found) -> Found:
    """Detections 'boxes' [N, D, 4], 'scores' [N, D] and 'classes' [N, D] of raw answers."""
    found = task.detections(tf.nest.map_structure(tf.constant, outputs))
    return {name: values.numpy() for name, values in found.items()}


def predictions(
    outputs: Found, found: Found, labels: Sequence[str], top: int
) -> list[list[Prediction]]:
    """The `top` detections of each image, the best first.

    Args:
      outputs: of the task; the detections say it all.
      found: of `answers`; what has score 0 is none.
      labels: of the classes.
      top: how many; all where there are fewer.
    """
    told = []
    for boxes, scores, classes in zip(
        found['boxes'], found['scores'], found['classes'], strict=True
    ):
        order = np.argsort(-scores, kind='stable')[:top]
        told.append(
            [
                Prediction(
                    label=labels[int(classes[n])], score=float(scores[n]), box=boxes[n].tolist()
                )
                for n in order
                if scores[n] > 0
            ]
        )
    return told


def rows(found: Sequence[Prediction]) -> list[tuple[str, str, str]]:
    """An image's lines of a table."""
    return [
        (p['label'], f'{p["score"]:.1%}', ' '.join(f'{x:.3f}' for x in p['box'])) for p in found
    ]


def tile(pixels: np.ndarray, name: str, found: Sequence[Prediction], labels: Sequence[str]) -> Tile:
    """An image [H, W, 3] uint8 with its detections drawn, and how many there are of each class."""
    return Tile(draw_boxes(pixels, _drawn(found, labels)), _lines(name, found))


def whole(
    pixels: np.ndarray, name: str, found: Sequence[Prediction], labels: Sequence[str], output: Found
) -> Tile:
    """The same of an image at its own size; `output` is what the task's network says of it."""
    return Tile(draw_boxes(pixels, _drawn(found, labels), whole=True), _lines(name, found))


def _drawn(found: Sequence[Prediction], labels: Sequence[str]) -> list[Drawn]:
    return [
        Drawn(p['box'], color_of(labels.index(p['label'])), f'{p["label"]} {p["score"]:.0%}')
        for p in found
    ]


def _lines(name: str, found: Sequence[Prediction]) -> tuple[Line, ...]:
    counts = Counter(prediction['label'] for prediction in found).most_common()
    lines = [Line(label, f'{count}') for label, count in counts[:_COUNTED]]
    if others := sum(count for _, count in counts[_COUNTED:]):
        lines.append(Line('others', f'{others}'))
    return (*(lines or [Line('nothing')]), Line(name, color=GREY))


def details(answers: Callable[[], Found], batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a report needs of each example beside what the task keeps: nothing."""
    return {}
