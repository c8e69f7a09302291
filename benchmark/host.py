"""This host as a device: .tflite files through the LiteRT interpreter.

Every turn loads its file afresh, because where an interpreter's memory happens to lie moves its
latency by some percent: with loaded interpreters kept, a file measured against itself lay outside
the 95 % interval in 13 cases of 100, loaded afresh in 4 of 100.
"""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.device import Case, DeviceError
from benchmark.latency import Latency, Turn, turn_of, turn_order
from benchmark.session import Protocol, cases_of
from benchmark.session import measure as measure_on
from train.tflite_file import open_interpreter, read_identity, unreadable

BUSY_CORES = 0.3  # of other work, above which a reader is warned
_INPUT_SEED = 0
_BUSY_S = 0.5  # over which other work is looked at


class HostDevice:
    """This machine (`benchmark.device.Device`)."""

    name = 'host'

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def facts(self) -> dict[str, Any]:
        """Processor, cores, load at this moment, runtime."""
        return {
            'cpu': _cpu_model(),
            'machine': platform.machine(),
            'cores': os.cpu_count(),
            'load_average_1min': os.getloadavg()[0],
            'system': f'{platform.system()} {platform.release()}',
            'runtime': _runtime(),
        }

    def settings(self) -> dict[str, Any]:
        """Processor and runtime: every host has the same name."""
        return {'cpu': _cpu_model(), 'runtime': _runtime()}

    def prepare(self, cases: Sequence[Case]) -> None:
        """Runs each file once: one that cannot be run is found before minutes are spent."""
        for case in cases:
            _load(case, threads=1)
        busy = _busy_cores()
        if busy > BUSY_CORES:
            self.warnings.append(
                f'other work kept {busy:.1f} cores busy at the start; measure again when it is quiet'
            )

    def turn(self, case: Case, *, threads: int, warmup_runs: int, runs: int) -> Turn:
        """Loads a file and times single invocations."""
        return turn_of(_time(_load(case, threads), warmup_runs, runs, time.perf_counter_ns))

    def close(self) -> None:
        """Nothing was left behind."""


def measure(
    paths: Sequence[str | os.PathLike],
    *,
    threads: int = 1,
    warmup_runs: int = 10,
    rounds: int = 10,
    runs_per_round: int = 20,
) -> list[Latency]:
    """Measures files here, by turns; see `benchmark.session.measure`.

    Raises:
        ValueError: no file, a count below 1, a file that is missing or that LiteRT cannot run.
    """
    protocol = Protocol(threads, warmup_runs, rounds, runs_per_round)
    return measure_on(HostDevice(), cases_of(paths), protocol)


def time_by_turns(
    loaders: Sequence[Callable[[], Callable[[], object]]],
    *,
    warmup_runs: int,
    rounds: int,
    runs_per_round: int,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[np.ndarray]:
    """Times by turns what each loader gives; milliseconds of each, float64 [rounds, runs]."""
    samples_ms = [np.zeros((rounds, runs_per_round)) for _ in loaders]
    for round_index in range(rounds):
        for index in turn_order(round_index, len(loaders)):
            run = loaders[index]()
            samples_ms[index][round_index] = _time(run, warmup_runs, runs_per_round, clock_ns)
    return samples_ms


def _time(
    run: Callable[[], object], warmup_runs: int, runs: int, clock_ns: Callable[[], int]
) -> list[float]:
    """Milliseconds of each of `runs` calls, after untimed ones."""
    for _ in range(warmup_runs):
        run()
    samples_ms = []
    for _ in range(runs):
        start_ns = clock_ns()
        run()
        samples_ms.append((clock_ns() - start_ns) / 1e6)
    return samples_ms


def _load(case: Case, threads: int) -> Callable[[], object]:
    """A call that runs the file once, on inputs that are already set."""
    interpreter = open_interpreter(case.file, threads=threads, delegate=case.xnnpack)
    if read_identity(case.file)[0] != case.sha256:
        raise DeviceError(
            f'{case.file} has changed since the start, expected sha256 {case.sha256[:12]}…; leave '
            'the files alone while they are measured, and start again'
        )
    try:
        set_inputs(interpreter)
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise DeviceError(str(unreadable(case.file, error))) from error
    return interpreter.invoke


def set_inputs(interpreter: Any) -> None:
    """Allocates a LiteRT interpreter with unknown dimensions set to 1, fills its inputs.

    Floats are uniform in [-1, 1], uint8, int8 and int16 over their whole range, from a fixed seed;
    other integers, which are places in something, are 0.

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
        elif dtype in (np.uint8, np.int8, np.int16):
            limits = np.iinfo(dtype)
            values = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        elif dtype.kind in 'iub':
            values = np.zeros(shape, dtype)
        else:
            raise ValueError(f'input {detail["name"]!r} is {dtype}, whose valid range is unknown')
        interpreter.set_tensor(detail['index'], values)


def _runtime() -> str:
    return f'ai-edge-litert {importlib.metadata.version("ai-edge-litert")}'


def _cpu_model() -> str:
    cpuinfo = Path('/proc/cpuinfo')  # platform.processor() is empty on many Linux systems
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):  # x86; Arm kernels do not give one
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def _busy_cores() -> float:
    """How many cores are busy while this process waits; 0 where that is not told."""
    stat = Path('/proc/stat')
    if not stat.is_file():
        return 0.0
    ticks = []
    for wait_s in (_BUSY_S, 0.0):
        # cpu  user nice system idle iowait …
        ticks.append([int(word) for word in stat.read_text().split(maxsplit=8)[1:8]])
        time.sleep(wait_s)
    spent = np.subtract(ticks[1], ticks[0])
    idle_share = spent[3:5].sum() / max(spent.sum(), 1)
    return float((1.0 - idle_share) * (os.cpu_count() or 1))
