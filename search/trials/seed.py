"""The network that NetAdapt starts from: trained here, or by a run of train.main."""

import dataclasses
import os
import time

import tensorflow as tf

from mobilenet_v3.spec import ModelSpec
from search.trials.training import judge, make_trainer, save_state
from search.trials.trial import Outcome, Outcomes, Trial
from train import best, checkpoint, loop
from train.data.source import Source
from train.run import Run, last
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
    """The trainer as a run left it, with the averages of its best evaluation if it kept them."""
    saved = last(workdir)
    try:
        theirs = Run.from_state(saved.state)
    except (KeyError, TypeError) as e:
        raise ValueError(f'{saved.path} is no checkpoint of a run: no {e}') from None
    differing = _differing(theirs.spec, run.spec)
    if differing or theirs.labels != run.labels:
        fields = f' ({", ".join(differing)} differ)' if differing else ''
        raise ValueError(
            f'--seed_run={workdir} has trained {theirs.spec.name} for {len(theirs.labels)} classes; '
            f'expected {run.spec.name}{fields} for the {len(run.labels)} of the dataset'
        )
    kinds = [each.config.optimizer.kind for each in (theirs, run)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f'--seed_run={workdir} was trained with {kinds[0]}, whose slots proposals take over; '
            f'expected {kinds[1]}, or --config.optimizer.kind={kinds[0]}'
        )
    trainer = make_trainer(run, source, steps=1)
    variables = tf.train.Checkpoint(
        model=trainer.model, averaged=trainer.averaged, optimizer=trainer.optimizer
    )
    checkpoint.read(saved, variables).assert_existing_objects_matched().expect_partial()
    best.restore(workdir, saved.state.get('best'), trainer.averaged)
    return trainer


def _differing(theirs: ModelSpec, ours: ModelSpec) -> list[str]:
    """The fields of two networks that differ, but for those that change no weight's meaning."""
    fields = {field.name for field in dataclasses.fields(ModelSpec)}
    fields -= {'name', 'dropout', 'batch_norm_momentum'}
    return sorted(name for name in fields if getattr(theirs, name) != getattr(ours, name))
