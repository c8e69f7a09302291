"""The network that NetAdapt starts from: trained here, or by a run of train.main."""

import os
import time

import tensorflow as tf

from mobilenet_v3.spec import ModelSpec
from search.trials.training import judge, make_trainer, save_state
from search.trials.trial import Outcome, Outcomes, Trial
from train import loop
from train.data.source import Source
from train.run import Run, newest
from train.stop_signal import Stopped
from train.trainer import Trainer

NAME = 'seed'


def seed_outcome(run: Run, source: Source, outcomes: Outcomes, seed_run: str) -> Outcome:
    """The outcome of the trial `NAME`, whose weights lie in its folder then.

    Args:
      run: trains the seed.
      source: its data, with the images to judge by.
      outcomes: of the search.
      seed_run: --workdir of a run that has trained it; '' trains it now, or goes on with that.

    Raises:
      ValueError: the run is of another network, or the training diverged.
      Stopped: a signal stopped the training, which can be continued.
    """
    trial = Trial(NAME, run.spec)
    known = outcomes.of(trial)
    if known is not None:
        return known
    began = time.monotonic()
    folder = outcomes.folder_of(NAME)
    if seed_run:
        trainer = _read(run, source, seed_run)
    else:
        finished = loop.train(run, source, os.fspath(folder))
        if finished is None:
            raise Stopped
        trainer, _ = finished
    accuracy = judge(trainer, source)
    folder.mkdir(parents=True, exist_ok=True)
    save_state(folder, trainer, run.spec)
    outcome = Outcome(accuracy, time.monotonic() - began)
    outcomes.put(trial, outcome)
    return outcome


def _read(run: Run, source: Source, workdir: str) -> Trainer:
    saved = newest(workdir)
    theirs = Run.from_state(saved.state)
    if _layers(theirs.spec) != _layers(run.spec) or theirs.labels != run.labels:
        raise ValueError(
            f'--seed_run={workdir} has trained {theirs.spec.name} for {len(theirs.labels)} classes; '
            f'expected {run.spec.name} for the {len(run.labels)} of the dataset'
        )
    trainer = make_trainer(run, source, steps=1)
    variables = tf.train.Checkpoint(
        model=trainer.model, averaged=trainer.averaged, optimizer=trainer.optimizer
    )
    variables.read(saved.variables).expect_partial()
    return trainer


def _layers(spec: ModelSpec) -> tuple:
    return spec.stem, spec.blocks, spec.last, spec.features
