"""Landscapes on which algorithms are compared: rewards of every architecture, known beforehand."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from search.sampling import Judgement, Strategy, best, sample
from search.space import Architecture


@dataclasses.dataclass(frozen=True)
class Landscape:
    """The reward of every architecture of a space.

    Attributes:
      options: how many each decision has.
      rewards: by architecture.
    """

    options: tuple[int, ...]
    rewards: dict[Architecture, float]

    def judge(self, architectures: Sequence[Architecture]) -> list[Judgement]:
        """Looks architectures up."""
        return [Judgement(1.0, 1.0, self.rewards[each]) for each in architectures]

    def best_found(self, strategy: Strategy, *, budget: int, batch: int) -> float:
        """The largest reward that a strategy has seen when its budget is spent."""
        return best(sample(strategy, self.judge, budget=budget, batch=batch)).judgement.reward


def synthetic(options: Sequence[int], seed: int) -> Landscape:
    """A landscape whose best architecture is known: reward 1, and nothing else has as much.

    Each decision has an effect of its own and one together with the decision after it, as layers of
    a network have; what is left over is noise, the same whenever an architecture is looked up.

    Args:
      options: how many each decision has.
      seed: of all effects.
    """
    rng = np.random.default_rng(seed)
    alone = [rng.normal(size=count) for count in options]
    together = [rng.normal(0, 0.5, pair) for pair in itertools.pairwise(options)]
    values = np.zeros(tuple(options))
    for axis, effects in enumerate(alone):
        shape = [1] * len(options)
        shape[axis] = -1
        values = values + effects.reshape(shape)
    for axis, pair_effects in enumerate(together):
        shape = [1] * len(options)
        shape[axis : axis + 2] = pair_effects.shape
        values = values + pair_effects.reshape(shape)
    values = values + rng.normal(0, 0.3, values.shape)
    values = (values - values.min()) / np.ptp(values)
    return Landscape(
        tuple(options),
        {tuple(map(int, place)): float(values[place]) for place in np.ndindex(*options)},
    )


def wins(
    landscape: Landscape,
    make: Callable[[int], Strategy],
    make_baseline: Callable[[int], Strategy],
    *,
    seeds: Sequence[int],
    budget: int,
    batch: int,
) -> int:
    """In how many seeds the best that a strategy finds is at least as good as a baseline's."""
    return sum(
        landscape.best_found(make(seed), budget=budget, batch=batch)
        >= landscape.best_found(make_baseline(seed), budget=budget, batch=batch)
        for seed in seeds
    )
