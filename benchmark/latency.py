"""What a file takes: one turn of timed runs, many turns of one file, the ratio of two files.

Paper: §6.1.2. The files take turns round by round: whatever slows a machine for a while hits all of
them, and a ratio is formed inside each round, so that the drift cancels. How a turn is measured is
each device's own (`host.py`, `phone.py`, a browser's page); what follows from the turns is here.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

_BOOTSTRAP_DRAWS = 2000
_BOOTSTRAP_SEED = 0
_ORDER_SEED = 0
# With 5 rounds even the span from lowest to highest holds the true median in only 94 % of cases.
_MIN_ROUNDS_FOR_INTERVAL = 6

Verdict = Literal['faster', 'slower', 'not told apart']


@dataclasses.dataclass(frozen=True)
class Turn:
    """One file's timed runs in one turn, in milliseconds.

    Attributes:
      runs: how many were timed.
      mean_ms, min_ms, max_ms, std_ms: of these runs.
      median_ms, p5_ms, p95_ms: None where the tool that measured prints none (benchmark_model of
        before 2025).
    """

    runs: int
    mean_ms: float
    min_ms: float
    max_ms: float
    std_ms: float
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None

    @property
    def typical_ms(self) -> float:
        """The median; the mean where no median was told."""
        return self.mean_ms if self.median_ms is None else self.median_ms


def turn_of(samples_ms: Sequence[float] | np.ndarray) -> Turn:
    """The turn whose timed runs took `samples_ms`."""
    p5_ms, median_ms, p95_ms = np.percentile(samples_ms, [5, 50, 95]).tolist()
    return Turn(
        runs=len(samples_ms),
        mean_ms=float(np.mean(samples_ms)),
        min_ms=float(np.min(samples_ms)),
        max_ms=float(np.max(samples_ms)),
        std_ms=float(np.std(samples_ms)),
        median_ms=median_ms,
        p5_ms=p5_ms,
        p95_ms=p95_ms,
    )


@dataclasses.dataclass(frozen=True)
class Latency:
    """What one file took on one device.

    Attributes:
      model: what the file is called in tables.
      sha256, size_bytes: of the file.
      threads: of the runtime; the paper uses 1.
      xnnpack: whether the runtime's default delegate took the ops it knows.
      runs: timed runs in all turns together.
      median_ms, p5_ms, p95_ms: the median over the turns of each turn's own; the turns' means where
        the tool tells no medians, and then no percentiles.
      min_ms: of all runs.
      mean_ms: over all runs.
      round_medians_ms: what each turn typically took, in the order of the rounds.
    """

    model: str
    sha256: str
    size_bytes: int
    threads: int
    xnnpack: bool
    runs: int
    median_ms: float
    p5_ms: float | None
    p95_ms: float | None
    min_ms: float
    mean_ms: float
    round_medians_ms: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Latency of model / baseline: the median over rounds and its 95 % bootstrap interval.

    low and high are None where there were too few rounds for such an interval.
    """

    model: str
    baseline: str
    median: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether the model is faster or slower than the baseline, if the noise lets us say."""
        if self.low is None or self.high is None or self.low <= 1 <= self.high:
            return 'not told apart'
        return 'faster' if self.high < 1 else 'slower'

    def __str__(self) -> str:
        if self.low is None:
            return f'{self.median:.3f}'
        return f'{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]'


def turn_order(round_index: int, count: int) -> list[int]:
    """Order in which `count` files run in a round: drawn for each even round, reversed in the next.

    So every file stands as early as late, a linear drift cancels over two rounds, and no file always
    follows the same one, which may leave it a warm or a slow machine. The same for the same numbers.
    """
    pair, backwards = divmod(round_index, 2)
    order = np.random.default_rng([_ORDER_SEED, pair]).permutation(count).tolist()
    return order[::-1] if backwards else order


def summarize(
    turns: Sequence[Turn], *, model: str, sha256: str, size_bytes: int, threads: int, xnnpack: bool
) -> Latency:
    """Statistics of one file over its turns, in the order of the rounds."""
    runs = sum(turn.runs for turn in turns)
    round_medians_ms = tuple(turn.typical_ms for turn in turns)
    return Latency(
        model=model,
        sha256=sha256,
        size_bytes=size_bytes,
        threads=threads,
        xnnpack=xnnpack,
        runs=runs,
        median_ms=float(np.median(round_medians_ms)),
        p5_ms=_median_of([turn.p5_ms for turn in turns]),
        p95_ms=_median_of([turn.p95_ms for turn in turns]),
        min_ms=min(turn.min_ms for turn in turns),
        mean_ms=sum(turn.mean_ms * turn.runs for turn in turns) / runs,
        round_medians_ms=round_medians_ms,
    )


def ratio_of(latency: Latency, baseline: Latency) -> Ratio:
    """The ratio of two files that were measured together, formed round by round.

    Raises:
      ValueError: they have different numbers of rounds, so they were not.
    """
    if len(latency.round_medians_ms) != len(baseline.round_medians_ms):
        raise ValueError(
            f'{latency.model} has {len(latency.round_medians_ms)} rounds, expected the '
            f'{len(baseline.round_medians_ms)} of {baseline.model}; measure them together'
        )
    per_round = np.divide(latency.round_medians_ms, baseline.round_medians_ms)
    low, high = _median_interval(per_round)
    return Ratio(latency.model, baseline.model, float(np.median(per_round)), low, high)


def ratios(latencies: Sequence[Latency]) -> list[Ratio]:
    """Ratio of every further file to the first."""
    return [ratio_of(latency, latencies[0]) for latency in latencies[1:]]


def to_json(latencies: Sequence[Latency]) -> dict[str, Any]:
    """Latencies and their ratios to the first as plain values for json.dump."""
    return {
        'models': [dataclasses.asdict(latency) for latency in latencies],
        'ratios': [
            {**dataclasses.asdict(ratio), 'verdict': ratio.verdict} for ratio in ratios(latencies)
        ],
    }


def from_json(values: dict[str, Any]) -> Latency:
    """The Latency that `to_json` wrote; further keys are left aside.

    Raises:
      ValueError: a figure is missing or no number.
    """
    fields = {field.name for field in dataclasses.fields(Latency)}
    missing = sorted(fields - values.keys())
    if missing:
        raise ValueError(f'a measured model has no {missing[0]!r}; measure it again')
    known = {name: values[name] for name in fields}
    times_ms = (known['median_ms'], *known['round_medians_ms'])
    if not all(type(ms) in (int, float) and 0 < ms < float('inf') for ms in times_ms):
        raise ValueError(
            f'{known["model"]} took {times_ms!r:.100}, expected milliseconds above 0; measure it again'
        )
    return Latency(**{**known, 'round_medians_ms': tuple(known['round_medians_ms'])})


def table(latencies: Sequence[Latency]) -> str:
    """Aligned Markdown table, one line a file; MB are 10^6 bytes."""
    rows = [['model', 'size MB', 'median ms', 'p5–p95 ms', 'ratio to first [95 %]', '']]
    for latency, ratio in zip(latencies, [None, *ratios(latencies)], strict=True):
        spread = '–' if latency.p5_ms is None else f'{latency.p5_ms:.3f}–{latency.p95_ms:.3f}'
        rows.append(
            [
                latency.model,
                f'{latency.size_bytes / 1e6:.2f}',
                f'{latency.median_ms:.3f}',
                spread,
                '1' if ratio is None else str(ratio),
                '' if ratio is None else ratio.verdict,
            ]
        )
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the head first, as a Markdown table; the first column to the left."""
    widths = [max(2, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = [rows[0], ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])]]
    return '\n'.join(
        f'| {row[0]:<{widths[0]}} | '
        + ' | '.join(f'{cell:>{width}}' for cell, width in zip(row[1:], widths[1:], strict=True))
        + ' |'
        for row in [*lines, *rows[1:]]
    )


def _median_of(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return float(np.median(told)) if len(told) == len(values) else None


def _median_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """An interval that holds the true median in at least 95 % of cases, the same for the same values.

    The percentile bootstrap, which of few values is too narrow (of 7 it misses in 13 % of cases),
    widened to the order statistics between which the median lies with that probability.
    """
    count = len(values)
    if count < _MIN_ROUNDS_FOR_INTERVAL:
        return None, None
    draws = np.random.default_rng(_BOOTSTRAP_SEED).choice(values, (_BOOTSTRAP_DRAWS, count))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5]).tolist()
    # The k-th lowest lies above the median when fewer than k of the values lie below it.
    # In Python's own integers: 64 rounds overflow those of NumPy.
    below = itertools.accumulate(math.comb(count, below) for below in range(count))
    k = sum(ways / 2**count <= 0.025 for ways in below)
    ordered = np.sort(values)
    return min(low, float(ordered[k - 1])), max(high, float(ordered[count - k]))
