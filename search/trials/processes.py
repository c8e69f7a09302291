"""Trials in several processes of this machine."""

import functools
from collections.abc import Iterator, Mapping, Sequence

from benchmark.paper.workers import run_apart
from search.trials.trial import Outcome, Outcomes, TrainFn, Trial, in_words

# Of each process, which has a core of its own.
ENVIRONMENT = {'TF_NUM_INTRAOP_THREADS': '1', 'TF_NUM_INTEROP_THREADS': '1', 'TQDM_DISABLE': '1'}
ATTEMPTS = 3  # of a trial: a process may be killed for want of memory


class Processes:
    """Trains in processes of their own (`search.trials.trial.Runner`).

    Args:
      count: how many at once.
      environment: variables that they have beside this process's.
    """

    def __init__(self, count: int, environment: Mapping[str, str] = ENVIRONMENT) -> None:
        if count < 1:
            raise ValueError(f'--processes is {count}; expected at least 1')
        self._count, self._environment = count, environment

    def run(
        self, train: TrainFn, trials: Sequence[Trial], outcomes: Outcomes
    ) -> Iterator[tuple[Trial, Outcome]]:
        """See `Runner`; a trial whose process dies is tried again."""
        attend = functools.partial(_attend, train, outcomes)
        left = list(trials)
        for _ in range(ATTEMPTS):
            problems = []
            for trial, problem in run_apart(
                attend, left, processes=self._count, environment=self._environment
            ):
                outcome = None if problem else outcomes.of(trial)
                if outcome is None:
                    problems.append((trial, problem or 'no outcome'))
                else:
                    yield trial, outcome
            left = [trial for trial, _ in problems]
            if not left:
                return
        raise ValueError(in_words(problems, ATTEMPTS))


def _attend(train: TrainFn, outcomes: Outcomes, trial: Trial) -> None:
    outcomes.put(trial, train(trial))
