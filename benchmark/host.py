"""Latency of .tflite files on this host, through the LiteRT interpreter.

Paper: §6.1.2 (one thread, batch 1, the TFLite runtime).
The files take turns round by round: whatever slows a shared machine for a while hits all of them,
and a ratio is formed inside each round, so that the drift cancels. Every turn loads its file afresh,
because where an interpreter's memory happens to lie moves its latency by some percent: with loaded
interpreters kept, a file measured against itself lay outside the 95 % interval in 13 cases of 100,
loaded afresh in 4 of 100.
"""

import dataclasses
import functools
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.tflite_file import open_interpreter, read_identity, unreadable

_INPUT_SEED = 0
_BOOTSTRAP_DRAWS = 2000
_BOOTSTRAP_SEED = 0
# With 5 rounds even the span from lowest to highest covers the true median in only 94 % of cases.
_MIN_ROUNDS_FOR_INTERVAL = 6


@dataclasses.dataclass(frozen=True)
class Latency:
    """What one file took, over all timed runs; round_medians_ms[k] is the median of round k."""

    model: str
    sha256: str
    size_bytes: int
    threads: int
    runs: int
    median_ms: float
    p5_ms: float
    p95_ms: float
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


def measure(
    paths: Sequence[str | Path],
    *,
    threads: int = 1,
    warmup_runs: int = 10,
    rounds: int = 10,
    runs_per_round: int = 20,
    progress: Callable[[int, int], None] | None = None,
) -> list[Latency]:
    """Measures the files by turns, `rounds` times `runs_per_round` single invocations each.

    Paper: §6.1.2.

    Args:
        paths: .tflite files; naming one twice shows the noise.
        threads: threads of the interpreter; the paper uses 1.
        warmup_runs: untimed invocations at the start of each turn.
        rounds: turns of each file; below 6 the ratios have no interval.
        runs_per_round: timed invocations in one turn.
        progress: called with (rounds done, rounds) after each round.

    Returns:
        One Latency a file, in the order of `paths`.

    Raises:
        ValueError: no file, a count below 1, a file that is missing or that LiteRT cannot run.
    """
    for name, count in (
        ('threads', threads),
        ('warmup_runs', warmup_runs),
        ('rounds', rounds),
        ('runs_per_round', runs_per_round),
    ):
        if count < 1:
            raise ValueError(f'{name} is {count}, expected at least 1; pass 1 or more')
    if not paths:
        raise ValueError('no model given, expected at least one .tflite file; name one')
    files = [Path(path) for path in paths]
    hashes_and_sizes = [read_identity(file) for file in files]
    loaders = [functools.partial(_load, file, threads) for file in files]
    for load in loaders:
        load()  # a file that cannot be run is found before minutes are spent on the others
    samples_ms = time_by_turns(
        loaders,
        warmup_runs=warmup_runs,
        rounds=rounds,
        runs_per_round=runs_per_round,
        progress=progress,
    )
    return [
        summarize(file_samples_ms, model=name, sha256=sha256, size_bytes=size, threads=threads)
        for name, (sha256, size), file_samples_ms in zip(
            _names(files), hashes_and_sizes, samples_ms, strict=True
        )
    ]


def turn_order(round_index: int, count: int) -> list[int]:
    """Order in which `count` files run in a round: rotated each round, reversed each cycle.

    Two files run AB BA BA AB, so that a linear drift favours neither; over 2·count rounds each file
    stands in each place twice.
    """
    cycle, shift = divmod(round_index, count)
    order = [(shift + place) % count for place in range(count)]
    return order[::-1] if cycle % 2 else order


def time_by_turns(
    loaders: Sequence[Callable[[], Callable[[], object]]],
    *,
    warmup_runs: int,
    rounds: int,
    runs_per_round: int,
    progress: Callable[[int, int], None] | None = None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[np.ndarray]:
    """Times by turns what each loader gives; milliseconds of each, float64 [rounds, runs]."""
    samples_ms = [np.zeros((rounds, runs_per_round)) for _ in loaders]
    for round_index in range(rounds):
        for index in turn_order(round_index, len(loaders)):
            run = loaders[index]()
            for _ in range(warmup_runs):
                run()
            for run_index in range(runs_per_round):
                start_ns = clock_ns()
                run()
                samples_ms[index][round_index, run_index] = (clock_ns() - start_ns) / 1e6
        if progress is not None:
            progress(round_index + 1, rounds)
    return samples_ms


def summarize(
    samples_ms: np.ndarray, *, model: str, sha256: str, size_bytes: int, threads: int
) -> Latency:
    """Statistics of one file's timed runs, milliseconds [rounds, runs]; percentiles over all."""
    p5_ms, median_ms, p95_ms = np.percentile(samples_ms, [5, 50, 95]).tolist()
    return Latency(
        model=model,
        sha256=sha256,
        size_bytes=size_bytes,
        threads=threads,
        runs=samples_ms.size,
        median_ms=median_ms,
        p5_ms=p5_ms,
        p95_ms=p95_ms,
        min_ms=float(samples_ms.min()),
        mean_ms=float(samples_ms.mean()),
        round_medians_ms=tuple(np.median(samples_ms, axis=1).tolist()),
    )


def ratios(latencies: Sequence[Latency]) -> list[Ratio]:
    """Ratio of every further file to the first, formed round by round, from one `measure` call.

    Raises:
        ValueError: the files have different numbers of rounds, so they were not measured together.
    """
    baseline = latencies[0]
    result = []
    for latency in latencies[1:]:
        if len(latency.round_medians_ms) != len(baseline.round_medians_ms):
            raise ValueError(
                f'{latency.model} has {len(latency.round_medians_ms)} rounds, expected the '
                f'{len(baseline.round_medians_ms)} of {baseline.model}; measure them together'
            )
        per_round = np.divide(latency.round_medians_ms, baseline.round_medians_ms)
        low, high = _median_interval(per_round)
        result.append(Ratio(latency.model, baseline.model, float(np.median(per_round)), low, high))
    return result


def host_facts() -> dict[str, Any]:
    """What a reader needs to judge the figures: processor, cores, load at this moment, runtime."""
    return {
        'cpu': _cpu_model(),
        'machine': platform.machine(),
        'cores': os.cpu_count(),
        'load_average_1min': os.getloadavg()[0],
        'system': f'{platform.system()} {platform.release()}',
        'runtime': f'ai-edge-litert {importlib.metadata.version("ai-edge-litert")}',
    }


def to_json(latencies: Sequence[Latency]) -> dict[str, Any]:
    """Latencies and their ratios to the first as plain values for json.dump."""
    return {
        'models': [dataclasses.asdict(latency) for latency in latencies],
        'ratios': [dataclasses.asdict(ratio) for ratio in ratios(latencies)],
    }


def table(latencies: Sequence[Latency]) -> str:
    """Aligned Markdown table, one line a file; MB are 10^6 bytes."""
    rows = [['model', 'size MB', 'median ms', 'p5–p95 ms', 'ratio to first [95 %]']]
    cells = ['1', *(_ratio_cell(ratio) for ratio in ratios(latencies))]
    for latency, cell in zip(latencies, cells, strict=True):
        size_mb, spread_ms = latency.size_bytes / 1e6, f'{latency.p5_ms:.3f}–{latency.p95_ms:.3f}'
        rows.append([latency.model, f'{size_mb:.2f}', f'{latency.median_ms:.3f}', spread_ms, cell])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])])
    return '\n'.join(
        f'| {row[0]:<{widths[0]}} | '
        + ' | '.join(f'{cell:>{width}}' for cell, width in zip(row[1:], widths[1:], strict=True))
        + ' |'
        for row in rows
    )


def _ratio_cell(ratio: Ratio) -> str:
    if ratio.low is None:
        return f'{ratio.median:.3f}'
    return f'{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]'


def _median_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """95 % percentile-bootstrap interval of the median, the same for the same values."""
    if len(values) < _MIN_ROUNDS_FOR_INTERVAL:
        return None, None
    draws = np.random.default_rng(_BOOTSTRAP_SEED).choice(values, (_BOOTSTRAP_DRAWS, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5]).tolist()
    return low, high


def _names(files: Sequence[Path]) -> list[str]:
    """File names; whole paths where two different files share one name."""
    paths_of: dict[str, set[Path]] = {}
    for file in files:
        paths_of.setdefault(file.name, set()).add(file)
    return [file.name if len(paths_of[file.name]) == 1 else str(file) for file in files]


def _load(file: Path, threads: int) -> Callable[[], object]:
    """A call that runs the file once, on inputs that are already set."""
    interpreter = open_interpreter(file, threads=threads)
    try:
        set_inputs(interpreter)
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise unreadable(file, error) from error
    return interpreter.invoke


def set_inputs(interpreter: Any) -> None:
    """Allocates a LiteRT interpreter with unknown dimensions set to 1, fills its inputs.

    Floats are uniform in [-1, 1], uint8 and int8 over their whole range, from a fixed seed.

    Raises:
        ValueError: an input of another dtype.
    """
    for detail in interpreter.get_input_details():
        shape = [1 if size == -1 else int(size) for size in detail['shape_signature']]
        if shape != list(detail['shape']):
            interpreter.resize_tensor_input(detail['index'], shape)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(_INPUT_SEED)
    for detail in interpreter.get_input_details():
        dtype, shape = np.dtype(detail['dtype']), detail['shape']
        if dtype.kind == 'f':
            values = rng.uniform(-1, 1, shape).astype(dtype)
        elif dtype in (np.uint8, np.int8):
            limits = np.iinfo(dtype)
            values = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        else:
            raise ValueError(f'input {detail["name"]!r} is {dtype}, whose valid range is unknown')
        interpreter.set_tensor(detail['index'], values)


def _cpu_model() -> str:
    cpuinfo = Path('/proc/cpuinfo')  # platform.processor() is empty on many Linux systems
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):  # x86; Arm kernels do not give one
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
