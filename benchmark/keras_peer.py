"""What people use instead of this project: tf_keras.applications, a plain step, a plain pipeline, fit.

Trains tf_keras.applications.MobileNetV3Small from scratch, the way most do, for a comparison of
accuracies; the same number of images at the same resolution makes it one.

    python -m benchmark.keras_peer --dataset=folder:photos --resolution=96 --epochs=40 \\
        --batch_size=64 --output=runs/photos_keras/results.json

`model.fit` with Adam at its default rate; whole images resized bilinearly, every second one flipped,
in [-1, 1]. Nothing else of the network or of fit is changed. Keras's BN momentum of 0.999 is too slow
for a few thousand steps: such a run evaluates at chance. --batch_norm_momentum=0.99 mends that.
"""

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from benchmark.main import check_output
from configs import base
from train import cli
from train.files import write_json

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras
    from ml_collections import ConfigDict

    from train.data.source import Split

FLAGS = flags.FLAGS
MODEL = 'MobileNetV3Small'


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        'dataset', None, 'TFDS name, folder:PATH, tfrecord:PATH or builtin:shapes.', required=True
    )
    flags.DEFINE_integer('resolution', 96, 'Side of the input in pixels.', lower_bound=32)
    flags.DEFINE_integer('epochs', 40, 'Passes over the training set.', lower_bound=1)
    flags.DEFINE_integer('batch_size', 64, 'Images a step.', lower_bound=1)
    flags.DEFINE_float(
        'batch_norm_momentum', None, "BN momentum in place of Keras's 0.999, for a fairer peer."
    )
    flags.DEFINE_integer('seed', 0, 'Of weights, order, flips and dropout.')
    flags.DEFINE_string('output', 'results.json', 'Where the figures go, as JSON.')


def main() -> None:
    """Reads the flags, trains and writes the JSON."""
    output = Path(FLAGS.output)
    check_output(output, [])  # before the minutes of training
    cli.import_tensorflow()
    results = fit(
        FLAGS.dataset,
        resolution=FLAGS.resolution,
        epochs=FLAGS.epochs,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        batch_norm_momentum=FLAGS.batch_norm_momentum,
    )
    write_json(output, results)
    print(f'top-1 {results["top1"]:.4f}, loss {results["loss"]:.4f}; written to {output}')


def fit(
    dataset: str,
    *,
    resolution: int,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    batch_norm_momentum: float | None = None,
) -> dict[str, Any]:
    """Trains and evaluates; 'top1' in [0, 1], 'loss' in nats, 'seconds' of the training alone.

    Raises:
      ValueError: there is no such dataset, or it is not laid out as expected.
    """
    import tf_keras

    from train.data.source import open_source

    config = base.get_config()
    config.data.dataset = dataset
    source = open_source(config.data)
    tf_keras.utils.set_random_seed(seed)
    model = make_peer(MODEL, resolution, len(source.labels))
    if batch_norm_momentum is not None:
        for layer in model.layers:
            if isinstance(layer, tf_keras.layers.BatchNormalization):
                layer.momentum = batch_norm_momentum
    model.compile(
        optimizer=tf_keras.optimizers.Adam(),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=['accuracy'],
    )
    began = time.monotonic()
    model.fit(
        train_batches(source.train, resolution, batch_size, seed),
        steps_per_epoch=math.ceil(source.train.num_examples / batch_size),
        epochs=epochs,
        verbose=2,
    )
    seconds = time.monotonic() - began
    loss, top1 = model.evaluate(whole_images(source.val, resolution, batch_size), verbose=0)
    return {
        'model': f'tf_keras.applications.{MODEL}',
        'dataset': dataset,
        'resolution': resolution,
        'epochs': epochs,
        'batch_size': batch_size,
        'seed': seed,
        'batch_norm_momentum': batch_norm_momentum or 0.999,
        'images_seen': epochs * source.train.num_examples,
        'examples': source.val.num_examples,
        'top1': float(top1),
        'loss': float(loss),
        'seconds': seconds,
    }


def train_batches(split: 'Split', resolution: int, batch_size: int, seed: int) -> 'tf.data.Dataset':
    """Endless: each epoch has every example once, in another order; half of them flipped.

    The last batch of an epoch holds what is left. Read by one iterator: a new one begins with the
    first epoch again.
    """
    import tensorflow as tf

    decode = functools.partial(_decode_whole, resolution=resolution)
    whole, rest = divmod(split.num_examples, batch_size)
    return (
        split.shuffled(seed, 0)
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .map(_flip, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .rebatch([batch_size] * whole + [rest] * (rest > 0))
        .prefetch(tf.data.AUTOTUNE)
    )


def whole_images(split: 'Split', resolution: int, batch_size: int) -> 'tf.data.Dataset':
    """Every example once, in order: images [N, resolution, resolution, 3] in [-1, 1] and labels."""
    import tensorflow as tf

    decode = functools.partial(_decode_whole, resolution=resolution)
    return (
        split.examples()
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def _decode_whole(raw: 'dict[str, tf.Tensor]', resolution: int) -> 'tuple[tf.Tensor, tf.Tensor]':
    import tensorflow as tf

    image = tf.io.decode_image(raw['image'], channels=3, expand_animations=False)
    image = tf.image.resize(image, (resolution, resolution))
    image = tf.ensure_shape(image, [resolution, resolution, 3])
    return image / 127.5 - 1.0, raw['label']


def _flip(image: 'tf.Tensor', label: 'tf.Tensor') -> 'tuple[tf.Tensor, tf.Tensor]':
    import tensorflow as tf

    return tf.image.random_flip_left_right(image), label


def make_peer(name: str, resolution: int, num_classes: int) -> 'tf_keras.Model':
    """A network of tf_keras.applications: images [N, H, W, 3] in [-1, 1] to logits [N, k]."""
    import tf_keras

    return getattr(tf_keras.applications, name)(
        input_shape=(resolution, resolution, 3),
        weights=None,
        classes=num_classes,
        include_preprocessing=False,
        classifier_activation=None,
    )


def plain_step(
    model: 'tf_keras.Model', images: 'tf.Tensor', labels: 'tf.Tensor'
) -> Callable[[], float]:
    """A training step as tutorials write it, on one batch again and again; returns the loss."""
    import tf_keras

    cross_entropy = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = tf_keras.optimizers.RMSprop(1e-3, momentum=0.9)
    return _step(model, optimizer, lambda: cross_entropy(labels, model(images, training=True)))


def recipe_step(
    model: 'tf_keras.Model', images: 'tf.Tensor', labels: 'tf.Tensor', config: 'ConfigDict'
) -> Callable[[], float]:
    """The same with the maths of a recipe: smoothed labels, weight decay, averaged weights.

    All of it by Keras's own means. Its optimizer averages no BN statistics and starts the mean
    squares at zero; otherwise a step computes what `train.trainer.Trainer`'s does.
    """
    import tensorflow as tf
    import tf_keras

    cross_entropy = tf_keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=config.train.label_smoothing
    )
    optimizer = tf_keras.optimizers.RMSprop(
        1e-3,
        rho=config.optimizer.rho,
        momentum=config.optimizer.momentum,
        epsilon=config.optimizer.epsilon,
        use_ema=True,
        ema_momentum=config.ema.decay,
        ema_overwrite_frequency=None,  # RMSprop's own default puts averages in place of weights
    )
    targets = tf.one_hot(labels, model.output_shape[-1])
    kernels = [layer.kernel for layer in model.layers if type(layer) is tf_keras.layers.Conv2D]

    def loss() -> tf.Tensor:
        decay = tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])
        outputs = model(images, training=True)
        return cross_entropy(targets, outputs) + config.train.weight_decay * decay

    return _step(model, optimizer, loss)


def _step(
    model: 'tf_keras.Model',
    optimizer: 'tf_keras.optimizers.Optimizer',
    forward: 'Callable[[], tf.Tensor]',
) -> Callable[[], float]:
    import tensorflow as tf

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = forward()
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return lambda: float(step())


def plain_batches(split: 'Split', config: 'ConfigDict') -> 'tf.data.Dataset':
    """Inception preprocessing as tutorials write it, image by image; endless.

    Images [N, H, W, 3] in [-1, 1] and labels, with the distributions of `config.augment`.
    """
    import tensorflow as tf

    from train.data import augment

    size = tuple(config.model.resolution)

    def example(raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(raw['image'], channels=3)
        begin, extent, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image),
            tf.zeros([1, 0, 4]),
            seed=1,  # as are the others: without seeds TensorFlow refuses them when it is deterministic
            min_object_covered=0.0,
            aspect_ratio_range=config.augment.aspect,
            area_range=config.augment.area,
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        image = tf.image.resize(tf.slice(image, begin, extent), size) / 255.0
        image = tf.image.random_flip_left_right(tf.ensure_shape(image, [*size, 3]), seed=2)
        image = tf.image.random_brightness(image, augment.BRIGHTNESS, seed=3)
        image = tf.image.random_saturation(image, *augment.SATURATION, seed=4)
        return tf.clip_by_value(image, 0.0, 1.0) * 2.0 - 1.0, raw['label']

    return (
        split.shuffled(0, 0)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(config.train.batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


if __name__ == '__main__':
    cli.run(main, define_flags)
