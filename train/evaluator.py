"""Metrics over a whole evaluation set, every example once."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from train.data import pipeline
from train.data.source import Split
from train.task import Task

Statistics = dict[str, np.ndarray]


class Evaluator:
    """Evaluates models of one task on one set of examples; each model is traced once.

    Args:
      task: gives statistics and metrics.
      split: the examples.
      strategy: the devices they are spread over.
      batch_size: global, a multiple of the replicas.
      before_batch: called before each batch; what it raises ends an evaluation.
    """

    def __init__(
        self,
        task: Task,
        split: Split,
        strategy: tf.distribute.Strategy,
        batch_size: int,
        before_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self._before_batch = before_batch
        self._task = task
        self._strategy = strategy
        self._batches = strategy.distribute_datasets_from_function(
            lambda context: pipeline.eval_batches(
                split, task, batch_size=batch_size, context=context
            )
        )
        self._steps: dict[int, Callable] = {}

    def run(self, model: tf_keras.Model) -> dict[str, float]:
        """Metrics of `model`."""
        return self._task.metrics(self.statistics(model))

    def statistics(self, model: tf_keras.Model) -> Statistics:
        """What the task keeps of each example, one row an example; with replicas in their order."""
        if id(model) not in self._steps:
            self._steps[id(model)] = self._make_step(model)
        return collect(self._run_batches(self._steps[id(model)]))

    def _run_batches(self, step: Callable) -> Iterator[dict[str, tf.Tensor]]:
        for batch in self._batches:
            self._before_batch()
            yield step(batch)

    def _make_step(self, model: tf_keras.Model) -> Callable:
        def replica_step(batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], ...]:
            kept = self._task.statistics(model(batch['image'], training=False), batch)
            numbers = {k: v for k, v in kept.items() if v.dtype != tf.bool}
            # Replicas gather no truths.
            truths = {k: tf.cast(v, tf.int32) for k, v in kept.items() if v.dtype == tf.bool}
            return {**numbers, 'weight': batch['weight']}, truths

        # Batches of masks are of many sizes: a trace of each would take longer than its step.
        @tf.function(reduce_retracing=True)
        def step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            # Leaf by leaf: over several workers `gather` takes a tensor, no dict.
            numbers, truths = (
                {k: self._strategy.gather(v, axis=0) for k, v in part.items()}
                for part in self._strategy.run(replica_step, args=(batch,))
            )
            return {**numbers, **{k: tf.cast(v, tf.bool) for k, v in truths.items()}}

        return step


def collect(batches: Iterable[dict[str, tf.Tensor]]) -> Statistics:
    """Joins the statistics of batches and leaves out the copies that fill the last one."""
    joined = pipeline.concatenate([{k: v.numpy() for k, v in batch.items()} for batch in batches])
    real = joined.pop('weight') > 0
    return {name: values[real] for name, values in joined.items()}
