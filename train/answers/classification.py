"""What people see of a classifier's answers: labels with scores, captions, a report."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import tensorflow as tf
from PIL import Image

from train.answers.classification_report import write_report
from train.answers.sheet import GREY, SMALL, Line, Tile, thumbnail
from train.task import Task

__all__ = ['HEAD', 'LAYOUT', 'LEAST_SCORE', 'SCORE', 'TOP', 'Prediction', 'answers', 'details']
__all__ += ['predictions', 'rows', 'tile', 'whole', 'write_report']

SCORE = 'score'  # of a prediction, by which it is kept
HEAD = ('label', 'score')  # of the columns that `rows` fills
TOP, LEAST_SCORE = 3, 0.0  # what an image is told of, where nobody says otherwise
LAYOUT = SMALL
_CAPTIONED = 3  # predictions under a picture


class Prediction(TypedDict):
    """A class and its probability in [0, 1], in plain JSON values."""

    label: str
    score: float


def answers(task: Task, outputs: np.ndarray) -> np.ndarray:
    """Probabilities [N, k] of logits."""
    return tf.nn.softmax(outputs).numpy()


def predictions(
    logits: np.ndarray, scores: np.ndarray, labels: Sequence[str], top: int
) -> list[list[Prediction]]:
    """The `top` classes of each image, the best first.

    Args:
      logits: [N, k]; by them classes are ordered, as in evaluation.
      scores: their probabilities, which may have no more digits to tell two classes apart.
      labels: of the k classes.
      top: how many; all where there are fewer.
    """
    # Stable: of equal logits the first class counts, as in evaluation.
    order = np.argsort(-logits, axis=-1, kind='stable')[:, :top]
    return [
        [{'label': labels[number], 'score': float(row[number])} for number in best]
        for row, best in zip(scores, order, strict=True)
    ]


def rows(found: Sequence[Prediction]) -> list[tuple[str, str]]:
    """An image's lines of a table."""
    return [(prediction['label'], f'{prediction["score"]:.1%}') for prediction in found]


def tile(pixels: np.ndarray, name: str, found: Sequence[Prediction], labels: Sequence[str]) -> Tile:
    """An image [H, W, 3] uint8 with what it is taken for."""
    return Tile(thumbnail(pixels), _lines(name, found))


def whole(
    pixels: np.ndarray,
    name: str,
    found: Sequence[Prediction],
    labels: Sequence[str],
    output: np.ndarray,
) -> Tile:
    """The same of an image at its own size; `output` is what the task's network says of it."""
    return Tile(Image.fromarray(pixels), _lines(name, found))


def _lines(name: str, found: Sequence[Prediction]) -> tuple[Line, ...]:
    captions = [
        Line(label, score, bold=number == 0) if number == 0 else Line(label, score, color=GREY)
        for number, (label, score) in enumerate(rows(found[:_CAPTIONED]))
    ]
    return (*captions, Line(name, color=GREY))


def details(answers: Callable[[], np.ndarray], batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a report needs of each example beside what the task keeps, arrays with leading N.

    Args:
      answers: gives those to the batch.
      batch: of the task.
    """
    return {'label': batch['label'], 'score': tf.reduce_max(answers(), axis=-1)}
