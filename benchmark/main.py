"""Measures .tflite files on this host or on phones; prints tables and writes JSON.

    python -m benchmark.main --models=A.tflite,B.tflite --output=results.json
    python -m benchmark.main --models=exported --device=adb --serial=all \\
        --benchmark_model=android_aarch64_benchmark_model

Interrupted, or with a phone unplugged, it keeps what was measured beside --output; the same command
goes on with the rest.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from benchmark import latency, measuring_flags, results, session
from benchmark.device import Case, Device, DeviceError
from benchmark.journal import Journal, interrupted
from benchmark.measuring_flags import (
    define_device_flags,
    define_models_flag,
    define_protocol_flags,
    find_models,
    open_devices,
    read_protocol,
)
from benchmark.stop import Stop
from train import cli

FLAGS = flags.FLAGS
_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


def define_flags() -> None:
    """Defines the flags."""
    define_models_flag()
    define_device_flags()
    define_protocol_flags()
    flags.DEFINE_enum(
        'use_xnnpack',
        'true',
        ['true', 'false', 'both'],
        'With the default delegate, without, both.',
    )
    flags.DEFINE_bool('profile', False, 'Then each block and op of every file, as tables and bars.')
    flags.DEFINE_string('output', 'results.json', 'Where the figures go, as JSON.')
    flags.adopt_module_key_flags(measuring_flags)  # so that --help shows them


def main() -> None:
    """Reads the flags and reports."""
    cases = session.cases_of(find_models(FLAGS.models), FLAGS.use_xnnpack)
    protocol, output, stop = read_protocol(), Path(FLAGS.output), Stop()
    report(open_devices(stop), cases, protocol, output, profile=FLAGS.profile, stop=stop)


def report(
    devices: Sequence[Device],
    cases: Sequence[Case],
    protocol: session.Protocol,
    output: Path,
    *,
    profile: bool = False,
    stop: Stop | None = None,
) -> None:
    """Measures on every device at once, prints a table each, writes `output`; closes the devices.

    With `profile` each file's blocks and ops are measured then, too; a table and bars of them go beside
    `output`, a profile that fails is a warning. `stop` is what the devices wait with; Ctrl-C sets it.

    Raises:
      ValueError: a card is not JSON, or a journal is of another measurement; or a device failed: then
        the others' figures are written, and its own turns stay in its journal; or interrupted.
    """
    bench = Bench(cases, protocol, output, profile, stop or Stop())
    with contextlib.ExitStack() as stack:
        for device in devices:
            stack.callback(device.close)
        for case in cases:
            results.card_name(case.file)  # a broken card is found before the minutes of measuring
        check_output(output, [case.file for case in cases])
        journals = [stack.enter_context(bench.open_journal(device)) for device in devices]
        ends = bench.measure(devices, journals)
        done = [end for end in ends if isinstance(end, Measured)]
        if done:
            results.write_results(output, protocol, [end.entry(cases) for end in done])
            for end in done:
                print(f'{end.name}\n{latency.table(end.latencies)}')
                print(''.join(f'warning: {warning}\n' for warning in end.warnings), end='')
            print(f'written to {output}')
        if profile:
            measured = [isinstance(end, Measured) for end in ends]
            bench.profile(list(itertools.compress(devices, measured)), journals)
        if failures := [str(end) for end in ends if isinstance(end, DeviceError)]:
            # Every journal stays, so that the same command ends with the figures of all devices.
            raise ValueError('; '.join(failures))
        for journal in journals:
            journal.remove()


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a device told, in all sessions; `facts` are of before it began."""

    name: str
    facts: dict[str, Any]
    warnings: list[str]
    latencies: list[latency.Latency]

    def entry(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Its part of the results."""
        return results.device_entry(self.name, self.facts, self.warnings, cases, self.latencies)


class Bench:
    """The same files, measured on one or several devices."""

    def __init__(
        self,
        cases: Sequence[Case],
        protocol: session.Protocol,
        output: Path,
        profile: bool,
        stop: Stop,
    ) -> None:
        self._cases, self._protocol, self._output = cases, protocol, output
        self._profile, self._stop = profile, stop

    def open_journal(self, device: Device) -> Journal:
        """What keeps the turns of a device while it measures."""
        header = session.header(device, self._cases, self._protocol)
        return Journal(session.journal_path(self._output, device), header)

    def measure(
        self, devices: Sequence[Device], journals: Sequence[Journal]
    ) -> list[Measured | DeviceError]:
        """The figures of each device, or why it has none; a thread each.

        A failing device does not stop the others. Ctrl-C stops all, each after its run. Devices are
        closed, but for those that are left to profile.

        Raises:
          ValueError: interrupted; it tells where the turns are.
        """
        pairs = list(zip(devices, journals, strict=True))
        return self._on_each(lambda pair: self._measure_one(*pair), pairs, journals)

    def profile(self, devices: Sequence[Device], journals: Sequence[Journal]) -> None:
        """Writes the profiles of devices that have measured, a thread each, and closes them.

        A profile that fails is a warning: the figures are written.

        Raises:
          ValueError: interrupted; it tells where the turns are.
        """
        self._on_each(self._profile_one, devices, journals)

    def _on_each(
        self, call: Callable[[_Item], _Result], items: Sequence[_Item], journals: Sequence[Journal]
    ) -> list[_Result]:
        """Calls at once, a thread each; Ctrl-C stops all."""
        if not items:
            return []
        with concurrent.futures.ThreadPoolExecutor(len(items)) as pool:
            futures = [pool.submit(call, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException as error:  # Ctrl-C, or a bug
                self._stop.set()
                print('\nstops, and leaves each device as it was found', file=sys.stderr)
                with contextlib.suppress(KeyboardInterrupt):  # another, out of impatience
                    concurrent.futures.wait(futures)
                if not isinstance(error, KeyboardInterrupt):
                    raise
        raise interrupted(*journals)

    def _measure_one(self, device: Device, journal: Journal) -> Measured | DeviceError:
        is_measured = False
        try:
            try:
                latencies = session.measure(
                    device,
                    self._cases,
                    self._protocol,
                    journal=journal,
                    progress=self._progress_of(device),
                )
                is_measured = True
            finally:
                if not (is_measured and self._profile):
                    device.close()
                journal.warn(device.warnings)
            return Measured(device.name, journal.facts, journal.warnings, latencies)
        except (ValueError, OSError) as error:
            # The journal tells by itself that what is in it stays.
            kept = '' if str(journal.path) in str(error) else journal.kept
            return DeviceError('; '.join(filter(None, [f'{device.name}: {error}', kept])))

    def _profile_one(self, device: Device) -> None:
        from benchmark.profiles import write_profiles  # which needs matplotlib

        told = list(device.warnings)
        progress = self._progress_of(device)
        try:
            for path in write_profiles(device, self._cases, self._protocol, self._output, progress):
                print(f'profile: {path}')
        finally:
            device.close()
            for text in device.warnings:
                if text not in told:  # the results have the others
                    print(f'warning: {device.name}: {text}', file=sys.stderr)

    def _progress_of(self, device: Device) -> session.Progress:
        def progress(done: int, turns: int) -> None:
            self._stop.check()
            _show_progress(device, done, turns)

        return progress


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


def _show_progress(device: Device, done: int, turns: int) -> None:
    """The turns so far, on one line that is written over; several devices share it."""
    if sys.stderr.isatty():
        end = '\n' if done == turns else ''
        print(f'\r{device.name}: turn {done} of {turns}', end=end, file=sys.stderr, flush=True)


if __name__ == '__main__':
    cli.run(main, define_flags)
