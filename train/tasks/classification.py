"""Image classification: one label an image (Paper: §6.1)."""

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.cost import check_resolution
from mobilenet_v3.models import build_model
from mobilenet_v3.spec import ModelSpec
from train.data import augment
from train.data.mixup import mix, mix_share
from train.data.randaugment import MAX_MAGNITUDE, randaugment

Batch = dict[str, tf.Tensor]


class Classification:
    """Data, loss and metrics of classification."""

    goal = 'top1'
    head = None

    def __init__(self, config: ConfigDict, spec: ModelSpec, labels: tuple[str, ...]) -> None:
        if config.augment.color not in augment.COLORS:
            raise ValueError(
                f'config.augment.color is {config.augment.color!r}; expected one of '
                + ', '.join(augment.COLORS)
            )
        augment.check_crops(config.augment)
        if not 0 <= config.train.label_smoothing <= 1:
            raise ValueError(
                f'config.train.label_smoothing is {config.train.label_smoothing}; expected in [0, 1]'
            )
        _check_fine_tuning(config, len(labels))
        self.config, self.spec, self.labels = config, spec, labels
        self.resolution = check_resolution(config.model.resolution)

    def build(self) -> tf_keras.Model:
        """The network, from images [N, H, W, C] in [-1, 1] to logits [N, k]."""
        return build_model(
            self.spec,
            resolution=self.resolution,
            num_classes=len(self.labels),
            input_channels=self.config.model.input_channels,
        )

    def build_for_training(self) -> tf_keras.Model:
        """The same: images of training have the size of those of evaluation."""
        return self.build()

    def train_example(self, raw: Batch, seed: tf.Tensor) -> Batch:
        """Augments one encoded example; `seed` is int32 [2]."""
        config = self.config.augment
        image = augment.random_crop(raw['image'], seed, self.resolution, config)
        if config.randaugment_layers:
            image = randaugment(
                image, seed, config.randaugment_layers, config.randaugment_magnitude
            )
        example = {'image': image, 'label': raw['label'], 'draws': augment.color_draws(seed)}
        return {**example, 'share': mix_share(seed, config.mixup)} if config.mixup else example

    def train_batch(self, batch: Batch) -> Batch:
        """Finishes a batch: colours, and the range [-1, 1]."""
        if self.config.augment.color == 'none':
            images = augment.scale(batch['image'])
        else:
            images = augment.distort_colors(
                batch['image'], batch['draws'], self.config.augment.color
            )
        finished = {'image': self._channels(images), 'label': batch['label']}
        if not self.config.augment.mixup:
            return finished
        return mix({**finished, 'share': batch['share']}, len(self.labels))

    def eval_example(self, raw: Batch) -> Batch:
        """Decodes one example for evaluation."""
        return {'image': self.eval_image(raw['image']), 'label': raw['label']}

    def eval_image(self, encoded: tf.Tensor) -> tf.Tensor:
        """What evaluation takes of an image: its central crop, [H, W, 3] uint8."""
        crop = self.config.augment.eval_crop
        return augment.center_crop(encoded, self.resolution, crop)

    def eval_batch(self, batch: Batch) -> Batch:
        """Finishes a batch for evaluation: the range [-1, 1]."""
        return {**batch, 'image': self._channels(augment.scale(batch['image']))}

    def loss(self, outputs: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Cross-entropy with label smoothing, each class with its weight, [N]."""
        config = self.config.train
        targets = batch.get('target')  # of mixup
        if targets is None:
            targets = tf.one_hot(batch['label'], len(self.labels))
        losses = tf_keras.losses.categorical_crossentropy(
            targets, outputs, from_logits=True, label_smoothing=config.label_smoothing
        )
        if not config.class_weights:
            return losses
        return losses * tf.linalg.matvec(targets, tf.constant(config.class_weights, tf.float32))

    def statistics(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """What evaluation keeps of each example, arrays with leading N.

        Departs from paper: the loss of evaluation has no label smoothing, so that runs with and
        without it can be compared.
        """
        label = tf.cast(batch['label'], tf.int32)
        top = tf.math.top_k(outputs, k=min(5, len(self.labels))).indices  # [N, 5]
        hits = tf.cast(top == label[:, None], tf.float32)
        return {
            'loss': tf.nn.sparse_softmax_cross_entropy_with_logits(label, outputs),
            'top1': hits[:, 0],
            'top5': tf.reduce_sum(hits, axis=1),
            'prediction': top[:, 0],
        }

    def metrics(self, statistics: dict[str, np.ndarray]) -> dict[str, float]:
        """Means over the evaluation set: 'top1' and 'top5' in [0, 1], 'loss' in nats."""
        return {
            name: float(np.mean(statistics[name], dtype=np.float64))
            for name in ('top1', 'top5', 'loss')
        }

    def _channels(self, images: tf.Tensor) -> tf.Tensor:
        if self.config.model.input_channels == 1:
            return tf.image.rgb_to_grayscale(images)
        return images


def _check_fine_tuning(config: ConfigDict, num_classes: int) -> None:
    weights, layers = config.train.class_weights, config.augment.randaugment_layers
    if weights and (len(weights) != num_classes or not all(w >= 0 for w in weights)):
        raise ValueError(
            f'config.train.class_weights holds {len(weights)} numbers; expected none, or one of at '
            f'least 0 for each of the {num_classes} classes'
        )
    if not 0 <= config.augment.mixup <= 10:
        raise ValueError(f'config.augment.mixup is {config.augment.mixup}; expected in [0, 10]')
    if not 0 <= layers <= 5:
        raise ValueError(f'config.augment.randaugment_layers is {layers}; expected in [0, 5]')
    if not 0 <= config.augment.randaugment_magnitude <= MAX_MAGNITUDE:
        raise ValueError(
            f'config.augment.randaugment_magnitude is {config.augment.randaugment_magnitude}; '
            f'expected in [0, {MAX_MAGNITUDE}]'
        )
