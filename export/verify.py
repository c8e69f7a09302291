"""A .tflite file against the Keras model that it was made of, on the evaluation set."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from train.data import pipeline
from train.data.source import Split
from train.evaluator import collect
from train.task import Task
from train.tflite_file import TFLiteModel

BATCH_SIZE = 50


@dataclasses.dataclass(frozen=True)
class Reference:
    """The evaluation set with what Keras answers, so that several files share one pass of Keras.

    Attributes:
      task: whose images and figures they are.
      batches: what the task made of the images, with 'image' and 'weight'.
      outputs: of Keras, one array a batch.
      metrics: of Keras.
      statistics: of Keras, one row an example.
    """

    task: Task
    batches: tf.data.Dataset
    outputs: list[np.ndarray]
    metrics: dict[str, float]
    statistics: dict[str, np.ndarray]


def make_reference(model: Callable[[tf.Tensor], tf.Tensor], task: Task, split: Split) -> Reference:
    """Runs Keras over the evaluation set; `model` takes the images of the task's batches."""
    batch_size = min(BATCH_SIZE, split.num_examples)
    batches = pipeline.eval_batches(split, task, batch_size=batch_size)
    predict = tf.function(model)
    outputs, kept = [], []
    for batch in batches:
        output = predict(batch['image'])
        outputs.append(output.numpy())
        kept.append({**task.statistics(output, batch), 'weight': batch['weight']})
    statistics = collect(kept)
    return Reference(task, batches, outputs, task.metrics(statistics), statistics)


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a file answers on the evaluation set.

    Attributes:
      outputs: real values of the output, [examples, …].
      scale: the size of one step of it; 0 for floats.
      statistics: one row an example.
      metrics: over all.
    """

    outputs: np.ndarray
    scale: float
    statistics: dict[str, np.ndarray]
    metrics: dict[str, float]


def run_file(
    path: str | os.PathLike,
    reference: Reference,
    *,
    probabilities: bool = False,
    delegate: bool = True,
) -> Answers:
    """Runs a file on the images of a reference, with XNNPACK or with the kernels without it.

    Args:
      path: the file.
      reference: whose task's batches are of images in [-1, 1].
      probabilities: whether the file gives probabilities and not logits.
      delegate: whether XNNPACK takes part.
    """
    model = TFLiteModel(path, delegate=delegate)
    outputs, kept = [], []
    for batch in tqdm(reference.batches, total=len(reference.outputs), desc=f'verify {path}'):
        output = model(batch['image'].numpy())
        outputs.append(output[batch['weight'].numpy() > 0])
        # Up to a constant, which no metric sees, the logits are the logarithms of probabilities.
        logits = np.log(np.maximum(output, 1e-9)) if probabilities else output
        kept.append(
            {**reference.task.statistics(tf.constant(logits), batch), 'weight': batch['weight']}
        )
    statistics = collect(kept)
    metrics = reference.task.metrics(statistics)
    return Answers(np.concatenate(outputs), model.output_scale, statistics, metrics)


def compare(answers: Answers, reference: Reference, *, probabilities: bool = False) -> dict:
    """A file's answers beside Keras's.

    Returns:
      {'examples', 'keras': metrics, 'file': metrics, 'agreement': fraction of examples with the
      same top-1, 'max_difference' and 'mean_difference' of the outputs' real values, and for a
      quantized output 'mean_steps', the latter in its steps}.
    """
    expected = collect(
        {'outputs': tf.constant(output), 'weight': batch['weight']}
        for output, batch in zip(reference.outputs, reference.batches, strict=True)
    )['outputs']
    if probabilities:
        expected = tf.nn.softmax(expected).numpy()
    difference = np.abs(answers.outputs - expected)
    result: dict = {
        'examples': len(difference),
        'keras': reference.metrics,
        'file': answers.metrics,
        'agreement': agreement(answers.statistics, reference.statistics),
        'max_difference': float(difference.max()),
        'mean_difference': float(difference.mean()),
    }
    if answers.scale:
        result['mean_steps'] = result['mean_difference'] / answers.scale
    return result


def compare_kernels(answers: Answers, others: Answers) -> dict:
    """One file with XNNPACK beside itself without: it should agree with itself."""
    difference = np.abs(answers.outputs - others.outputs)
    result: dict = {
        'without_xnnpack': others.metrics,
        'agreement': agreement(answers.statistics, others.statistics),
        'mean_difference': float(difference.mean()),
    }
    if answers.scale:
        result['mean_steps'] = result['mean_difference'] / answers.scale
    return result


def agreement(some: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """The fraction of examples with the same prediction."""
    return float(np.mean(some['prediction'] == others['prediction']))
