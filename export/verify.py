"""A .tflite file against the Keras model that it was made of."""

import dataclasses

import numpy as np
import tensorflow as tf
import tf_keras
from tqdm import tqdm

from export.tflite_file import TFLiteModel
from train.data import pipeline
from train.data.source import Split
from train.evaluate import collect
from train.tasks.classification import Classification

BATCH_SIZE = 50


@dataclasses.dataclass(frozen=True)
class Reference:
    """The evaluation set with what Keras answers, so that several files share one pass of Keras.

    Attributes:
      batches: what the task made of the images, with 'image' and 'weight'.
      outputs: of Keras, one array a batch.
      metrics: of Keras.
      statistics: of Keras, one row an example.
    """

    batches: tf.data.Dataset
    outputs: list[np.ndarray]
    metrics: dict[str, float]
    statistics: dict[str, np.ndarray]


def make_reference(model: tf_keras.Model, task: Classification, split: Split) -> Reference:
    """Runs Keras over the evaluation set."""
    batch_size = min(BATCH_SIZE, split.num_examples)
    batches = pipeline.eval_batches(split, task, batch_size=batch_size)
    predict = tf.function(lambda images: model(images, training=False))
    outputs, kept = [], []
    for batch in batches:
        output = predict(batch['image'])
        outputs.append(output.numpy())
        kept.append({**task.statistics(output, batch), 'weight': batch['weight']})
    statistics = collect(kept)
    return Reference(batches, outputs, task.metrics(statistics), statistics)


def compare(path: str, task: Classification, reference: Reference) -> dict:
    """Evaluates a file on the evaluation set and compares its answers with Keras's.

    Returns:
      {'examples', 'keras': metrics, 'file': metrics, 'agreement': fraction of examples with the
      same top-1, 'max_difference' and 'mean_difference' of the outputs' real values}.
    """
    model = TFLiteModel(path)
    kept, differences = [], []
    batches = zip(reference.batches, reference.outputs, strict=True)
    for batch, expected in tqdm(batches, total=len(reference.outputs), desc=f'verify {path}'):
        output = model(batch['image'].numpy())
        real = batch['weight'].numpy() > 0
        differences.append(np.abs(output - expected)[real])
        kept.append({**task.statistics(tf.constant(output), batch), 'weight': batch['weight']})
    statistics = collect(kept)
    difference = np.concatenate(differences)
    same = statistics['prediction'] == reference.statistics['prediction']
    return {
        'examples': len(same),
        'keras': reference.metrics,
        'file': task.metrics(statistics),
        'agreement': float(np.mean(same)),
        'max_difference': float(difference.max()),
        'mean_difference': float(difference.mean()),
    }
