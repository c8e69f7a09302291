"""Trials on a Ray cluster, or on a local Ray of some workers: the optional extra [ray].

Ray listens on all interfaces of this machine while it runs, whatever address it is given, so it is
never started unless it is asked for. It sends no usage statistics from here.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from search.trials.processes import ATTEMPTS, ENVIRONMENT
from search.trials.trial import Outcome, Outcomes, TrainFn, Trial, in_words
from train.reasons import reason


class OnRay:
    """Trains on Ray (`search.trials.trial.Runner`).

    The workers read the dataset, and of NetAdapt the search's folder, under the paths that they have
    here: on several machines they lie on a file system that all share.

    Args:
      workers: of a local Ray.
      address: of a cluster that runs, 'auto' or 'ray://…'; '' starts a local one.

    Raises:
      ValueError: Ray is not installed.
    """

    def __init__(self, workers: int, address: str = '') -> None:
        if workers < 1:
            raise ValueError(f'--processes is {workers}; expected at least 1')
        os.environ['RAY_USAGE_STATS_ENABLED'] = '0'  # read when Ray is imported
        try:
            import ray
        except ImportError:
            raise ValueError(
                "--runner=ray needs Ray, which is not installed; pip install 'ray>=2.40', or the "
                'extra [ray] of this project'
            ) from None
        self._ray: Any = ray
        self._workers, self._address = workers, address

    def run(
        self, train: TrainFn, trials: Sequence[Trial], outcomes: Outcomes
    ) -> Iterator[tuple[Trial, Outcome]]:
        """See `Runner`; a trial whose worker dies is tried again."""
        ray = self._ray
        if not ray.is_initialized():
            self._start()
        remote = ray.remote(num_cpus=1, max_retries=0)(_train)
        waiting = {remote.remote(train, trial, os.getcwd()): (trial, 1) for trial in trials}
        while waiting:
            (done, *_), _ = ray.wait(list(waiting))
            trial, attempt = waiting.pop(done)
            try:
                outcome = ray.get(done)
            except ray.exceptions.RayTaskError as error:  # it raised: it would again
                raise ValueError(in_words([(trial, str(error.cause))], attempt)) from error
            except ray.exceptions.RayError as error:
                if attempt == ATTEMPTS:
                    problem = reason(error)
                    raise ValueError(in_words([(trial, problem)], ATTEMPTS)) from error
                waiting[remote.remote(train, trial, os.getcwd())] = trial, attempt + 1
                continue
            outcomes.put(trial, outcome)
            yield trial, outcome

    def close(self) -> None:
        """Ends a local Ray, leaves a cluster."""
        if self._ray.is_initialized():
            self._ray.shutdown()

    def _start(self) -> None:
        import sys

        # The workers import this tree as we do.
        variables = {**ENVIRONMENT, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
        options: dict[str, Any] = {'runtime_env': {'env_vars': variables}, 'log_to_driver': False}
        if self._address:
            self._ray.init(address=self._address, **options)
        else:
            self._ray.init(num_cpus=self._workers, include_dashboard=False, **options)


def _train(train: TrainFn, trial: Trial, directory: str) -> Outcome:
    os.chdir(directory)  # paths may be relative to it; a cluster's workers start elsewhere
    return train(trial)
