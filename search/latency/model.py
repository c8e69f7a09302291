"""What a search asks of a latency model."""

from typing import Protocol

from mobilenet_v3.cost import Size, count
from mobilenet_v3.spec import ModelSpec


class LatencyModel(Protocol):
    """Predicts what networks take, for one resolution and number of classes."""

    unit: str

    def predict(self, spec: ModelSpec) -> float:
        """What a network takes, in `unit`.

        Raises:
          ValueError: it cannot tell; the message says how to mend that.
        """


class MAdds:
    """Multiply-adds in place of milliseconds, where there is nothing to measure on.

    Args:
      resolution: of the networks' input.
      num_classes: of their logits.
    """

    unit = 'M MAdds'

    def __init__(self, resolution: int | Size, num_classes: int) -> None:
        self._resolution, self._num_classes = resolution, num_classes

    def predict(self, spec: ModelSpec) -> float:
        """Millions of multiply-adds of one image."""
        return count(spec, resolution=self._resolution, num_classes=self._num_classes).madds / 1e6
