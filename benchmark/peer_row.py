"""One comparison with a peer, as a line and as data."""

import dataclasses

import numpy as np

from benchmark.latency import Latency, ratio_of


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
      what: what was compared.
      unit: of `ours` and `peer`, which are medians over all timed runs.
      ratio: peer's time / our time, the median over the rounds; `low` and `high` are the extremes.
      low_95, high_95: 95 % interval of `ratio`, for latency; None with too few rounds for one.
    """

    what: str
    unit: str
    ours: float
    peer: float
    ratio: float
    low: float
    high: float
    low_95: float | None = None
    high_95: float | None = None

    def __str__(self) -> str:
        line = (
            f'{self.what:<48} ours {self.ours:6.4g}  peer {self.peer:6.4g} {self.unit:<8}  '
            f'ratio {self.ratio:.3f}  rounds {self.low:.3f}–{self.high:.3f}'
        )
        if self.low_95 is None:
            return line
        return f'{line}  95 % [{self.low_95:.3f}, {self.high_95:.3f}]'


def make_row(what: str, ours_ms: np.ndarray, peer_ms: np.ndarray, images: int) -> Row:
    """The row of two sides timed by turns, milliseconds [rounds, runs], `images` a run."""
    ratios = np.median(peer_ms, axis=1) / np.median(ours_ms, axis=1)
    ours, peer = (1000.0 * images / float(np.median(side)) for side in (ours_ms, peer_ms))
    low, ratio, high = (float(f(ratios)) for f in (np.min, np.median, np.max))
    return Row(what, 'images/s', ours, peer, ratio, low, high)


def latency_row(what: str, ours: Latency, peer: Latency) -> Row:
    """The row of two files, or of two ways to measure one, that took turns."""
    interval = ratio_of(peer, ours)
    per_round = np.divide(peer.round_medians_ms, ours.round_medians_ms)
    return Row(
        what=what,
        unit='ms',
        ours=ours.median_ms,
        peer=peer.median_ms,
        ratio=interval.median,
        low=float(per_round.min()),
        high=float(per_round.max()),
        low_95=interval.low,
        high_95=interval.high,
    )
