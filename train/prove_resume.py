"""Kills a command at random moments, starts it again each time, and compares what it leaves in the end.

    python -m train.prove_resume --scratch=runs/proof --kills=30 -- \\
        python -m train.main --model=small --dataset=builtin:shapes … --workdir=OUT

The same for export.tflite (--output=OUT) and search.main. OUT stands for a folder: the command runs
once undisturbed, and then under SIGKILL until it was killed often enough, as many times over as that
takes. Files of the two folders are compared byte by byte.
"""

import collections
import contextlib
import dataclasses
import fnmatch
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags

from train import cli
from train.files import sha256_of
from train.metrics_file import METRICS_FILE, is_evaluation, read_metrics

FLAGS = flags.FLAGS
OUT = 'OUT'  # in a command, the folder that it writes to
# What has to be the same. Logs and cards tell of times, too.
COMPARED = (
    '*/step_*/variables.*',
    '*/step_*/state.json',
    METRICS_FILE,
    f'*/{METRICS_FILE}',
    '*.tflite',
    '*spec.json',
)
# What a kill is to hit: the start, a file while it is written, an evaluation, or whatever goes on.
AIMS = ('start', 'write', 'evaluation', 'any')
LOOK_SECONDS = 0.001
WRITES = 4  # at most, that a run finishes before it is killed in another
_TEMPORARY = '.tmp-'


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """What is known of a command that ran to its end.

    Attributes:
      start_seconds: until it wrote its first file.
      seconds: in all.
      evaluated: by folders of runs, the steps at which they evaluate.
    """

    start_seconds: float
    seconds: float
    evaluated: dict[str, frozenset[int]]


@dataclasses.dataclass
class Proof:
    """What was done and found.

    Attributes:
      hits: how often a kill found the command at what, by AIMS.
      rounds: how often it came to its end.
      files: how many were compared in each.
      differing: files that were not the same.
    """

    hits: collections.Counter[str]
    rounds: int = 0
    files: int = 0
    differing: set[str] = dataclasses.field(default_factory=set)


def prove(
    command: Sequence[str],
    scratch: Path,
    *,
    kills: int,
    seed: int = 0,
    aims: Sequence[str] = AIMS,
    compared: Sequence[str] = COMPARED,
    environment: dict[str, str] | None = None,
) -> Proof:
    """Kills a command `kills` times and compares its files with those of an undisturbed one.

    Args:
      command: with OUT in it.
      scratch: folder for what the command writes: killed/ and undisturbed/, which are removed first.
      kills: how often.
      seed: of the moments.
      aims: what the kills are to hit, in turn.
      compared: patterns of names of files, relative to the folder.
      environment: of the command.

    Raises:
      ValueError: the command fails by itself, or leaves nothing to compare.
    """
    out = scratch / 'killed'
    if not any(OUT in word for word in command):
        raise ValueError(
            f'the command {" ".join(command)} has no {OUT} for the folder it writes to'
        )
    runner = _Runner(command, environment)
    undisturbed, expected = _run_undisturbed(runner, out, scratch / 'undisturbed', compared)
    proof, rng = Proof(collections.Counter()), random.Random(seed)
    left = [aims[number % len(aims)] for number in range(kills)]
    rng.shuffle(left)
    while True:
        shutil.rmtree(out, ignore_errors=True)
        before = len(left)
        while left and not _has_ended(runner, out, undisturbed, left[-1], rng, proof):
            left.pop()
        if not left:
            with runner.started(out) as process:
                _finish(process, out)
        elif len(left) == before:  # a whole run had nothing like it
            left[-1] = 'any'
        found = _sums(out, compared)
        names = found.keys() | expected.keys()
        differing = {name for name in names if found.get(name) != expected.get(name)}
        proof.differing |= differing
        proof.rounds, proof.files = proof.rounds + 1, len(expected)
        print(f'end {proof.rounds}: {len(differing)} of {len(names)} files differ', flush=True)
        if not left:
            return proof


class _Runner:
    def __init__(self, command: Sequence[str], environment: dict[str, str] | None) -> None:
        self._command, self._environment = command, environment

    @contextlib.contextmanager
    def started(self, folder: Path) -> Iterator[subprocess.Popen]:
        """In a group of its own: the processes that it starts are killed with it, here at the latest."""
        folder.mkdir(parents=True, exist_ok=True)
        with open(_log_of(folder), 'ab') as log:
            process = subprocess.Popen(
                [word.replace(OUT, str(folder)) for word in self._command],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _log_of(folder: Path) -> Path:
    return folder.with_suffix('.log')


def _finish(process: subprocess.Popen, folder: Path) -> None:
    """To the end."""
    if code := process.wait():
        log = _log_of(folder).read_text(errors='replace').splitlines()
        raise ValueError(f'the command ended with {code}: {log[-1] if log else "no words"}')


def _run_undisturbed(
    runner: _Runner, folder: Path, kept: Path, compared: Sequence[str]
) -> tuple[Undisturbed, dict[str, str]]:
    """Runs it in the place of the killed ones, as states tell of paths, and moves what it leaves.

    Returns:
      What is known of it, and the sums of its files.
    """
    for place in (kept, folder):
        shutil.rmtree(place, ignore_errors=True)
        _log_of(place).unlink(missing_ok=True)
    undisturbed, expected = _watch(runner, folder), _sums(folder, compared)
    if not expected:
        raise ValueError(f'{folder} has no files like {", ".join(compared)}; nothing to compare')
    for path in (folder, _log_of(folder)):
        path.rename(kept.with_suffix(path.suffix))
    return undisturbed, expected


def _watch(runner: _Runner, folder: Path) -> Undisturbed:
    began = time.monotonic()
    with runner.started(folder) as process:
        while not any(folder.iterdir()) and process.poll() is None:
            time.sleep(LOOK_SECONDS)
        start_seconds = time.monotonic() - began
        _finish(process, folder)
    evaluated = {
        os.path.relpath(path.parent, folder): frozenset(
            int(line['step']) for line in read_metrics(str(path.parent)) if is_evaluation(line)
        )
        for path in folder.rglob(METRICS_FILE)
    }
    return Undisturbed(start_seconds, time.monotonic() - began, evaluated)


def _has_ended(
    runner: _Runner,
    folder: Path,
    undisturbed: Undisturbed,
    aim: str,
    rng: random.Random,
    proof: Proof,
) -> bool:
    """Starts the command and kills it where the aim says; whether it came to its end before."""
    began = time.time()
    with runner.started(folder) as process:
        if not _await(process, folder, undisturbed, aim, rng):
            _finish(process, folder)
            return True
    hit = _hit(folder, undisturbed, aim, began)
    proof.hits[hit] += 1
    print(f'kill {proof.hits.total()}: {hit}', flush=True)
    return False


def _await(
    process: subprocess.Popen,
    folder: Path,
    undisturbed: Undisturbed,
    aim: str,
    rng: random.Random,
) -> bool:
    """Waits until it is time to kill; False where the command ended first."""
    start, work = undisturbed.start_seconds, undisturbed.seconds - undisturbed.start_seconds
    spans = {'start': (0.0, start), 'any': (start, start + work)}
    if aim in spans:
        return _sleep(process, rng.uniform(*spans[aim]))
    left, seen = rng.randint(1, WRITES if aim == 'write' else 2), _temporaries(folder)
    began, under_way = time.time(), False
    while process.poll() is None:
        if aim == 'write':
            new = _temporaries(folder)
            left, seen = left - len(new - seen), seen | new
        else:
            before, under_way = under_way, _evaluates(folder, undisturbed, began)
            left -= under_way and not before
        if left <= 0:
            return _sleep(process, rng.uniform(0, 0.02))
        time.sleep(LOOK_SECONDS)
    return False


def _sleep(process: subprocess.Popen, seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _hit(folder: Path, undisturbed: Undisturbed, aim: str, began: float) -> str:
    """What a kill really interrupted, from what it left."""
    if any(os.path.getmtime(path) > began for path in _temporaries(folder)):
        return 'write'
    if _evaluates(folder, undisturbed, began):
        return 'evaluation'
    return 'start' if aim == 'start' else 'any'


def _temporaries(folder: Path) -> set[str]:
    """Files and folders that are being written, or were when something was killed."""
    found = set()
    for root, folders, files in os.walk(folder):
        found |= {os.path.join(root, name) for name in (*folders, *files) if _TEMPORARY in name}
    return found


def _evaluates(folder: Path, undisturbed: Undisturbed, began: float) -> bool:
    """Whether a run has logged the loss of a step that it evaluates at, and not yet its figures.

    What it logged before it began was taken from the one that was killed before.
    """
    for name, steps in undisturbed.evaluated.items():
        path = folder / name / METRICS_FILE
        if not path.is_file() or path.stat().st_mtime < began:
            continue
        lines = read_metrics(os.fspath(path.parent))
        if lines and lines[-1]['step'] in steps and not is_evaluation(lines[-1]):
            return True
    return False


def _sums(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Checksums by names relative to the folder."""
    names = (os.path.relpath(path, folder) for path in folder.rglob('*') if path.is_file())
    return {
        name: sha256_of(folder / name)
        for name in names
        if _TEMPORARY not in name and any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    }


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('scratch', None, 'Folder for what the command writes.', required=True)
    flags.DEFINE_integer('kills', 30, 'How often to kill it.', lower_bound=1)
    flags.DEFINE_integer('seed', 0, 'Of the moments.')
    flags.DEFINE_list('compare', list(COMPARED), 'Patterns of files that have to be the same.')


def main(command: list[str]) -> None:
    """Flags to one call."""
    # As Ctrl-C does, so that the command does not outlive this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    proof = prove(
        command,
        Path(FLAGS.scratch),
        kills=FLAGS.kills,
        seed=FLAGS.seed,
        compared=FLAGS.compare,
    )
    hits = ', '.join(f'{count} {aim}' for aim, count in sorted(proof.hits.items()))
    print(f'{proof.hits.total()} kills ({hits}), {proof.rounds} runs to the end')
    if proof.differing:
        raise ValueError('these files differ: ' + ', '.join(sorted(proof.differing)))
    print(f'all {proof.files} files are the same, byte by byte')


if __name__ == '__main__':
    cli.run(main, define_flags, positional='COMMAND after --')
