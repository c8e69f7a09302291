"""Regularised evolution (arXiv:1802.01548): the oldest dies, whatever it was worth."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from search.space import Architecture, draw


@dataclasses.dataclass(frozen=True)
class Settings:
    """How it evolves.

    Attributes:
      population: architectures that live.
      tournament: of these, drawn for each child, the best of which is its parent.
    """

    population: int = 50
    tournament: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population:
            raise ValueError(
                f'search.evolution.tournament is {self.tournament}; expected 1 to the population of '
                f'{self.population}'
            )


class Evolution:
    """Draws until the population is full, then changes one decision of good ones
    (`search.sampling.Strategy`).

    Args:
      options: how many each decision has.
      settings: how it evolves.
      seed: of the draws.
    """

    def __init__(self, options: Sequence[int], settings: Settings, seed: int) -> None:
        self._options, self._settings = options, settings
        self._rng = np.random.default_rng(seed)
        self._population: collections.deque[tuple[Architecture, float]] = collections.deque(
            maxlen=settings.population
        )

    def propose(self, count: int) -> list[Architecture]:
        """Random architectures, or children."""
        room = self._settings.population - len(self._population)
        return [
            draw(self._options, self._rng) if number < room else self._child()
            for number in range(count)
        ]

    def learn(self, architectures: Sequence[Architecture], rewards: Sequence[float]) -> None:
        """The architectures join the population, the oldest leave it."""
        self._population.extend(zip(architectures, rewards, strict=True))

    def _child(self) -> Architecture:
        size = min(self._settings.tournament, len(self._population))
        if not size:
            return draw(self._options, self._rng)
        chosen = self._rng.choice(len(self._population), size, replace=False)
        parent, _ = max((self._population[i] for i in chosen), key=lambda member: member[1])
        changeable = [i for i, count in enumerate(self._options) if count > 1]
        place = int(self._rng.choice(changeable))
        others = [option for option in range(self._options[place]) if option != parent[place]]
        return (*parent[:place], int(self._rng.choice(others)), *parent[place + 1 :])
