"""Semantic segmentation with LR-ASPP or R-ASPP: the class of every pixel (Paper: §6.4)."""

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.cost import check_resolution
from mobilenet_v3.heads import SegmentationHead
from mobilenet_v3.models import build_segmenter
from mobilenet_v3.spec import ModelSpec, Size
from train.data import augment, mask_augment
from train.replicas import images_by_counted
from train.segmentation.losses import count_pixels, pixel_losses, resize_logits
from train.segmentation.scores import Scores, confusion_matrix

Batch = dict[str, tf.Tensor]


class Segmentation:
    """Data, loss and metrics of segmentation.

    Whole images are seen at `resolution`, in training a part of them of the size `crop`.

    Attributes:
      head: what stands on the network.
      crop: height and width of training images.
    """

    goal = 'miou'

    def __init__(self, config: ConfigDict, spec: ModelSpec, labels: tuple[str, ...]) -> None:
        _check(config, len(labels))
        self.config, self.spec, self.labels = config, spec, labels
        self.resolution = check_resolution(config.model.resolution)
        s = config.segmentation
        self.crop = check_resolution(tuple(s.crop) or self.resolution)
        self.head = SegmentationHead(s.kind, s.filters, s.pooling, s.dropout)

    def build(self) -> tf_keras.Model:
        """The network, from whole images [N, H, W, C] in [-1, 1] to logits [N, H, W, k]."""
        return self._network(self.resolution, upsample=True)

    def build_for_training(self) -> tf_keras.Model:
        """The same layers for crops, whose logits keep the head's size: the loss resizes them."""
        return self._network(self.crop, upsample=False)

    def train_example(self, raw: Batch, seed: tf.Tensor) -> Batch:
        """Augments one encoded example with its mask; `seed` is int32 [2]."""
        return mask_augment.train_example(
            raw, seed, self.crop, self.resolution, self.config.augment
        )

    def train_batch(self, batch: Batch) -> Batch:
        """Finishes a batch: colours, and the range [-1, 1]."""
        color = self.config.augment.color
        if color == 'none':
            images = augment.scale(batch['image'])
        else:
            images = augment.distort_colors(batch['image'], batch['draws'], color)
        return {'image': self._channels(images), 'mask': batch['mask']}

    def eval_example(self, raw: Batch) -> Batch:
        """Decodes one example for evaluation; its mask keeps its size, which it tells beside it."""
        example = mask_augment.eval_example(raw, self.resolution)
        return {**example, 'size': tf.shape(example['mask'])}

    def eval_image(self, encoded: tf.Tensor) -> tf.Tensor:
        """What evaluation takes of an image: all of it, resized to [H, W, 3] uint8."""
        image, _, _ = augment.decode_window(encoded, augment.whole)
        return augment.resize(image, self.resolution)

    def eval_batch(self, batch: Batch) -> Batch:
        """Finishes a batch for evaluation: the range [-1, 1]."""
        return {**batch, 'image': self._channels(augment.scale(batch['image']))}

    def loss(self, outputs: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Cross-entropy of the pixels that count, each class with its weight, [N].

        The mean over a batch is the sum over its pixels by their number, so that an image counts as
        much as what of it is not ignored.

        Args:
          outputs: logits [N, h, w, k] of any size.
          batch: with 'mask' [N, H, W].
        """
        masks = batch['mask']
        losses = pixel_losses(outputs, masks, self.config.train.class_weights)
        size = tf.cast(tf.shape(masks)[0], tf.float32)
        factor = images_by_counted(size, tf.reduce_sum(count_pixels(masks)))
        return tf.reduce_sum(losses, axis=[1, 2]) * factor

    def classes(self, outputs: tf.Tensor) -> tf.Tensor:
        """The class of each pixel of an answer, [..., h, w] int32, of logits or as it is."""
        if outputs.dtype.is_floating:
            return tf.argmax(outputs, axis=-1, output_type=tf.int32)
        return tf.cast(outputs, tf.int32)

    def statistics(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """What evaluation keeps of each example, arrays with leading N.

        Answers are resized to the size of the mask, so that every pixel of the dataset counts once;
        image by image, as their sizes differ and logits of large ones are large.

        Args:
          outputs: logits [N, h, w, k]; or classes [N, h, w], whole numbers of a file that gives no
            logits and so has no loss.
          batch: of `eval_batch`.

        Returns:
          'confusion' [N, k, k] int32 pixels, and 'loss' [N], the sum over them without weights.
        """
        logits = outputs.dtype.is_floating
        count = len(self.labels)

        def keep(example: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
            answer, mask, size = example
            mask = mask[: size[0], : size[1]][tf.newaxis]
            if not logits:
                found = tf.image.resize(answer[tf.newaxis, ..., tf.newaxis], size, 'nearest')
                return {'confusion': confusion_matrix(mask, found[..., 0], count)}
            answer = resize_logits(answer[tf.newaxis], size)
            return {
                'confusion': confusion_matrix(mask, self.classes(answer), count),
                'loss': tf.reduce_sum(pixel_losses(answer, mask)),
            }

        kept = {'confusion': tf.TensorSpec([count, count], tf.int32)}
        if logits:
            kept['loss'] = tf.TensorSpec([], tf.float32)
        given = (outputs, batch['mask'], batch['size'])
        # One at a time: its kernels use all cores.
        return tf.map_fn(keep, given, fn_output_signature=kept, parallel_iterations=1)

    def metrics(self, statistics: dict[str, np.ndarray]) -> dict[str, float]:
        """Mean intersection over union and share of right pixels in [0, 1], and the loss in nats.

        Pixels count alike, whatever image they are of. The loss is their mean, without weights.
        """
        scores = Scores.of(statistics['confusion'])
        figures = {'miou': scores.miou, 'pixel_accuracy': scores.accuracy}
        if 'loss' not in statistics:
            return figures
        total = float(statistics['loss'].sum(dtype=np.float64))
        return {**figures, 'loss': total / max(int(scores.matrix.sum()), 1)}

    def _network(self, resolution: Size, upsample: bool) -> tf_keras.Model:
        return build_segmenter(
            self.spec,
            resolution=resolution,
            num_classes=len(self.labels),
            input_channels=self.config.model.input_channels,
            head=self.head,
            upsample=upsample,
        )

    def _channels(self, images: tf.Tensor) -> tf.Tensor:
        if self.config.model.input_channels == 1:
            return tf.image.rgb_to_grayscale(images)
        return images


def _check(config: ConfigDict, num_classes: int) -> None:
    """Refuses what is out of range, and what is of classification and would be passed over."""
    mask_augment.check(config.augment)
    weights = config.train.class_weights
    if weights and (len(weights) != num_classes or not all(w >= 0 for w in weights)):
        raise ValueError(
            f'config.train.class_weights holds {len(weights)} numbers; expected none, or one of at '
            f'least 0 for each of the {num_classes} classes'
        )
    for section, field in (
        ('train', 'label_smoothing'),
        ('augment', 'mixup'),
        ('augment', 'randaugment_layers'),
        ('distill', 'teacher'),
    ):
        if config[section][field]:
            raise ValueError(
                f'config.{section}.{field} is {config[section][field]!r}; segmentation has none of '
                'it, leave it as configs/segmentation.py has it'
            )
