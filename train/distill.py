"""Learning from a teacher: a bigger run, or the float network of a quantized one.

Answers: cross-entropy with the teacher's, softened by a temperature (arXiv:1503.02531). Features: which
images of a batch the network finds alike (arXiv:1907.09682), which asks nothing of the widths of the
two networks.
"""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from train.data.pipeline import Batch
from train.run import load_trained
from train.task import Task

KINDS = ('logits', 'features')
FEATURES_LAYER = 'pool'
# Of the loss of features, whose terms are squares of small numbers. Source: arXiv:1907.09682, §4.
FEATURES_SCALE = 3000.0


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained network that does not learn any more.

    Attributes:
      model: from images [N, h, w, C] in [-1, 1] to logits [N, k].
      checksum: of its weights.
    """

    model: tf_keras.Model
    checksum: str


def read_teacher(config: ConfigDict, labels: tuple[str, ...]) -> Teacher:
    """The averaged weights of the run that config.distill.teacher names.

    Raises:
      ValueError: there is no such run, or its classes or channels differ from the student's.
    """
    run, model, _ = load_trained(config.distill.teacher)
    if run.config.task != config.task or run.labels != labels:
        raise ValueError(
            f'the teacher {config.distill.teacher} tells {len(run.labels)} classes of '
            f'{run.config.task} apart, expected the {len(labels)} of this run, with the same names'
        )
    if model.input_shape[-1] != config.model.input_channels:
        raise ValueError(
            f'the teacher {config.distill.teacher} takes {model.input_shape[-1]} channels, expected '
            f'the {config.model.input_channels} of this run'
        )
    return Teacher(model, checksum(model))


class TaughtTask:
    """A task whose network learns from labels and from a teacher, as config.distill weighs them.

    Args:
      task: of the student.
      teacher: of the same classes; images are resized for it where its resolution differs.

    Raises:
      ValueError: config.distill is out of range.
    """

    def __init__(self, task: Task, teacher: Teacher) -> None:
        check_distill(task.config.distill)
        self.config, self.labels = task.config, task.labels
        self.resolution, self.head = task.resolution, task.head
        self.train_example, self.eval_example = task.train_example, task.eval_example
        self.train_batch, self.eval_batch = task.train_batch, task.eval_batch
        self.eval_image = task.eval_image
        self.metrics, self.goal = task.metrics, task.goal
        self._task = task
        self._teacher = _with_features(teacher.model)

    def build(self) -> tf_keras.Model:
        """The student; it also gives the features that are compared."""
        return _with_features(self._task.build())

    def build_for_training(self) -> tf_keras.Model:
        """The same, for the images of training."""
        return _with_features(self._task.build_for_training())

    def loss(self, outputs: dict[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        """The task's loss and the teacher's, [N]."""
        images = batch['image']
        if self._teacher.input_shape[1:3] != images.shape[1:3]:
            images = tf.image.resize(images, self._teacher.input_shape[1:3])
        taught = self._teacher(images, training=False)
        if self.config.distill.on == 'logits':
            return taught_loss(self._task, outputs['logits'], batch, taught['logits'])
        weight = self.config.distill.weight
        alike = similarity_loss(outputs['features'], taught['features'])
        return (1.0 - weight) * self._task.loss(outputs['logits'], batch) + weight * alike

    def statistics(self, outputs: dict[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """As of the task."""
        return self._task.statistics(outputs['logits'], batch)


def check_distill(config: ConfigDict) -> None:
    """Refuses a `distill` part of a config that is out of range."""
    if not 0 <= config.weight <= 1 or not config.temperature > 0:
        raise ValueError(
            f'config.distill has weight {config.weight} and temperature {config.temperature}; '
            'expected a weight in [0, 1] and a temperature above 0'
        )
    if config.on not in KINDS:
        raise ValueError(f'config.distill.on is {config.on!r}; expected one of {", ".join(KINDS)}')


def taught_loss(task: Task, outputs: tf.Tensor, batch: Batch, taught: tf.Tensor) -> tf.Tensor:
    """The task's loss and cross-entropy with a teacher's logits, as config.distill weighs them, [N]."""
    weight, temperature = task.config.distill.weight, task.config.distill.temperature
    soft = soft_loss(outputs, taught, temperature)
    return (1.0 - weight) * task.loss(outputs, batch) + weight * soft


def soft_loss(outputs: tf.Tensor, taught: tf.Tensor, temperature: float) -> tf.Tensor:
    """Cross-entropy with a teacher's logits [N, …, k], both divided by the temperature, [N, …]."""
    soft = tf.nn.softmax_cross_entropy_with_logits(
        tf.nn.softmax(taught / temperature), outputs / temperature
    )
    # The gradients of soft answers shrink with the square of the temperature.
    return temperature**2 * soft


def similarity_loss(ours: tf.Tensor, taught: tf.Tensor) -> tf.Tensor:
    """How much two networks differ in which images of the batch they find alike, [N].

    Args:
      ours: features [N, …] of the student.
      taught: features [N, …] of the teacher, of any width.
    """

    def alike(features: tf.Tensor) -> tf.Tensor:  # [N, N], its rows of length 1
        flat = tf.cast(tf.reshape(features, [tf.shape(features)[0], -1]), tf.float32)
        return tf.math.l2_normalize(tf.matmul(flat, flat, transpose_b=True), axis=1)

    squares = tf.math.squared_difference(alike(ours), alike(taught))
    return FEATURES_SCALE * tf.reduce_mean(squares, axis=1)


def checksum(model: tf_keras.Model) -> str:
    """SHA-256 of all weights."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _with_features(model: tf_keras.Model) -> tf_keras.Model:
    """The same layers, so that checkpoints of one fit the other, with two outputs."""
    outputs = {'logits': model.output, 'features': model.get_layer(FEATURES_LAYER).output}
    return tf_keras.Model(model.input, outputs, name=model.name)
