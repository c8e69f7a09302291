"""Builds the files of the paper's tables and figures (benchmark/paper/grid.py), each with its card.

    python -m benchmark.paper_grid --output=runs/paper-grid/models
    python -m benchmark.paper_grid --output=runs/heads --only='ssdlite_*,seg_*_512x1024_*'
    python -m benchmark.paper_grid --output=runs/paper-grid/models --workdirs=runs/large,runs/small \\
        --only='large_*_224_float32,v2_*'

Networks that no run of --workdirs has trained get random weights, with activations of ordinary size:
good for their speed, and nothing else. Segmenters, which take long, go into the folder segmentation
below --output, to be measured with fewer runs. Interrupted, the same command goes on; what is there
already is not built again.
"""

import dataclasses
import fnmatch
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from benchmark.paper.card_key import head_values
from benchmark.paper.grid import ENTRIES, AnyEntry
from benchmark.paper.grid_files import Job, TrainedRun, build, is_there
from benchmark.paper.workers import run_apart
from mobilenet_v3.cost import check_resolution
from mobilenet_v3.spec import ModelSpec, Size
from mobilenet_v3.spec_file import to_dict
from train import cli

FLAGS = flags.FLAGS
# Of each process, which has a core of its own.
ENVIRONMENT = {'TF_NUM_INTRAOP_THREADS': '1', 'TF_NUM_INTEROP_THREADS': '1', 'TQDM_DISABLE': '1'}
SHOWN_PROBLEMS = 3


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('output', None, 'Folder for the files.', required=True)
    flags.DEFINE_list('workdirs', [], 'Runs of train.main whose weights their networks take.')
    flags.DEFINE_list('only', [], "Names of files, or patterns of them: 'large_*_int8'; all.")
    flags.DEFINE_integer('processes', 2, 'Files that are built at once, a core each.')


def main() -> None:
    """Flags to one call."""
    if FLAGS.processes < 1:
        raise ValueError(f'--processes is {FLAGS.processes}; expected at least 1')
    entries = choose(FLAGS.only)
    runs = find_runs(FLAGS.workdirs) if FLAGS.workdirs else {}
    jobs = [Job(entry, FLAGS.output, runs.get(run_key(entry))) for entry in entries]
    try:
        os.makedirs(FLAGS.output, exist_ok=True)
    except OSError as e:
        raise ValueError(f'cannot make --output={FLAGS.output}: {e}') from None
    build_all(jobs, FLAGS.processes)


def choose(patterns: Sequence[str]) -> list[AnyEntry]:
    """The entries that patterns name, in the grid's order; all where there is no pattern.

    Raises:
      ValueError: a pattern names none.
    """
    for pattern in patterns:
        if not fnmatch.filter(ENTRIES, pattern):
            raise ValueError(
                f'--only={pattern} names no file of the grid; expected names such as '
                f"{next(iter(ENTRIES))}, or patterns such as 'small_*_int8'"
            )
    chosen = [key for key in ENTRIES if any(fnmatch.fnmatch(key, p) for p in patterns or ['*'])]
    return [ENTRIES[key] for key in chosen]


# Weights


def find_runs(workdirs: Sequence[str]) -> dict[str, TrainedRun]:
    """The runs by the network and resolution that they trained, as `run_key` names these.

    Raises:
      ValueError: a folder holds no run, one of a network that the grid has not, or two hold the same.
    """
    cli.import_tensorflow()
    from train.run import Run, newest

    known = {run_key(entry) for entry in ENTRIES.values()}
    runs: dict[str, TrainedRun] = {}
    for workdir in workdirs:
        saved = newest(workdir)
        run = Run.from_state(saved.state)
        task = run.make_task()
        height, width = task.resolution
        head = getattr(task, 'head', None)
        key = _key_of(run.spec, (height, width), dataclasses.asdict(head) if head else None)
        if key not in known or run.config.model.input_channels != 3:
            raise ValueError(
                f'--workdirs: {workdir} is {run.spec.name} × {run.config.model.multiplier:g} at '
                f'{height}×{width} with {run.config.model.input_channels} channels, which no file '
                'of the grid is; see benchmark/paper/grid.py'
            )
        if key in runs:
            raise ValueError(
                f'--workdirs: {runs[key].workdir} and {workdir} trained the same network; name one'
            )
        sums = json.dumps(saved.state['sha256'], sort_keys=True)
        runs[key] = TrainedRun(
            workdir,
            saved.state['step'],
            hashlib.sha256(sums.encode()).hexdigest(),
            *_read_evaluation(workdir, saved.state['step']),
        )
    return runs


def run_key(entry: AnyEntry) -> str:
    """The network, head and resolution of an entry, whatever the first is called."""
    return _key_of(entry.spec, check_resolution(entry.resolution), head_values(entry))


def _key_of(spec: ModelSpec, size: Size, head: dict[str, Any] | None) -> str:
    # A name and a dropout change nothing in a file.
    plain = {'name': '', 'dropout': 0.0}
    values = [{**to_dict(spec), **plain}, size, {**head, **plain} if head else None]
    return json.dumps(values, sort_keys=True)


def _read_evaluation(workdir: str, step: int) -> tuple[int | None, dict[str, float] | None]:
    """Examples and metrics of a run that has ended at `step`."""
    path = os.path.join(workdir, 'results.json')
    try:
        with open(path, encoding='utf-8') as file:
            results = json.load(file)
    except FileNotFoundError:
        results = {}
    if results.get('step') != step:
        print(f'{workdir} has not ended: its files have no accuracy on their cards')
        return None, None
    return results['examples'], results['averaged']


# Building


def build_all(jobs: Sequence[Job], processes: int) -> None:
    """Builds what is not there yet, and says how it went.

    Raises:
      ValueError: some could not be built; the message names them, the others are there.
    """
    from tqdm import tqdm

    left = [job for job in jobs if not is_there(job)]
    began = time.monotonic()
    problems = {}
    with tqdm(
        total=len(jobs),
        initial=len(jobs) - len(left),
        desc='build',
        unit=' files',
        # A log file wants a line now and then, a terminal wants to see it move.
        mininterval=0.5 if sys.stderr.isatty() else 10,
        smoothing=0.05,  # files of int8 take three times as long as others, and come in rows
    ) as bar:
        for job, problem in run_apart(build, left, processes=processes, environment=ENVIRONMENT):
            if problem:
                problems[job.entry.key] = problem
                bar.write(f'{job.entry.key}: {problem}', file=sys.stderr)
            bar.update()
    built = len(left) - len(problems)
    print(
        f'{jobs[0].folder}: {built} files built in {time.monotonic() - began:.0f} s, '
        f'{len(jobs) - len(left)} were there'
    )
    if problems:
        raise ValueError(_summary(problems, len(left)))


def _summary(problems: dict[str, str], asked: int) -> str:
    names = list(problems)
    others = len(names) - SHOWN_PROBLEMS
    reasons = '; '.join(f'{name}: {problems[name]}' for name in names[:SHOWN_PROBLEMS])
    more = f'; and {", ".join(names[SHOWN_PROBLEMS:])}' if others > 0 else ''
    return (
        f'{len(problems)} of {asked} files could not be built: {reasons}{more}. The others are there; '
        'the same command tries these again'
    )


if __name__ == '__main__':
    cli.run(main, define_flags)
