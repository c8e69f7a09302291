"""Trains a network for some steps and judges it: the trials of every algorithm."""

import dataclasses
import functools
import io
import json
import math
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import from_dict
from search.channels.criteria import CRITERIA
from search.channels.narrow import Arrays, narrow
from search.trials.holdout import hold_out
from search.trials.trial import Outcome, Trial
from train.data import pipeline
from train.data.source import Source, open_source
from train.evaluator import Evaluator
from train.files import write_file
from train.run import Run
from train.trainer import Trainer

WEIGHTS = 'weights.npz'
VERSION = 2  # of what a trial is trained and judged on: outcomes of two are not compared
STEPS_AT_ONCE = 20  # between looks at the loss
_SHARE_OF_STEPS = 0.1  # of a training, over which BN statistics are averaged at most
_LEAST_MOMENTUM = 0.5  # one batch alone is too little


@dataclasses.dataclass(frozen=True)
class Training:
    """Trains trials (`search.trials.trial.TrainFn`); plain values, so that it reaches processes.

    Attributes:
      config: of the run, as JSON; its epochs do not count.
      steps: of one trial.
      holdout: as `search.trials.holdout.hold_out`.
      folder: of the trials, where a parent's weights lie.
      criterion: of CRITERIA, by which a parent's channels stay.
      keeps_weights: whether a trial may become a parent.
    """

    config: str
    steps: int
    holdout: int
    folder: str
    criterion: str = 'l2'
    keeps_weights: bool = False

    def __call__(self, trial: Trial) -> Outcome:
        """Trains a trial from its parent's weights, or from random ones."""
        began = time.monotonic()
        tf_keras.backend.clear_session()
        config = ConfigDict(json.loads(self.config))
        source = open_judged(json.dumps(json.loads(self.config)['data']), self.holdout)
        run = Run(config, settling(trial.spec, self.steps), source.labels)
        trainer = make_trainer(run, source, self.steps)
        if trial.parent:
            folder = Path(self.folder) / trial.parent
            arrays, parent = read_state(folder)
            write_arrays(trainer, narrow(arrays, parent, trial.spec, CRITERIA[self.criterion]))
        accuracy = train_and_judge(trainer, source, self.steps, trial.turn * self.steps)
        if self.keeps_weights and accuracy is not None:
            folder = Path(self.folder) / trial.name
            folder.mkdir(parents=True, exist_ok=True)
            save_state(folder, trainer, trial.spec)
        return Outcome(accuracy, time.monotonic() - began)


def settling(spec: ModelSpec, steps: int) -> ModelSpec:
    """The network with BN statistics that have settled by the end of a short training.

    With V3's momentum of 0.99 they are half those of the start after 70 steps, and every network is
    judged to be at chance.
    """
    most = max(_LEAST_MOMENTUM, 1 - 1 / (_SHARE_OF_STEPS * steps))
    return dataclasses.replace(spec, batch_norm_momentum=min(spec.batch_norm_momentum, most))


@functools.lru_cache(maxsize=2)
def open_judged(data: str, holdout: int) -> Source:
    """The dataset of a config's `data` part, as JSON, with images held out; opened once a process."""
    config = ConfigDict(json.loads(data))
    return hold_out(open_source(config), holdout, config.shuffle_buffer)


def make_trainer(run: Run, source: Source, steps: int) -> Trainer:
    """A trainer with random weights for a run of some steps, the same for the same seed."""
    tf_keras.utils.set_random_seed(run.config.seed)
    tf.config.experimental.enable_op_determinism()
    tf_keras.mixed_precision.set_global_policy(run.config.train.precision)
    steps_per_epoch = source.train.num_examples / run.config.train.batch_size
    return Trainer(run.make_task(), tf.distribute.get_strategy(), steps_per_epoch, steps)


def train_and_judge(
    trainer: Trainer, source: Source, steps: int, start_step: int = 0
) -> float | None:
    """The averaged weights' accuracy after steps; None where the loss diverged.

    Args:
      trainer: of the network.
      source: its images.
      steps: to take.
      start_step: how many batches of the seed's order are passed over.
    """
    config = trainer.task.config
    at_once = config.train.batch_size // config.train.parts
    batches = pipeline.train_batches(
        source.train,
        trainer.task,
        batch_size=at_once,
        seed=config.seed,
        start_step=start_step * config.train.parts,
    )
    iterator = iter(batches)
    for step in range(0, steps, STEPS_AT_ONCE):
        if not math.isfinite(trainer.train(iterator, min(STEPS_AT_ONCE, steps - step))):
            return None
    return judge(trainer, source)


def judge(trainer: Trainer, source: Source) -> float | None:
    """The accuracy of the averaged weights; None where they are not finite."""
    batch_size = min(trainer.task.config.eval.batch_size, source.val.num_examples)
    evaluator = Evaluator(trainer.task, source.val, trainer.strategy, batch_size)
    metrics = evaluator.run(trainer.averaged)
    return metrics[trainer.task.goal] if math.isfinite(metrics['loss']) else None


# What a run keeps of a network


def read_arrays(trainer: Trainer) -> Arrays:
    """Both models' weights, and the optimiser's slots as roles of their own."""
    arrays = {
        f'{role}/{layer.name}/{i}': weight.numpy()
        for role, model in (('model', trainer.model), ('averaged', trainer.averaged))
        for layer in model.layers
        for i, weight in enumerate(layer.weights)
    }
    return arrays | {key: slot.numpy() for key, slot in _slots(trainer).items()}


def write_arrays(trainer: Trainer, arrays: Arrays) -> None:
    """Sets what `read_arrays` gave; the moving average follows fast at first, as in every run."""
    for role, model in (('model', trainer.model), ('averaged', trainer.averaged)):
        for layer in model.layers:
            for i, weight in enumerate(layer.weights):
                weight.assign(arrays[f'{role}/{layer.name}/{i}'])
    for key, slot in _slots(trainer).items():
        slot.assign(arrays[key])


def save_state(folder: Path, trainer: Trainer, spec: ModelSpec) -> None:
    """Writes all arrays of a trainer with the network that they are of."""
    content = io.BytesIO()
    text = json.dumps(dataclasses.asdict(spec))
    named: dict[str, Any] = {**read_arrays(trainer), 'spec': np.frombuffer(text.encode(), np.uint8)}
    np.savez(content, **named)
    write_file(folder / WEIGHTS, content.getvalue())


def read_state(folder: Path) -> tuple[Arrays, ModelSpec]:
    """What `save_state` wrote.

    Raises:
      ValueError: it is not there, or damaged.
    """
    path = folder / WEIGHTS
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        spec = from_dict(json.loads(arrays.pop('spec').tobytes()))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'the weights of a trial cannot be read from {path}: {error}; remove its folder, and it '
            'is trained again'
        ) from None
    return arrays, spec


def _slots(trainer: Trainer) -> dict[str, tf.Variable]:
    optimizer = trainer.optimizer
    return {
        f'{slot}/{layer.name}/{i}': optimizer.get_slot(weight, slot)
        for slot in optimizer.get_slot_names()
        for layer in trainer.model.layers
        for i, weight in enumerate(layer.weights)
        if weight.trainable
    }
