"""What tests share: latency tables whose figures follow a rule, and a device made of paper."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmark.blocks.latency_table import LatencyTable, Row, Way, read_table, write_table
from benchmark.blocks.parts import Part, overhead
from benchmark.device import Case
from benchmark.latency import Turn, turn_of
from search.latency.correction import weights_mb

OVERHEAD_MS = 0.01
WAY = Way(1, 'cpu of paper')


def by_work(part: Part) -> float:
    """Net milliseconds in proportion to a part's weights and pixels, as a fit can follow them."""
    pixels = part.in_height * part.in_width
    return 0.002 + 1e-3 * weights_mb([part]) * pixels


def make_table(
    path: Path, parts: Iterable[Part], net_ms: Callable[[Part], float] = by_work
) -> LatencyTable:
    """Writes a table of parts of one scheme with their overhead, and reads it."""
    parts = list(dict.fromkeys(parts))
    known = [(part, net_ms(part) + OVERHEAD_MS) for part in parts]
    known += [(overhead(scheme), OVERHEAD_MS) for scheme in {part.scheme for part in parts}]
    write_table(
        path, [Row('paper', WAY, part, ms, None, None, 10, 'ab' * 32) for part, ms in known]
    )
    return read_table(path)


class PaperDevice:
    """A device on which a file takes what a rule says of its name."""

    name = 'paper'

    def __init__(self, takes_ms: Callable[[Case], float]) -> None:
        self._takes_ms = takes_ms
        self.turns = 0
        self.warnings: list[str] = []

    def facts(self) -> dict[str, Any]:
        """None."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Those of `WAY`."""
        return {'cpu': 'of paper'}

    def prepare(self, cases: Sequence[Case]) -> None:
        """Nothing to do."""

    def turn(self, case: Case, *, threads: int, warmup_runs: int, runs: int) -> Turn:
        """The same time for every run."""
        self.turns += 1
        return turn_of([self._takes_ms(case)] * runs)

    def close(self) -> None:
        """Nothing to do."""
