"""Files of detectors: detections, or the heads' raw answers for those who decode them themselves."""

import dataclasses
from collections.abc import Callable
from typing import cast

import numpy as np
import tensorflow as tf

from export.card import Given
from export.convert import Finish
from export.mediapipe_tasks import object_detector
from export.product import Answers, Product, Products
from train.data.pipeline import Batch
from train.detection.box_coder import SCALES
from train.detection.losses import matches
from train.detection.suppression import MOST
from train.replicas import images_by_counted
from train.task import Task
from train.tasks.detection import Detection

POST_PROCESS = 'TFLite_Detection_PostProcess'
Heads = dict[str, tf.Tensor]

# What outputs are, for the card.
_BOXES = (
    'ymin, xmin, ymax, xmax, fractions of the image; they may reach out of it, beyond 0 and 1: clip'
)
_LOGITS = 'logits, a sigmoid of each alone; column 0 is the background, column 1 + n is labels[n]'

# Detections that are compared: what a client shows, and boxes that it would take for the same.
_LEAST_SCORE, _LEAST_OVERLAP = 0.3, 0.75


def _detections(task: Task) -> Product:
    """Class by class, as evaluation does it."""
    return _suppressed(cast(Detection, task), 'detections', by_class=True)


def _fast_detections(task: Task) -> Product:
    """Every anchor as its best class only, and whatever the class, one of two that overlap.

    With 90 classes of 2,034 anchors 0.5 ms where it takes 45 ms class by class (measured beside
    V3-Small, whose heads take 1.8 ms in int8).
    """
    return _suppressed(cast(Detection, task), 'fast_detections', by_class=False, suffix='_fast')


@dataclasses.dataclass(frozen=True)
class _Suppression:
    """What is left out of detections.

    Attributes:
      by_class: whether classes suppress their own only.
      score_threshold: probability that a detection needs.
      iou_threshold: intersection over union above which the worse of two is left out.
      most: detections of an image.
    """

    by_class: bool
    score_threshold: float
    iou_threshold: float
    most: int = MOST


def _suppressed(task: Detection, name: str, *, by_class: bool, suffix: str = '') -> Product:
    config = task.config.detection
    suppression = _Suppression(by_class, float(config.score_threshold), float(config.nms_iou))
    post_process = _post_process(suppression, len(task.labels))

    def finish(heads: Heads) -> Heads:
        boxes, classes, scores, count = post_process(
            heads['boxes'], _float_sigmoid(heads['scores']), tf.constant(task.anchors)
        )
        return {'boxes': boxes, 'classes': classes, 'scores': scores, 'count': count}

    return Product(
        Given(
            name, 'sigmoid', {'boxes_are': _BOXES, 'suppression': dataclasses.asdict(suppression)}
        ),
        Finish(finish, typed=False, custom_op=POST_PROCESS),
        comparable=False,
        suffix=suffix,
        mediapipe=object_detector(),
    )


def _float_sigmoid(logits: tf.Tensor) -> tf.Tensor:
    """The sigmoid as a tanh, which the converter leaves in floats.

    A sigmoid of 8-bit logits, 1 / (1 + exp(-x)) too, it makes one of 8-bit scores, in steps of 1/256:
    those of 0.001 are 0, and of a hundred detections many have the same.
    """
    return 0.5 * tf.tanh(0.5 * logits) + 0.5


def _post_process(suppression: _Suppression, num_classes: int) -> Callable:
    """A function that the converter takes for TFLite's op, of which TensorFlow has none."""
    most = suppression.most
    attributes = {
        'max_detections': ('i', most),
        'max_classes_per_detection': ('i', 1),
        'num_classes': ('i', num_classes),
        'use_regular_nms': ('b', str(suppression.by_class).lower()),
        'nms_score_threshold': ('f', suppression.score_threshold),
        'nms_iou_threshold': ('f', suppression.iou_threshold),
        **{name: ('f', scale) for name, scale in _box_coder().items()},
    }
    words = [f'attr {{ key: "{k}" value {{ {t}: {v} }} }}' for k, (t, v) in attributes.items()]

    @tf.function(experimental_implements=' '.join([f'name: "{POST_PROCESS}"', *words]))
    def post_process(boxes: tf.Tensor, scores: tf.Tensor, anchors: tf.Tensor) -> tuple:
        # Of the op's shapes, which clients read in the file.
        return tf.zeros([1, most, 4]), tf.zeros([1, most]), tf.zeros([1, most]), tf.zeros([1])

    return post_process


def _raw(task: Task) -> Product:
    """Box codes and logits, with what it takes to decode them."""
    anchors = cast(Detection, task).anchors
    facts = {
        'scores_are': _LOGITS,
        'box_coder': _box_coder(),
        'anchors_are': 'ycenter, xcenter, height, width, fractions of the image',
        'anchors': [[round(float(side), 6) for side in anchor] for anchor in anchors],
    }
    return Product(
        Given('raw', facts=facts),
        suffix='_raw',
        mediapipe='MediaPipe decodes other heads; use --outputs=detections',
    )


def _box_coder() -> dict[str, float]:
    return dict(zip(('y_scale', 'x_scale', 'h_scale', 'w_scale'), SCALES, strict=True))


def _agreement(some: Answers, others: Answers) -> np.ndarray:
    pairs = zip(_shown(some), _shown(others), strict=True)
    return np.array([_same(*pair) for pair in pairs])


def _shown(answers: Answers) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes and classes of each image that a client would show, the best first."""
    found = answers.statistics
    shown = []
    for scores, boxes, classes in zip(
        found['scores'], found['boxes'], found['classes'], strict=True
    ):
        order = np.argsort(-scores, kind='stable')
        order = order[scores[order] >= _LEAST_SCORE]
        shown.append((boxes[order], classes[order]))
    return shown


def _same(some: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> float:
    """The share of detections that the other side has, too, of both sides."""
    total = len(some[0]) + len(others[0])
    if not total:
        return 1.0
    free, same = np.ones(len(others[0]), bool), 0
    for box, kind in zip(*some, strict=True):
        overlaps = np.where(free & (others[1] == kind), _overlaps(box, others[0]), 0.0)
        if overlaps.size and overlaps.max() >= _LEAST_OVERLAP:
            free[overlaps.argmax()] = False
            same += 1
    return 2 * same / total


def _overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box [4] and others [M, 4]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return shared / np.maximum(areas - shared, 1e-12)


def _imitation(outputs: Heads, taught: Heads, batch: Batch, temperature: float) -> tf.Tensor:
    """Cross-entropy of all scores, and smooth L1 of boxes by how sure the float network is of them.

    By the number of anchors with an object, as the loss of the task; see `Detection.loss`.
    """
    sure = tf.sigmoid(taught['scores'] / temperature)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(sure, outputs['scores'] / temperature)
    # Without what no answer changes: it would drown the labels' part of the loss.
    least = tf.nn.sigmoid_cross_entropy_with_logits(sure, taught['scores'] / temperature)
    classes = temperature**2 * tf.reduce_sum(entropy - least, axis=[1, 2])
    distance = tf.abs(outputs['boxes'] - taught['boxes'])
    smooth = tf.where(distance < 1.0, 0.5 * distance**2, distance - 0.5)
    found = tf.reduce_max(tf.sigmoid(taught['scores'][..., 1:]), axis=2)
    boxes = tf.reduce_sum(found * tf.reduce_mean(smooth, axis=2), axis=1)
    size = tf.cast(tf.shape(found)[0], tf.float32)
    return (classes + boxes) * images_by_counted(size, matches(batch['classes']))


PRODUCTS = Products(
    kinds={'detections': _detections, 'fast_detections': _fast_detections, 'raw': _raw},
    agreement=_agreement,
    imitation=_imitation,
    agreement_is=f'share of detections of score {_LEAST_SCORE} that the other has, too, with '
    f'overlap {_LEAST_OVERLAP}',
)
