"""Quantization-aware training: the quantized network through the same loop as the float one."""

import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from configs.quantize import PARTS
from export.graph import Graph, build
from export.products import PRODUCTS
from export.quantize import (
    HALF_STEP,
    Observing,
    Ranges,
    align_means,
    quantized_model,
    to_pixel_grid,
)
from train import loop
from train.clock import steps_of
from train.data.pipeline import Batch, images_at_once
from train.data.source import Source
from train.distill import check_distill, checksum
from train.run import Run, check_values
from train.task import Outputs, Task

_REPLICAS = 8  # 2, 4 or 8 of them share a batch of evaluation


class QuantizedTask:
    """A task whose network is the quantized one, taught by labels and the float network.

    Args:
      task: of the float network.
      graph: its deploy form.
      ranges: of its activations.
      observing: how training moves them.
    """

    def __init__(self, task: Task, graph: Graph, ranges: Ranges, observing: Observing) -> None:
        self.config, self.labels = task.config, task.labels
        self.resolution, self.head = task.resolution, task.head
        self.train_example, self.eval_example = task.train_example, task.eval_example
        self.eval_image = task.eval_image
        self.statistics, self.metrics, self.goal = task.statistics, task.metrics, task.goal
        self._task, self._graph, self._ranges = task, graph, ranges
        self._observing = observing
        self._teacher = build(graph) if task.config.distill.weight else None

    def build(self) -> tf_keras.Model:
        """The quantized network with the float weights and the calibrated ranges."""
        return quantized_model(self._graph, self._ranges, self._observing)

    def build_for_training(self) -> tf_keras.Model:
        """The same: what is quantized has one size."""
        return self.build()

    def train_batch(self, batch: Batch) -> Batch:
        """The task's batch, as a quantized network takes it."""
        return _on_grid(self._task.train_batch(batch))

    def eval_batch(self, batch: Batch) -> Batch:
        """The task's batch, as a quantized network takes it."""
        return _on_grid(self._task.eval_batch(batch))

    def loss(self, outputs: Outputs, batch: Batch) -> tf.Tensor:
        """The task's loss and the distance to the float network's answers, [N]."""
        if self._teacher is None:
            return self._task.loss(outputs, batch)
        taught = self._teacher(batch['image'] + HALF_STEP, training=False)
        return imitating_loss(self._task, outputs, batch, taught)


def imitating_loss(task: Task, outputs: Outputs, batch: Batch, taught: Outputs) -> tf.Tensor:
    """The task's loss and the distance to the float network's answers, as config.distill weighs, [N]."""
    distill = task.config.distill
    imitation = PRODUCTS[task.config.task].imitation
    far = imitation(outputs, taught, batch, distill.temperature)
    return (1.0 - distill.weight) * task.loss(outputs, batch) + distill.weight * far


def finetune(
    run: Run,
    source: Source,
    graph: Graph,
    ranges: Ranges,
    workdir: str,
    strategy: tf.distribute.Strategy | None = None,
) -> tf_keras.Model | None:
    """Trains the quantized form of a network; a run in `workdir` is continued.

    Args:
      run: of `quantized_run`.
      source: its data.
      graph: the network's deploy form.
      ranges: of its activations.
      workdir: receives checkpoints and metrics as a run of train.main does.
      strategy: where to run.

    Returns:
      The quantized model with averaged weights; None if a signal stopped the run.
    """
    config = run.config
    steps_per_epoch = source.train.num_examples / config.train.batch_size
    observing = Observing(
        decay=config.quantize.observer_decay,
        steps=steps_of(config.quantize.observe_epochs, steps_per_epoch),
    )
    finished = loop.train(
        run,
        source,
        workdir,
        strategy,
        make_task=lambda run: QuantizedTask(run.make_task(), graph, ranges, observing),
    )
    if finished is None:
        return None
    trainer, _ = finished
    align_means(trainer.averaged)
    return trainer.averaged


def quantized_run(run: Run, recipe: ConfigDict, model: tf_keras.Model, num_examples: int) -> Run:
    """The run that fine-tunes the quantized form of a trained run's model.

    Args:
      run: of the float network.
      recipe: of `configs/quantize.py`; its parts replace the run's.
      model: the float network, whose weights' checksum keeps other networks' checkpoints apart.
      num_examples: images of the training set; fewer of them take a lower learning rate.

    Raises:
      ValueError: a value of the recipe is out of range, or not for a quantized network.
    """
    config = run.config.copy_and_resolve_references()
    recipe = recipe.copy_and_resolve_references()
    with config.unlocked():
        for part in PARTS:
            config[part] = recipe[part]
    check_distill(config.distill)
    check_values(config)
    if config.train.weight_decay or config.train.precision != 'float32':
        raise ValueError(
            f'config.train has weight_decay {config.train.weight_decay} and precision '
            f'{config.train.precision}; expected 0 and float32: kernels of a quantized network hold '
            'batch normalisation, and its steps are those of the file'
        )
    config.train.class_weights = run.config.train.class_weights
    config.train.batch_size = min(config.train.batch_size, _images_of_run(run.config))
    size = images_at_once(config.eval.batch_size, config.model.resolution)
    config.eval.batch_size = size // _REPLICAS * _REPLICAS or size
    config.segmentation.crop = ()  # what is quantized has the size of the file
    config.quantize.source = checksum(model)
    full = config.quantize.full_rate_images
    if full < 1:
        raise ValueError(f'config.quantize.full_rate_images is {full}; expected at least 1')
    config.schedule.learning_rate *= min(1.0, num_examples / full)
    return Run(config, run.spec, run.labels)


def _images_of_run(config: ConfigDict) -> int:
    """How many images of the file's size are no more pixels than the float network's batches."""
    height, width = config.model.resolution
    crop = config.segmentation.crop if config.task == 'segmentation' else ()
    rows, columns = crop or (height, width)
    return max(1, config.train.batch_size * rows * columns // (height * width))


def _on_grid(batch: Batch) -> Batch:
    return {**batch, 'image': to_pixel_grid(batch['image'])}
