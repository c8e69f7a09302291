"""What .tflite files of each task give, as the outputs of the task; other files are refused."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from train.tflite_file import TFLiteModel

_LEAST_PROBABILITY = 1e-9  # of which a logarithm is taken


@dataclasses.dataclass(frozen=True)
class FileForm:
    """How the answers of a file are read.

    Attributes:
      classes: how many it tells apart; None where its shapes do not say.
      outputs: from what the file gives to the outputs of its task.
    """

    classes: int | None
    outputs: Callable[[Any], Any]


def classification(path: str, model: TFLiteModel, sigmoid: bool) -> FileForm:
    """One output, a number for each class.

    Args:
      path: of the file, for an error.
      model: the file.
      sigmoid: whether its scores are probabilities of their own; a classifier has none.
    """
    (shape, *more), inputs = model.output_shapes, model.input_shapes
    if more or not _takes_an_image(model) or len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            f'{path} is no classifier of images: its inputs are {inputs}, its outputs '
            f'{model.output_shapes}; expected one [1, height, width, 3 or 1] and one [1, classes]'
        )
    return FileForm(shape[1], lambda given: given)


def detection(path: str, model: TFLiteModel, sigmoid: bool) -> FileForm:
    """Raw answers by anchors, or detections of a file with its own suppression.

    Arguments as of `classification`.
    """
    shapes = dict(zip(model.output_names, model.output_shapes, strict=True))
    if _takes_an_image(model):
        if {'boxes', 'scores', 'classes'} <= shapes.keys():
            return FileForm(None, _suppressed)
        if shapes.keys() == {'boxes', 'scores'}:
            return FileForm(shapes['scores'][-1] - 1, _logits if sigmoid else dict)
    raise ValueError(
        f'{path} is no detector: its inputs are {model.input_shapes}, its outputs {shapes}; expected '
        'one [1, height, width, 3 or 1], and boxes and scores, or boxes, scores, classes and count'
    )


def segmentation(path: str, model: TFLiteModel, sigmoid: bool) -> FileForm:
    """One output, of logits for each pixel or of its class.

    Arguments as of `classification`.
    """
    (shape, *more) = model.output_shapes
    if not more and _takes_an_image(model):
        if len(shape) == 3:
            return FileForm(None, lambda given: given.astype(np.int32))
        if len(shape) == 4 and shape[3] >= 2:
            return FileForm(shape[3], lambda given: given)
    raise ValueError(
        f'{path} is no segmenter: its inputs are {model.input_shapes}, its outputs '
        f'{model.output_shapes}; expected one [1, height, width, 3 or 1], and one [1, height, width, '
        'classes] or [1, height, width]'
    )


# Each takes the path, the file, and whether its scores have gone through a sigmoid.
FORMS: dict[str, Callable[[str, TFLiteModel, bool], FileForm]] = {
    'classification': classification,
    'detection': detection,
    'segmentation': segmentation,
}


def log_probabilities(given: np.ndarray) -> np.ndarray:
    """Logits whose softmax are these probabilities."""
    return np.log(np.maximum(given, np.float32(_LEAST_PROBABILITY)))


def _takes_an_image(model: TFLiteModel) -> bool:
    (shape, *more) = model.input_shapes
    return not more and len(shape) == 4 and shape[0] == 1 and shape[3] in (1, 3)


def _suppressed(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Detections in their task's types; rows beyond 'count' are 0."""
    boxes, classes, scores = (given[name] for name in ('boxes', 'classes', 'scores'))
    if 'count' in given:  # the rows beyond it hold whatever the memory held, not-a-number among it
        there = np.arange(scores.shape[1]) < np.reshape(given['count'], (-1, 1))
        boxes = np.where(there[..., np.newaxis], boxes, 0.0)
        classes, scores = np.where(there, classes, 0.0), np.where(there, scores, 0.0)
    return {
        'boxes': np.clip(boxes, 0.0, 1.0),
        'scores': scores.astype(np.float32),
        'classes': np.round(classes).astype(np.int32),
    }


def _logits(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    low = np.float32(_LEAST_PROBABILITY)
    scores = np.clip(given['scores'], low, 1 - np.float32(1e-7))
    return {**given, 'scores': np.log(scores) - np.log1p(-scores)}
