"""What tests of trials share: trainings that take no time, one of which dies the first time."""

import os
import signal
from pathlib import Path

from search.trials.trial import Outcome, Trial

DIVERGED = 'diverged'


def by_width(trial: Trial) -> Outcome:
    """An accuracy that follows from the network: the sum of its expansions / 10,000."""
    if trial.name == DIVERGED:
        return Outcome(None, 1.0)
    return Outcome(sum(block.expansion for block in trial.spec.blocks) / 1e4, 1.0)


def dies_once(folder: str, trial: Trial) -> Outcome:
    """The process that trains a trial named 'killed' is killed the first time."""
    marker = Path(folder) / f'{trial.name}_was_killed'
    if trial.name == 'killed' and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return by_width(trial)


def dies_always(trial: Trial) -> Outcome:
    """The process that trains is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def is_refused(trial: Trial) -> Outcome:
    """A config that no trial can be trained with."""
    raise ValueError('config.train.batch_size is -1; expected above 0')
