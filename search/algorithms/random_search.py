"""Random search: the baseline that a controller must be better than."""

import math
from collections.abc import Sequence

import numpy as np

from search.space import Architecture, draw


class RandomSearch:
    """Draws architectures, each once until all were drawn (`search.sampling.Strategy`).

    Args:
      options: how many each decision has.
      seed: of the draws.
    """

    def __init__(self, options: Sequence[int], seed: int) -> None:
        self._options = options
        self._rng = np.random.default_rng(seed)
        self._seen: set[Architecture] = set()

    def propose(self, count: int) -> list[Architecture]:
        """Draws architectures."""
        return [self._draw() for _ in range(count)]

    def learn(self, architectures: Sequence[Architecture], rewards: Sequence[float]) -> None:
        """Nothing."""

    def _draw(self) -> Architecture:
        if len(self._seen) == math.prod(self._options):
            self._seen.clear()
        while True:
            drawn = draw(self._options, self._rng)
            if drawn not in self._seen:
                self._seen.add(drawn)
                return drawn
