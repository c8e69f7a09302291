"""Stands in for TFLite's benchmark_model on a machine that LiteRT's Python runs on.

It takes the tool's flags, runs the file through LiteRT and prints what the tool prints, with the
percentiles of its newer builds. Flags that it does not know it ignores, as the tool does.

The folder that PHONE_FILES names tells it with a file FAULT to fail as the tool or a phone can.
"""

import os
import pathlib
import sys
import time

import numpy as np

FILES = pathlib.Path(os.environ['PHONE_FILES'])
# What each flag is called when it is echoed, and its default.
KNOWN = {
    'num_runs': ('Min num runs', 50),
    'min_secs': ('Min runs duration (seconds)', 1.0),
    'num_threads': ('Num threads', -1),
    'warmup_runs': ('Min warmup runs', 1),
    'warmup_min_secs': ('Min warmup runs duration (seconds)', 0.5),
    'graph': ('Graph', ''),
    'enable_op_profiling': ('Enable op profiling', False),
    'profiling_output_csv_file': ('CSV File to export profiling data to', ''),
    'use_xnnpack': ('Use xnnpack', True),
}


def fault() -> str:
    """How it is to fail; empty for not at all."""
    path = FILES / 'FAULT'
    return path.read_text() if path.exists() else ''


def parse(arguments: list[str]) -> dict:
    """The flags that are known, echoed as the tool does; the others are ignored."""
    given = dict(argument[2:].partition('=')[::2] for argument in arguments)
    if fault() == 'old':
        given.pop('use_xnnpack', None)
    values = {}
    for name, (echo, default) in KNOWN.items():
        if name in given:
            text = {'true': '1', 'false': '0'}.get(given[name], given[name])
            print(
                f'INFO: {echo}: [{float(text):g}]'
                if _is_number(text)
                else f'INFO: {echo}: [{text}]'
            )
            values[name] = type(default)(float(text)) if _is_number(text) else text
        else:
            values[name] = default
    return values


def run_all(interpreter, runs: int, min_seconds: float) -> np.ndarray:
    """Microseconds of each run, int64 [N]."""
    print(
        f'INFO: Running benchmark for at least {runs} iterations and at least {min_seconds:g} seconds'
    )
    start = time.perf_counter()
    taken = []
    while len(taken) < runs or time.perf_counter() - start < min_seconds:
        before_ns = time.perf_counter_ns()
        interpreter.invoke()
        taken.append((time.perf_counter_ns() - before_ns) // 1000)
    return np.array(taken)


def tell(us: np.ndarray) -> None:
    """One line of counts."""
    p5, median, p95 = (int(np.sort(us)[len(us) * p // 100]) for p in (5, 50, 95))
    if us.min() == us.max():
        head = f'count={len(us)} curr={us[-1]}' + ('(all same)' if len(us) > 1 else '')
    else:
        head = (
            f'count={len(us)} first={us[0]} curr={us[-1]} min={us.min()} max={us.max()} '
            f'avg={us.mean():g} std={int(us.std())}'
        )
    print(f'INFO: {head} p5={p5} median={median} p95={p95}\n', flush=True)


def write_profile(path: str, interpreter, us: np.ndarray) -> None:
    """The ops as CSV; LiteRT's Python tells no times, so that they share the whole run evenly."""
    kinds = [op['op_name'] for op in interpreter._get_ops_details()]
    share_ms = us.mean() / 1000 / len(kinds)
    rows = [
        f'{kind}, {share_ms:g}, {share_ms:g}, {100 / len(kinds):g}%, '
        f'{100 * (index + 1) / len(kinds):g}%, 0, 1, [op_{index}]:{index}'
        for index, kind in enumerate(kinds)
    ]
    pathlib.Path(path).write_text(
        'Operator-wise Profiling Info for Regular Benchmark Runs:\n'
        '============================== Run Order ==============================\n'
        'node type, first, avg_ms, %, cdf%, mem KB, times called, name\n'
        + '\n'.join(rows)
        + f'\n\nNumber of nodes executed: {len(rows)}\n'
    )


def main() -> int:
    """Runs and returns the exit code."""
    if fault() == 'garbage':
        print('\x00\x01 what is this')
        return 0
    print('INFO: STARTING!')
    values = parse(sys.argv[1:])
    if fault() == 'crash':
        print('ERROR: Failed to apply XNNPACK delegate.', file=sys.stderr)
        return 1
    if fault() == 'hang':
        (FILES / 'RUNNING').write_text(str(os.getpid()))
        time.sleep(600)
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = Interpreter(
            model_path=values['graph'],
            num_threads=values['num_threads'],
            experimental_op_resolver_type=OpResolverType.AUTO if values['use_xnnpack'] else without,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        print(f'ERROR: Failed to load model {values["graph"]}: {error}', file=sys.stderr)
        print('ERROR: Benchmarking failed.', file=sys.stderr)
        return 1
    print(f'INFO: Loaded model {values["graph"]}')
    warmup = run_all(interpreter, values['warmup_runs'], values['warmup_min_secs'])
    tell(warmup)
    timed = run_all(interpreter, values['num_runs'], values['min_secs'])
    tell(timed)
    if values['enable_op_profiling']:
        write_profile(values['profiling_output_csv_file'], interpreter, timed)
    print(
        f'INFO: Inference timings in us: Init: 1000, First inference: {warmup[0]}, '
        f'Warmup (avg): {warmup.mean():g}, Inference (avg): {timed.mean():g}'
    )
    return 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


if __name__ == '__main__':
    sys.exit(main())
