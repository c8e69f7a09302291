"""What an algorithm has trained, what comes of it, and where that is kept."""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import to_dict
from train.files import write_json

_NAME = re.compile(r'\w[\w.-]*')


@dataclasses.dataclass(frozen=True)
class Trial:
    """A network to train.

    Attributes:
      name: its own; also of its folder.
      spec: the network.
      parent: the trial whose weights it starts from; '' starts from random ones.
      turn: of the algorithm; trials of one turn are trained on the same batches, those of the next
        on the batches that follow.
    """

    name: str
    spec: ModelSpec
    parent: str = ''
    turn: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f'a trial is called {self.name!r}; expected letters, digits, - and .')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
      accuracy: in [0, 1], on images that it was not trained on; None where the training diverged.
      seconds: that it took.
    """

    accuracy: float | None
    seconds: float = 0.0


TrainFn = Callable[[Trial], Outcome]


class Outcomes:
    """The outcomes of a search's trials, a file each, written whole.

    Args:
      folder: of the search; holds a folder for each trial.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def of(self, trial: Trial) -> Outcome | None:
        """The outcome of a trial; None where it is not done.

        Raises:
          ValueError: a trial of that name is there, but of another network or of other weights.
        """
        path = self._path(trial)
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding='utf-8'))
            outcome = Outcome(_fraction(values['accuracy']), float(values['seconds']))
            known = values['parent'], values['spec']
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path} holds no outcome ({error!r}); remove it, and the trial is done again'
            ) from None
        if known != (trial.parent, _plain(trial.spec)):
            raise ValueError(
                f'{path} is of another network than the trial {trial.name} of this search; use '
                'another --workdir'
            )
        return outcome

    def put(self, trial: Trial, outcome: Outcome) -> None:
        """Keeps an outcome."""
        self.folder_of(trial.name).mkdir(parents=True, exist_ok=True)
        write_json(
            self._path(trial),
            {
                **dataclasses.asdict(outcome),
                'parent': trial.parent,
                'spec': _plain(trial.spec),
            },
        )

    def folder_of(self, name: str) -> Path:
        """Where a trial keeps its files."""
        return self.folder / name

    def _path(self, trial: Trial) -> Path:
        return self.folder_of(trial.name) / 'outcome.json'


class Runner(Protocol):
    """Where trials are trained."""

    def run(
        self, train: TrainFn, trials: Sequence[Trial], outcomes: Outcomes
    ) -> Iterator[tuple[Trial, Outcome]]:
        """Trains; each outcome is kept in `outcomes` before it is given.

        Raises:
          ValueError: a trial could not be trained; those before it are kept.
        """


class OneByOne:
    """Trains in this process (`Runner`)."""

    def run(
        self, train: TrainFn, trials: Sequence[Trial], outcomes: Outcomes
    ) -> Iterator[tuple[Trial, Outcome]]:
        """See `Runner`."""
        for trial in trials:
            outcome = train(trial)
            outcomes.put(trial, outcome)
            yield trial, outcome


def run_trials(
    train: TrainFn,
    trials: Sequence[Trial],
    runner: Runner,
    outcomes: Outcomes,
    progress: Callable[[Trial, Outcome], None] = lambda trial, outcome: None,
) -> list[Outcome]:
    """The outcomes of trials, in their order; those that are kept already are not trained again.

    Args:
      train: trains one.
      trials: with names of their own.
      runner: where.
      outcomes: where they are kept.
      progress: called with each that was trained now.
    """
    found = {trial.name: outcome for trial in trials if (outcome := outcomes.of(trial))}
    missing = [trial for trial in trials if trial.name not in found]
    for trial, outcome in runner.run(train, missing, outcomes) if missing else ():
        found[trial.name] = outcome
        progress(trial, outcome)
    return [found[trial.name] for trial in trials]


def in_words(problems: Iterable[tuple[Trial, str]], attempts: int) -> str:
    """What to raise for trials that no attempt could train."""
    told = '; '.join(f'{trial.name}: {problem}' for trial, problem in problems)
    return f'{attempts} attempts to train failed: {told}. What is done is kept; the same command goes on'


def _plain(spec: ModelSpec) -> dict:
    """Of a spec, as JSON gives it back; whatever it is called."""
    values: dict = json.loads(json.dumps({**to_dict(spec), 'name': ''}))
    return values


def _fraction(accuracy: object) -> float | None:
    """Raises ValueError where it is neither in [0, 1] nor None."""
    if accuracy is None:
        return None
    if not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1:
        raise ValueError(f'accuracy is {accuracy!r}; expected in [0, 1]')
    return float(accuracy)
