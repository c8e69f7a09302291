"""Batches for training and evaluation from a source and a task."""

from typing import Protocol

import numpy as np
import tensorflow as tf

from train.data.source import Split

Batch = dict[str, tf.Tensor]
FULL_SIZE = 224 * 224  # pixels


class Preprocessing(Protocol):
    """The part of a task that makes batches of raw examples."""

    def train_example(self, raw: Batch, seed: tf.Tensor) -> Batch:
        """One augmented example."""

    def train_batch(self, batch: Batch) -> Batch:
        """The batch that the model is trained on."""

    def eval_example(self, raw: Batch) -> Batch:
        """One example for evaluation."""

    def eval_batch(self, batch: Batch) -> Batch:
        """The batch that the model is evaluated on."""


def train_batches(
    split: Split,
    task: Preprocessing,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless batches, the same for the same seed, whatever the number of workers or restarts.

    Args:
      split: the training examples.
      task: how an example becomes a part of a batch.
      batch_size: global; with a context the batches are the share of one replica.
      seed: of order and augmentation.
      start_step: global steps already taken; their examples are skipped without decoding them.
      context: which of several input pipelines this is.
    """
    first, every = start_step * batch_size, 1
    if context is not None:
        first, every = first + context.input_pipeline_id, context.num_input_pipelines
        # A strategy takes a batch for each of its replicas, one after the other.
        batch_size = context.get_per_replica_batch_size(batch_size)
    examples = split.shuffled(seed, first, every).enumerate()

    def augment_example(number: tf.Tensor, raw: Batch) -> Batch:
        # The position in the run is part of the seed: every epoch sees another crop.
        number = first + every * number
        base = tf.constant([seed & 0x7FFFFFFF, seed >> 31], tf.int32)
        return task.train_example(raw, tf.random.experimental.stateless_fold_in(base, number))

    return (
        examples.map(augment_example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .map(task.train_batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def eval_batches(
    split: Split,
    task: Preprocessing,
    *,
    batch_size: int,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Batches of equal size that hold every example once.

    The last one is filled with copies that 'weight' marks with 0, so that no example is dropped,
    every batch has the same shape, as TPUs ask, and every worker the same number of batches. What
    differs in size, as masks of the size of their images, is padded to the largest of its batch.

    Args:
      split: the evaluation examples.
      task: how an example becomes a part of a batch.
      batch_size: global; with a context the batches are the share of one replica.
      context: which of several input pipelines this is.
    """
    raw = split.examples()
    missing = -split.num_examples % batch_size
    padded = raw.concatenate(raw.take(1).cache().repeat(missing)) if missing else raw
    numbered = padded.enumerate()
    if context is not None:
        numbered = numbered.shard(context.num_input_pipelines, context.input_pipeline_id)
        batch_size = context.get_per_replica_batch_size(batch_size)

    def example(number: tf.Tensor, raw: Batch) -> Batch:
        weight = tf.cast(number < split.num_examples, tf.float32)
        return {**task.eval_example(raw), 'weight': weight}

    filled = numbered.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    ragged = any(not spec.shape.is_fully_defined() for spec in filled.element_spec.values())
    grouped = filled.padded_batch if ragged else filled.batch
    return (
        grouped(batch_size, drop_remainder=True)
        .map(task.eval_batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def images_at_once(most: int, resolution: tuple[int, int]) -> int:
    """How many images go through a network together: fewer of large ones, for the sake of memory.

    Args:
      most: images of 224², the size up to which there are so many.
      resolution: their height and width.
    """
    height, width = resolution
    return max(1, min(most, most * FULL_SIZE // (height * width)))


def concatenate(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Joins the arrays of batches, at least one, along their first axis."""
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
