"""Image classification: one label an image (Paper: §6.1)."""

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.cost import check_resolution
from mobilenet_v3.models import build_model
from mobilenet_v3.spec import ModelSpec
from train.data import augment

Batch = dict[str, tf.Tensor]


class Classification:
    """Data, loss and metrics of classification."""

    def __init__(self, config: ConfigDict, spec: ModelSpec, labels: tuple[str, ...]) -> None:
        if config.augment.color not in augment.COLORS:
            raise ValueError(
                f'config.augment.color is {config.augment.color!r}; expected one of '
                + ', '.join(augment.COLORS)
            )
        if not 0 < config.augment.eval_crop <= 1:
            raise ValueError(
                f'config.augment.eval_crop is {config.augment.eval_crop}; expected a fraction in (0, 1]'
            )
        if not 0 <= config.train.label_smoothing <= 1:
            raise ValueError(
                f'config.train.label_smoothing is {config.train.label_smoothing}; expected in [0, 1]'
            )
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

    def train_example(self, raw: Batch, seed: tf.Tensor) -> Batch:
        """Augments one encoded example; `seed` is int32 [2]."""
        image = augment.random_crop(raw['image'], seed, self.resolution, self.config.augment)
        return {'image': image, 'label': raw['label'], 'draws': augment.color_draws(seed)}

    def train_batch(self, batch: Batch) -> Batch:
        """Finishes a batch: colours, and the range [-1, 1]."""
        if self.config.augment.color == 'none':
            images = augment.scale(batch['image'])
        else:
            images = augment.distort_colors(
                batch['image'], batch['draws'], self.config.augment.color
            )
        return {'image': self._channels(images), 'label': batch['label']}

    def eval_example(self, raw: Batch) -> Batch:
        """Decodes one example for evaluation: the central crop."""
        crop = self.config.augment.eval_crop
        image = augment.center_crop(raw['image'], self.resolution, crop)
        return {'image': image, 'label': raw['label']}

    def eval_batch(self, batch: Batch) -> Batch:
        """Finishes a batch for evaluation: the range [-1, 1]."""
        return {**batch, 'image': self._channels(augment.scale(batch['image']))}

    def loss(self, outputs: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Cross-entropy with label smoothing, [N]."""
        targets = tf.one_hot(batch['label'], len(self.labels))
        return tf_keras.losses.categorical_crossentropy(
            targets,
            outputs,
            from_logits=True,
            label_smoothing=self.config.train.label_smoothing,
        )

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
        return {name: float(np.mean(statistics[name])) for name in ('top1', 'top5', 'loss')}

    def _channels(self, images: tf.Tensor) -> tf.Tensor:
        if self.config.model.input_channels == 1:
            return tf.image.rgb_to_grayscale(images)
        return images
