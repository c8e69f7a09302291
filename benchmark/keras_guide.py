"""Keras's guide to transfer learning: its network with the weights of our runs, and its training.

https://keras.io/guides/transfer_learning/, with tf_keras.applications.MobileNetV3Small as its base.
Unlike the guide, images are shuffled, and nothing is evaluated while it trains.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from benchmark.keras_peer import MODEL
from mobilenet_v3.keras_weights import our_layer
from mobilenet_v3.models import build_model
from train.data.images import decode
from train.data.pipeline import Preprocessing
from train.data.source import Source, Split
from train.initial import read_initial
from train.run import Run, resolve_spec
from train.weights.unfold import IMAGES, unfold_norms

ROTATION = 0.1  # of a full turn, either way
DROPOUT = 0.2
MOST_DIFFERENCE = 1e-3  # of the largest feature, between the same network here and in Keras


def make_base(config: ConfigDict, source: Source) -> tuple[tf_keras.Model, dict[str, Any]]:
    """Keras's network up to its pooling, with the weights that a run of ours starts from.

    Args:
      config: of the run; a `init.sha256` in it is that of the weights that it read.
      source: its data.

    Returns:
      A model from images [N, H, W, 3] in [-1, 1] to features [N, C]; and what its weights are.

    Raises:
      ValueError: the weights cannot be read, are others than the run's, or of a network that Keras
        defines otherwise.
    """
    initial = read_initial(config, resolve_spec(config))
    found = initial.imported.sha256
    if config.init.sha256 not in ('', found):
        raise ValueError(
            f'{config.init.source} has changed since the run started from it: its sha256 is '
            f'{found}, expected {config.init.sha256}; bring it back, or train anew'
        )
    resolution = tuple(config.model.resolution)
    ours = build_model(initial.spec, resolution=resolution, num_classes=len(source.labels))
    print(initial.describe(initial.carry(ours)), flush=True)
    # As our run does, so that both train the same numbers.
    task = Run(initial.config, initial.spec, source.labels).make_task()
    unfold_norms(ours, _some_images(source.train, task))
    base = getattr(tf_keras.applications, MODEL)(
        input_shape=(*resolution, 3),
        include_top=False,
        pooling='avg',
        weights=None,
        include_preprocessing=False,
    )
    carry_into_keras(ours, base)
    difference = feature_difference(ours, base, next(_some_images(source.train, task)))
    if not difference <= MOST_DIFFERENCE:
        spec = initial.spec
        raise ValueError(
            f'with the weights of {config.init.source}, the features of Keras differ from ours by '
            f'{difference:.2g} of the largest: their network is defined otherwise (padding '
            f'{spec.padding}, ε {spec.batch_norm_epsilon:g}, normalize {spec.normalize}); give '
            'weights of Keras, of the original code or a released file'
        )
    return base, {
        'init': config.init.source,
        'sha256': found,
        'feature_difference': difference,
    }


def carry_into_keras(source: tf_keras.Model, target: tf_keras.Model) -> None:
    """Copies weights of our network into tf_keras.applications' of the same definition, without top.

    The way back from `mobilenet_v3.carry_keras_weights`.
    """
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(our_layer(layer.name)).get_weights())


def feature_difference(ours: tf_keras.Model, base: tf_keras.Model, images: tf.Tensor) -> float:
    """How far the pooled features of two networks are apart, as a part of the largest.

    Args:
      ours: a classification network.
      base: of Keras, to features [N, C].
      images: [N, H, W, 3] in [-1, 1].
    """
    pooled = tf_keras.Model(ours.input, ours.get_layer('pool').output)(images, training=False)
    expected, found = np.squeeze(pooled, (1, 2)), np.asarray(base(images, training=False))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _some_images(split: Split, task: Preprocessing) -> Iterator[tf.Tensor]:
    """Those that `train.loop` unfolds normalisations by, [N, H, W, 3] in [-1, 1]."""
    examples = split.shuffled(0, 0).take(min(IMAGES, split.num_examples))
    for batch in examples.map(task.eval_example).batch(64).map(task.eval_batch):
        yield batch['image']


def add_head(base: tf_keras.Model, num_classes: int) -> tf_keras.Model:
    """The guide's model: images [N, H, W, 3] in [0, 255] to logits [N, num_classes]."""
    images = tf_keras.Input(base.input_shape[1:])
    x = tf_keras.layers.RandomFlip('horizontal')(images)
    x = tf_keras.layers.RandomRotation(ROTATION)(x)
    x = tf_keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    # Batch normalisation keeps its statistics, unfrozen too.
    x = base(x, training=False)
    x = tf_keras.layers.Dropout(DROPOUT)(x)
    return tf_keras.Model(images, tf_keras.layers.Dense(num_classes)(x))


def train(
    model: tf_keras.Model,
    batches: tf.data.Dataset,
    *,
    epoch: int,
    rate: float,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, float]:
    """Trains what is trainable by Adam for some time, its compilation included.

    Args:
      model: as of `add_head`.
      batches: endless.
      epoch: steps after which a line is printed.
      rate: learning rate.
      seconds: after which no more step is taken.
      clock: tells the seconds.

    Returns:
      The steps that were taken, and the seconds.
    """

    def check(batch: int, logs: dict) -> None:
        if clock() - began >= seconds:
            model.stop_training = True

    def tell(epoch: int, logs: dict) -> None:
        figures = ', '.join(f'{name} {value:.4f}' for name, value in logs.items())
        print(f'{clock() - began:.0f} of {seconds:.0f} s: {figures}', flush=True)

    began = clock()
    model.compile(
        optimizer=tf_keras.optimizers.Adam(rate),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=['accuracy'],
    )
    model.fit(
        batches,
        steps_per_epoch=epoch,
        epochs=1_000_000,  # the clock ends it
        callbacks=[tf_keras.callbacks.LambdaCallback(on_batch_end=check, on_epoch_end=tell)],
        verbose=0,
    )
    return int(model.optimizer.iterations.numpy()), clock() - began


def whole_images(split: Split, resolution: Sequence[int]) -> tf.data.Dataset:
    """Whole images [H, W, 3], uint8, and labels, in order; decoded once and kept in memory."""

    def prepare(raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.image.resize(decode(raw['image']), resolution)
        # A quarter of the memory of the guide's float32.
        image = tf.cast(tf.round(image), tf.uint8)
        return tf.ensure_shape(image, [*resolution, 3]), raw['label']

    return split.examples().map(prepare, num_parallel_calls=tf.data.AUTOTUNE).cache()


def train_batches(
    split: Split, resolution: Sequence[int], batch_size: int, seed: int
) -> tf.data.Dataset:
    """Endless full batches of `whole_images`; each epoch has every image once, in another order."""
    images = whole_images(split, resolution)
    order = images.shuffle(split.num_examples, seed=seed, reshuffle_each_iteration=True).repeat()
    return order.batch(batch_size).prefetch(tf.data.AUTOTUNE)
