"""Object detection with SSDLite: boxes and classes of what is in an image (Paper: §6.3)."""

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.anchors import detector_anchors
from mobilenet_v3.cost import check_resolution
from mobilenet_v3.heads import AnchorSpec, DetectionHead
from mobilenet_v3.models import build_detector
from mobilenet_v3.spec import ModelSpec
from train.data import augment, box_augment
from train.detection import coco
from train.detection.losses import box_loss, focal_loss, matches
from train.detection.matcher import match
from train.detection.suppression import detections
from train.replicas import images_by_counted

Batch = dict[str, tf.Tensor]
TRUTH = ('boxes', 'box_labels', 'valid', 'crowd')  # of a batch, what anchors are matched with


class Detection:
    """Data, loss and metrics of detection.

    Attributes:
      head: the SSDLite that stands on the network, at its width.
      anchors: float32 [A, 4] as ycenter, xcenter, height, width, in the order of the answers.
    """

    goal = 'map'

    def __init__(self, config: ConfigDict, spec: ModelSpec, labels: tuple[str, ...]) -> None:
        _check(config)
        self.config, self.spec, self.labels = config, spec, labels
        self.resolution = check_resolution(config.model.resolution)
        d = config.detection
        anchors = AnchorSpec(d.min_scale, d.max_scale, tuple(d.aspect_ratios), d.reduced_first)
        self.head = DetectionHead(tuple(d.extras), anchors).widen(config.model.multiplier)
        self.anchors = detector_anchors(spec, self.resolution, self.head)

    def build(self) -> tf_keras.Model:
        """The network, from images [N, H, W, C] in [-1, 1] to the raw answers of `ssdlite`."""
        return build_detector(
            self.spec,
            resolution=self.resolution,
            num_classes=len(self.labels),
            input_channels=self.config.model.input_channels,
            head=self.head,
        )

    def build_for_training(self) -> tf_keras.Model:
        """The same: images of training have the size of those of evaluation."""
        return self.build()

    def train_example(self, raw: Batch, seed: tf.Tensor) -> Batch:
        """Augments one encoded example with its boxes; `seed` is int32 [2]."""
        return box_augment.train_example(
            raw, seed, self.resolution, self.config.augment, self.config.data.max_boxes
        )

    def train_batch(self, batch: Batch) -> Batch:
        """Finishes a batch: colours, the range [-1, 1], and what every anchor is to learn."""
        color = self.config.augment.color
        if color == 'none':
            images = augment.scale(batch['image'])
        else:
            images = augment.distort_colors(batch['image'], batch['draws'], color)
        return {'image': self._channels(images), **self._targets(batch)}

    def eval_example(self, raw: Batch) -> Batch:
        """Decodes one example for evaluation, with the size that its image had."""
        return box_augment.eval_example(raw, self.resolution, self.config.data.max_boxes)

    def eval_image(self, encoded: tf.Tensor) -> tf.Tensor:
        """What evaluation takes of an image: all of it, resized to [H, W, 3] uint8."""
        return box_augment.eval_image(encoded, self.resolution)

    def eval_batch(self, batch: Batch) -> Batch:
        """Finishes a batch for evaluation: the range [-1, 1], and what training would ask for."""
        finished = {**batch, 'image': self._channels(augment.scale(batch['image']))}
        # Without boxes they are images to be answered.
        return {**finished, **self._targets(batch)} if 'boxes' in batch else finished

    def loss(self, outputs: dict[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        """Focal loss of the classes and smooth L1 of the boxes, by anchors with an object, [N].

        The mean over a batch is the sum over its anchors by the number of those with an object, so
        that an image counts as much as what is in it. Source: `normalize_loss_by_num_matches`.
        """
        size = tf.cast(tf.shape(batch['classes'])[0], tf.float32)
        factor = images_by_counted(size, matches(batch['classes']))
        return self._summed_loss(outputs, batch) * factor

    def detections(self, outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The detections of raw answers; see `train.detection.suppression`.

        What a file with its own suppression answers, which has 'classes', stays as it is.
        """
        if 'classes' in outputs:
            return {name: outputs[name] for name in ('boxes', 'scores', 'classes')}
        return detections(
            outputs,
            tf.constant(self.anchors),
            score_threshold=self.config.detection.score_threshold,
            iou_threshold=self.config.detection.nms_iou,
        )

    def statistics(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """What evaluation keeps of each example, arrays with leading N; see `coco.evaluate`.

        The loss is a sum and the number of anchors it goes by, so that the size of batches does not
        show; detections of a file with its own suppression have none.
        """
        kept = {
            **self.detections(outputs),
            'true_boxes': batch['boxes'],
            'true_classes': tf.cast(batch['box_labels'], tf.int32),
            'size': batch['image_size'],
            **{name: batch[name] for name in ('valid', 'crowd', 'areas')},
        }
        if 'classes' in outputs:
            return kept
        matched = tf.reduce_sum(tf.cast(batch['classes'] > 0, tf.float32), axis=1)
        return {**kept, 'loss': self._summed_loss(outputs, batch), 'matches': matched}

    def metrics(self, statistics: dict[str, np.ndarray]) -> dict[str, float]:
        """COCO's twelve figures in [0, 1], -1 where there is no object of that size, and the loss."""
        figures = coco.evaluate(statistics, len(self.labels)).figures
        if 'loss' not in statistics:
            return figures
        matched = max(float(statistics['matches'].sum()), 1.0)
        return {**figures, 'loss': float(statistics['loss'].sum()) / matched}

    def _summed_loss(self, outputs: dict[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        c = self.config.detection
        of_classes = focal_loss(
            outputs['scores'], batch['classes'], alpha=c.focal_alpha, gamma=c.focal_gamma
        )
        of_boxes = box_loss(outputs['boxes'], batch['codes'], batch['classes'])
        return of_classes + c.box_weight * of_boxes

    def _targets(self, batch: Batch) -> Batch:
        truth = {name: batch[name] for name in TRUTH}
        return match(truth, tf.constant(self.anchors), self.config.detection.match_iou)

    def _channels(self, images: tf.Tensor) -> tf.Tensor:
        if self.config.model.input_channels == 1:
            return tf.image.rgb_to_grayscale(images)
        return images


def _check(config: ConfigDict) -> None:
    """Refuses what is out of range, and what is of classification and would be passed over."""
    box_augment.check(config.augment)
    d = config.detection
    for field in ('match_iou', 'focal_alpha', 'nms_iou'):
        if not 0 < d[field] < 1:
            raise ValueError(f'config.detection.{field} is {d[field]}; expected in (0, 1)')
    for field in ('focal_gamma', 'box_weight', 'score_threshold'):
        if not d[field] >= 0:
            raise ValueError(f'config.detection.{field} is {d[field]}; expected at least 0')
    for section, field in (
        ('train', 'label_smoothing'),
        ('train', 'class_weights'),
        ('train', 'balanced'),
        ('augment', 'mixup'),
        ('augment', 'randaugment_layers'),
        ('distill', 'teacher'),
    ):
        if config[section][field]:
            raise ValueError(
                f'config.{section}.{field} is {config[section][field]!r}; detection has none of it, '
                'leave it as configs/detection.py has it'
            )
