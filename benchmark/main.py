"""Measures .tflite files on this host; prints a table and writes JSON.

Example:
    python -m benchmark.main --model=A.tflite,B.tflite --output=results.json
"""

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmark import host
from export.card import read_card
from train import cli
from train.files import write_json


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_list(
        'model', [], '.tflite files, or directories of them; the first is the baseline.'
    )
    flags.DEFINE_integer('threads', 1, 'Threads of the interpreter; the paper uses 1.')
    flags.DEFINE_integer('warmup', 10, 'Untimed runs at the start of each turn.')
    flags.DEFINE_integer('rounds', 10, 'Turns of each file, loaded afresh; intervals from 6 on.')
    flags.DEFINE_integer('runs', 20, 'Timed runs of each file in one turn.')
    flags.DEFINE_string('output', 'results.json', 'Where the figures go, as JSON.')


def main() -> None:
    """Reads the flags and reports."""
    report(
        find_models(flags.FLAGS.model),
        Path(flags.FLAGS.output),
        threads=flags.FLAGS.threads,
        warmup_runs=flags.FLAGS.warmup,
        rounds=flags.FLAGS.rounds,
        runs_per_round=flags.FLAGS.runs,
    )


def find_models(names: Sequence[str]) -> list[Path]:
    """The files in the order given, each directory replaced by its .tflite files by name.

    Raises:
        ValueError: nothing named, or a directory without .tflite files.
    """
    if not names:
        raise ValueError('--model is empty, expected .tflite files or directories; name one')
    files: list[Path] = []
    for name in names:
        path = Path(name)
        found = sorted(path.glob('*.tflite')) if path.is_dir() else [path]
        if not found:
            raise ValueError(
                f'{path} holds no .tflite file, expected at least one; export a model into it first'
            )
        files += found
    return files


def report(files: Sequence[Path], output: Path, **protocol: int) -> None:
    """Measures the files with the options of `host.measure`, prints the table, writes `output`.

    Raises:
        ValueError: `output` is a directory or a model's card, a card is not JSON, or a file or an
            option is not fit for `host.measure`.
    """
    # All that can be wrong is found out before the minutes of measuring.
    names = [card_name(file) for file in files]
    check_output(output, files)
    document: dict[str, Any] = {
        'time': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'host': host.host_facts(),
        'protocol': {**protocol, 'batch': 1},
    }
    latencies = host.measure(files, **protocol, progress=_show_progress)
    document.update(host.to_json(latencies))
    for entry, name in zip(document['models'], names, strict=True):
        entry['name'] = name
    print(host.table(latencies))
    write_json(output, document)
    print(f'written to {output}')


def card_name(file: Path) -> str | None:
    """`name` in the card beside a .tflite file; None without a card or a name in it.

    Raises:
        ValueError: the file in the card's place is no card.
    """
    name = (read_card(file) or {}).get('name')
    return name if isinstance(name, str) else None


def check_output(output: Path, files: Sequence[Path]) -> None:
    """Makes the directory of `output`; refuses a path that would destroy something.

    Raises:
        ValueError: `output` is a directory, a measured file, or the card of one.
    """
    if output.is_dir():
        raise ValueError(f'--output={output} is a directory, expected a file; add a file name')
    for file in files:
        if output.resolve() in (file.resolve(), file.with_suffix('.json').resolve()):
            raise ValueError(
                f'--output={output} is the place of {file.name} or of its card, '
                'expected a file of its own; choose another name'
            )
    output.parent.mkdir(parents=True, exist_ok=True)


def _show_progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        end = '\n' if done == rounds else ''
        print(f'\rround {done} of {rounds}', end=end, file=sys.stderr, flush=True)


if __name__ == '__main__':
    cli.run(main, define_flags)
