"""A search that samples architectures: what an algorithm is asked, and what it is told."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Protocol

from mobilenet_v3.spec import ModelSpec
from search.latency.model import LatencyModel
from search.space import Architecture, Space
from search.trials.trial import Outcome, Trial


class Strategy(Protocol):
    """Proposes architectures and learns from their rewards."""

    def propose(self, count: int) -> list[Architecture]:
        """The next ones to judge."""

    def learn(self, architectures: Sequence[Architecture], rewards: Sequence[float]) -> None:
        """What they were worth."""


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What an architecture is worth.

    Attributes:
      accuracy: None where its training diverged.
      latency: in the latency model's unit.
      reward: that the strategies learn from; 0 where the training diverged.
    """

    accuracy: float | None
    latency: float
    reward: float


@dataclasses.dataclass(frozen=True)
class Sample:
    """An architecture that was drawn, and what it is worth."""

    architecture: Architecture
    judgement: Judgement


def reward(accuracy: float | None, latency: float, target: float, weight: float) -> float:
    """ACC · (LAT / TAR)^w (Paper: §4.1); 0 where the training diverged.

    Args:
      accuracy: in [0, 1], or None.
      latency, target: in one unit.
      weight: w, below 0: -0.07 for large networks, -0.15 for small ones.
    """
    return 0.0 if accuracy is None else accuracy * (latency / target) ** weight


def sample(
    strategy: Strategy,
    judge: Callable[[Sequence[Architecture]], Sequence[Judgement]],
    *,
    budget: int,
    batch: int,
    on_batch: Callable[[Sequence[Sample]], None] = lambda samples: None,
) -> list[Sample]:
    """Asks a strategy for architectures until the budget is spent.

    Every sample counts, whether its judgement was known or not. The samples follow from the strategy
    and the judgements alone, so that a search that was killed is continued by the same call, with
    those judgements at hand that are there.

    Args:
      strategy: the algorithm.
      judge: trains and measures architectures.
      budget: samples in all, at least 1.
      batch: samples between two lessons, at least 1.
      on_batch: called with all samples after each batch.
    """
    samples: list[Sample] = []
    while len(samples) < budget:
        # Cut afterwards: with a larger budget the samples begin as they do with this one.
        architectures = strategy.propose(batch)[: budget - len(samples)]
        judgements = judge(architectures)
        samples += map(Sample, architectures, judgements)
        strategy.learn(architectures, [each.reward for each in judgements])
        on_batch(samples)
    return samples


class Judge:
    """Judges architectures by what training and the latency model say; each network once.

    Args:
      space: makes networks of them.
      latency: what these take (`latency_fn`).
      train: trains them (`train_fn`); called with those that were not judged before.
      target: latency that the reward is relative to; it scales all rewards alike.
      weight: of the latency in the reward.
    """

    def __init__(
        self,
        space: Space,
        latency: LatencyModel,
        train: Callable[[Sequence[Trial]], Sequence[Outcome]],
        target: float,
        weight: float,
    ) -> None:
        self._space, self._latency, self._train = space, latency, train
        self._target, self._weight = target, weight
        self._known: dict[str, Judgement] = {}

    def __call__(self, architectures: Sequence[Architecture]) -> list[Judgement]:
        """What architectures are worth, in their order; two may be the same network."""
        trials = [child_of(self._space.spec(architecture)) for architecture in architectures]
        new = [trial for trial in dict.fromkeys(trials) if trial.name not in self._known]
        # A latency that cannot be told is told before minutes of training.
        latencies = [self._latency.predict(trial.spec) for trial in new]
        outcomes = self._train(new) if new else []
        for trial, latency, outcome in zip(new, latencies, outcomes, strict=True):
            gain = reward(outcome.accuracy, latency, self._target, self._weight)
            self._known[trial.name] = Judgement(outcome.accuracy, latency, gain)
        return [self._known[trial.name] for trial in trials]


def child_of(spec: ModelSpec) -> Trial:
    """The trial of a network, named by what it is: equal networks are one trial."""
    spec = dataclasses.replace(spec, name='child')
    text = json.dumps(dataclasses.asdict(spec), sort_keys=True)
    return Trial(f'child_{hashlib.sha256(text.encode()).hexdigest()[:12]}', spec)


def best(samples: Sequence[Sample]) -> Sample:
    """The sample with the largest reward, the first of equal ones."""
    return max(samples, key=lambda each: each.judgement.reward)


def within(samples: Sequence[Sample], target: float) -> list[Sample]:
    """Those that were trained and meet a latency."""
    judged = [each for each in samples if each.judgement.accuracy is not None]
    return [each for each in judged if each.judgement.latency <= target]
