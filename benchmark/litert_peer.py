"""Compares what `benchmark.host` measures with LiteRT's own `litert-benchmark` command.

The part `litert` of benchmark.peers. Both measure the same file by turns, each loading it afresh;
the command runs in a process of its own and through LiteRT's CompiledModel instead of the
interpreter. It rounds its figures to 0.01 ms.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.device import Case, DeviceError
from benchmark.host import HostDevice
from benchmark.int8_peers import both_networks, write_files
from benchmark.latency import Turn
from benchmark.peer_row import Row, latency_row
from benchmark.session import Protocol, cases_of, measure
from benchmark.untrained import our_float, our_int8

COMMAND = (sys.executable, '-m', 'ai_edge_litert.tools.benchmark_litert_model')
RESOLUTION = 224
NETWORKS = {'V3Large': ('MobileNetV3Large', 'large'), 'V3Small': ('MobileNetV3Small', 'small_1024')}


def compare_with_litert(folder: str, *, rounds: int, runs: int) -> Iterator[Row]:
    """A row a file: V3-Large and -Small in float and int8; the ratio is the command's / ours."""
    for name, (peer, model) in NETWORKS.items():
        _, network = both_networks(peer, model, RESOLUTION)
        contents = {f'{name} float': our_float(network), f'{name} int8': our_int8(network)}
        for label, file in write_files(f'{folder}/litert', contents).items():
            yield compare_file(f'{label}, litert-benchmark', file, rounds=rounds, runs=runs)


def compare_file(what: str, file: Path, *, rounds: int, runs: int) -> Row:
    """Measures one file both ways."""
    ours, peer = cases_of([file, file])
    protocol = Protocol(rounds=rounds, runs_per_round=runs)
    return latency_row(what, *measure(_Both(peer), [ours, peer], protocol))


class _Both:
    """This host, measured by us but for one case, which the command measures."""

    name = 'host'

    def __init__(self, peer: Case) -> None:
        self._peer, self._host = peer, HostDevice()
        self.warnings: list[str] = []

    def facts(self) -> dict[str, Any]:
        return self._host.facts()

    def settings(self) -> dict[str, Any]:
        return self._host.settings()

    def prepare(self, cases: Sequence[Case]) -> None:
        self._host.prepare(cases)

    def turn(self, case: Case, *, threads: int, warmup_runs: int, runs: int) -> Turn:
        take = command_turn if case == self._peer else self._host.turn
        return take(case, threads=threads, warmup_runs=warmup_runs, runs=runs)

    def close(self) -> None:
        self._host.close()


def command_turn(case: Case, *, threads: int, warmup_runs: int, runs: int) -> Turn:
    """What `litert-benchmark` tells of a file.

    Raises:
      DeviceError: it ended with an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, 'result.json')
        options = {
            'model': case.file,
            'num_threads': threads,
            'warmup_runs': warmup_runs,
            'num_runs': runs,
            'result_json': result,
        }
        command = [*COMMAND, *(f'--{name}={value}' for name, value in options.items())]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode or not result.is_file():
            last = (process.stderr.strip().splitlines() or ['no message'])[-1]
            raise DeviceError(f'litert-benchmark cannot measure {case.file}: {last}')
        told = json.loads(result.read_text(encoding='utf-8'))['latency']
    return Turn(
        runs=told['num_runs'],
        mean_ms=told['avg_ms'],
        min_ms=told['min_ms'],
        max_ms=told['max_ms'],
        std_ms=told['std_ms'],
        median_ms=told['median_ms'],
        p5_ms=told['p5_ms'],
        p95_ms=told['p95_ms'],
    )
