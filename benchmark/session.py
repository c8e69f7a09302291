"""One measurement: files on one device, by turns, with a journal."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmark.device import Case, Device
from benchmark.journal import Journal
from benchmark.latency import Latency, Turn, summarize, turn_order
from train.tflite_file import read_identity

Kernels = Literal['true', 'false', 'both']
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How files are measured.

    Attributes:
      threads: of the runtime; the paper uses 1.
      warmup_runs: untimed invocations at the start of each turn.
      rounds: turns of each file; below 6 the ratios have no interval.
      runs_per_round: timed invocations in one turn.
    """

    threads: int = 1
    warmup_runs: int = 10
    rounds: int = 10
    runs_per_round: int = 20

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            count = getattr(self, field.name)
            if count < 1:
                raise ValueError(f'{field.name} is {count}, expected at least 1; pass 1 or more')


def cases_of(paths: Sequence[str | os.PathLike], use_xnnpack: Kernels = 'true') -> list[Case]:
    """The files as they are measured, each with the delegate, without, or both.

    Naming a file twice shows the noise; it is then told apart by a number.

    Raises:
      ValueError: no file, one that is no .tflite file, or an unknown `use_xnnpack`.
    """
    if not paths:
        raise ValueError('no model given, expected at least one .tflite file; name one')
    kernels = {'true': (True,), 'false': (False,), 'both': (True, False)}.get(use_xnnpack)
    if kernels is None:
        raise ValueError(f'--use_xnnpack is {use_xnnpack!r}; expected true, false or both')
    files = [Path(path) for path in paths]
    identities = [read_identity(file) for file in files]
    cases = []
    seen: dict[str, int] = {}
    for file, label, (sha256, size_bytes) in zip(files, _labels(files), identities, strict=True):
        for xnnpack in kernels:
            name = label if xnnpack else f'{label} without XNNPACK'
            seen[name] = seen.get(name, 0) + 1
            number = f' ({seen[name]})' if seen[name] > 1 else ''
            cases.append(Case(name + number, file, sha256, size_bytes, xnnpack))
    return cases


def measure(
    device: Device,
    cases: Sequence[Case],
    protocol: Protocol,
    *,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> list[Latency]:
    """Measures the files by turns, `rounds` times `runs_per_round` single invocations each.

    Paper: §6.1.2.

    Args:
      device: where.
      cases: what.
      protocol: how.
      journal: keeps every turn; those that it holds are not measured again.
      progress: called with (turns done, all turns) before the first and after each turn.

    Returns:
      One Latency a case, in their order.

    Raises:
      DeviceError: the device failed; what was measured is in the journal.
      ValueError: the journal cannot be written.
    """
    turns: dict[tuple[int, str], Turn] = dict(journal.turns) if journal else {}
    missing = [
        (round_index, cases[place])
        for round_index in range(protocol.rounds)
        for place in turn_order(round_index, len(cases))
        if (round_index, cases[place].name) not in turns
    ]
    total = len(turns) + len(missing)
    if missing:
        facts = device.facts()
        device.prepare(cases)
        if journal is not None:
            journal.begin(facts)
    for round_index, case in missing:
        if progress is not None:
            progress(len(turns), total)
        turn = device.turn(
            case,
            threads=protocol.threads,
            warmup_runs=protocol.warmup_runs,
            runs=protocol.runs_per_round,
        )
        turns[round_index, case.name] = turn
        if journal is not None:
            journal.add(round_index, case.name, turn)
            journal.warn(device.warnings)
    if progress is not None:
        progress(total, total)
    return summaries(cases, protocol, turns)


def summaries(
    cases: Sequence[Case], protocol: Protocol, turns: dict[tuple[int, str], Turn]
) -> list[Latency]:
    """One Latency a case, from the turns of every round."""
    return [
        summarize(
            [turns[round_index, case.name] for round_index in range(protocol.rounds)],
            model=case.name,
            sha256=case.sha256,
            size_bytes=case.size_bytes,
            threads=protocol.threads,
            xnnpack=case.xnnpack,
        )
        for case in cases
    ]


def header(device: Device, cases: Sequence[Case], protocol: Protocol) -> dict[str, Any]:
    """What a journal says of its measurement: all that must be the same when it is continued."""
    return {
        'device': device.name,
        'settings': device.settings(),
        'protocol': dataclasses.asdict(protocol),
        'files': [[case.name, case.sha256] for case in cases],
    }


def journal_path(output: Path, device: Device) -> Path:
    """Where the turns of a device are kept while it measures: beside the results."""
    return output.with_name(f'{output.name}.{device.name}.jsonl')


def _labels(files: Sequence[Path]) -> list[str]:
    """File names; whole paths where two different files share one name."""
    paths_of: dict[str, set[Path]] = {}
    for file in files:
        paths_of.setdefault(file.name, set()).add(file)
    return [file.name if len(paths_of[file.name]) == 1 else str(file) for file in files]
