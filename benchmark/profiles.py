"""Profiles of whole measurements: a table and bars for every file, beside the results."""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.blocks.op_profile import (
    Profile,
    plot_profile,
    profile_file,
    profile_of_words,
    profile_table,
)
from benchmark.device import Case, Device, DeviceError
from benchmark.session import Progress, Protocol
from train.files import write_file


def write_profiles(
    device: Device,
    cases: Sequence[Case],
    protocol: Protocol,
    output: Path,
    progress: Progress | None = None,
) -> list[Path]:
    """Measures every block and op of the files and writes tables and bars of them.

    A phone whose tool profiles by itself also gives the tool's own words, which tell what a delegate
    does inside its piece; ours tell blocks.

    Args:
      device: where; it has measured the files.
      cases: what.
      protocol: how.
      output: of the results, beside which the files go.
      progress: as of `benchmark.session.measure`.

    Returns:
      The tables, each with a picture of the same name, of all files but those that are warned of.
    """
    written = []
    for number, case in enumerate(cases, 1):
        # Numbered, as files of two folders may have one name.
        stem = f'{output}.{device.name}.{number}.{case.file.stem}'
        try:
            for suffix, profile in _profiles_of(device, case, protocol, progress).items():
                title = f'# {profile.model} on {device.name}'
                table = f'{title}\n\n{profile_table(profile)}\n'
                write_file(f'{stem}{suffix}.md', table.encode())
                plot_profile(f'{stem}{suffix}.png', profile)
                written.append(Path(f'{stem}{suffix}.md'))
        except (ValueError, OSError) as error:
            print(f'warning: {device.name}: no profile of {case.name}: {error}', file=sys.stderr)
    return written


def _profiles_of(
    device: Device, case: Case, protocol: Protocol, progress: Progress | None
) -> dict[str, Profile]:
    """Ours and, where the device has one, its tool's, by what their files' names end with."""
    ours = profile_file(device, case, protocol, progress=progress)
    told = _told_by(device, case, protocol, ours.whole_ms)
    return {'': ours} if told is None else {'': ours, '.tool': told}


def _told_by(device: Device, case: Case, protocol: Protocol, whole_ms: float) -> Profile | None:
    """What the device's own tool tells; None where it has none that profiles."""
    profile = getattr(device, 'profile', None)
    if profile is None:
        return None
    runs = {'warmup_runs': protocol.warmup_runs, 'runs': protocol.runs_per_round}
    device.prepare([case])  # the pieces have taken its place
    try:
        words = profile(case, threads=protocol.threads, **runs)
    except DeviceError as error:
        print(f'warning: {device.name}: no profile by the tool itself: {error}', file=sys.stderr)
        return None
    return profile_of_words(case.name, device.name, words, whole_ms)
