"""A .tflite file against the Keras model that it was made of, on the evaluation set."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from export.product import Answers, Product, Products
from train.data import pipeline
from train.data.pipeline import Batch
from train.data.source import Split
from train.file_forms import FORMS
from train.task import Outputs, Task
from train.tflite_file import TFLiteModel

BATCH_SIZE = 50  # images of 224²

Ask = Callable[[Batch], Answers]  # the answers to the images of a batch


@dataclasses.dataclass(frozen=True)
class Verifier:
    """What it takes to verify files of a network.

    Nothing but statistics outlives a batch: the answers of a segmenter to a dataset fill no memory.

    Attributes:
      task: gives statistics and metrics.
      products: what networks of the task become.
      product: what the files are.
      split: the evaluation set.
    """

    task: Task
    products: Products
    product: Product
    split: Split

    def verify(
        self,
        path: str | os.PathLike,
        floats: Callable[[tf.Tensor], Outputs],
        quantized: Callable[[tf.Tensor], Outputs] | None = None,
    ) -> dict:
        """Compares a file with Keras.

        Args:
          path: of the file.
          floats: the float network, a function of the images of the task's batches.
          quantized: the quantized network that the file was made of, where it was.

        Returns:
          For the card: {'examples', 'goal': name of the metric that is to grow, 'float', 'keras' and
          'file': metrics of each, 'agreement' of the file and Keras, 'agreement_with_float', and of
          numbers that can be compared 'max_difference', 'mean_difference', for a quantized output
          'mean_steps', the latter in its steps: each a number, or a dict by the output's name}. Of a
          quantized network 'kernels', too: the file beside itself without XNNPACK.
        """
        answers, scales = self._file(path, delegate=True)
        asked = {'file': answers, 'float': self._network(floats)}
        keras = 'float'
        if quantized is not None:
            keras = 'keras'
            asked |= {
                'keras': self._network(quantized),
                'without_xnnpack': self._file(path, delegate=False)[0],
            }
        metrics, pairs = self._run(asked, scales, f'verify {path}')
        evaluation = {
            'examples': self.split.num_examples,
            'goal': self.task.goal,
            'float': metrics['float'],
            'keras': metrics[keras],
            'file': metrics['file'],
            **pairs[keras],
            'agreement_with_float': pairs['float']['agreement'],
        }
        if quantized is not None:
            evaluation['kernels'] = {
                'without_xnnpack': metrics['without_xnnpack'],
                **pairs['without_xnnpack'],
            }
        return evaluation

    def _run(
        self, asked: dict[str, Ask], scales: Mapping[str, float], title: str
    ) -> tuple[dict[str, dict[str, float]], dict[str, dict]]:
        """Metrics of all that are asked, and 'file' compared with each of the others."""
        size = pipeline.images_at_once(BATCH_SIZE, self.task.resolution)
        size = min(size, self.split.num_examples)
        batches = pipeline.eval_batches(self.split, self.task, batch_size=size)
        kept: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in asked}
        comparisons = {name: _Comparison(scales) for name in asked if name != 'file'}
        for batch in tqdm(batches, total=-(-self.split.num_examples // size), desc=title):
            real = batch['weight'].numpy() > 0
            answers = {name: ask(batch) for name, ask in asked.items()}
            for name, answer in answers.items():
                kept[name].append({k: v[real] for k, v in answer.statistics.items()})
            for name, comparison in comparisons.items():
                agree = self.products.agreement(answers['file'], answers[name])
                comparison.agreements.append(agree[real])
                if self.product.comparable:
                    comparison.add(answers['file'].given, answers[name].given, real)
        metrics = {
            name: self.task.metrics(pipeline.concatenate(parts)) for name, parts in kept.items()
        }
        return metrics, {name: comparison.result() for name, comparison in comparisons.items()}

    def _network(self, model: Callable[[tf.Tensor], Outputs]) -> Ask:
        @tf.function(reduce_retracing=True)
        def answer(batch: Batch) -> tuple[Any, Any, Any]:
            outputs = model(batch['image'])
            # What is not compared would be computed in vain, or is a stand-in of an op.
            given = self.product.finish.function(outputs) if self.product.comparable else ()
            return given, outputs, self.task.statistics(outputs, batch)

        return lambda batch: Answers(*tf.nest.map_structure(np.asarray, answer(batch)))

    def _file(self, path: str | os.PathLike, *, delegate: bool) -> tuple[Ask, Mapping[str, float]]:
        """What a file answers, with XNNPACK or without, and the steps of its outputs."""
        model = TFLiteModel(path, delegate=delegate)
        form = FORMS[self.task.config.task](str(path), model, False)
        statistics = tf.function(self.task.statistics, reduce_retracing=True)

        def ask(batch: Batch) -> Answers:
            given = model(batch['image'].numpy())
            outputs = self.product.restore(form.outputs(given))
            kept = statistics(tf.nest.map_structure(tf.constant, outputs), batch)
            return Answers(given, outputs, tf.nest.map_structure(np.asarray, kept))

        return ask, model.output_scales


class _Comparison:
    """Two answers to the same images, batch by batch."""

    def __init__(self, scales: Mapping[str, float]) -> None:
        self._scales = scales
        self.agreements: list[np.ndarray] = []
        self._largest: dict[str, float] = {}
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, some: Outputs, others: Outputs, real: np.ndarray) -> None:
        """Compares the numbers of the examples that are `real`."""
        right = _named(others)
        for name, values in _named(some).items():
            difference = np.abs(values[real] - right[name][real])
            self._largest[name] = max(self._largest.get(name, 0.0), float(difference.max()))
            total = float(difference.sum(dtype=np.float64))
            self._sums[name] = self._sums.get(name, 0.0) + total
            self._counts[name] = self._counts.get(name, 0) + difference.size

    def result(self) -> dict:
        """'agreement', and the differences where there were any to be added."""
        result: dict = {'agreement': float(np.mean(np.concatenate(self.agreements)))}
        if not self._counts:
            return result
        means = {name: self._sums[name] / count for name, count in self._counts.items()}
        result['max_difference'] = _unnamed(self._largest)
        result['mean_difference'] = _unnamed(means)
        # The only output of a file has the name of its signature.
        scales = {'': max(self._scales.values())} if '' in means else self._scales
        if all(scales.values()):
            result['mean_steps'] = _unnamed({name: means[name] / scales[name] for name in means})
        return result


def _named(outputs: Outputs) -> dict[str, np.ndarray]:
    return outputs if isinstance(outputs, dict) else {'': outputs}


def _unnamed(values: dict[str, float]) -> float | dict[str, float]:
    return values[''] if values.keys() == {''} else values
