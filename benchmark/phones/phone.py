"""A phone as a device: .tflite files through TFLite's own benchmark tool, on a core of choice.

Paper: §6.1.2: one large core, one thread, batch 1.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmark.device import Case, DeviceError
from benchmark.latency import Turn
from benchmark.phones import adb, condition, cores, words
from benchmark.phones.adb import DeviceLostError, Shell
from benchmark.phones.phone_files import PhoneFiles
from benchmark.phones.phone_lock import PhoneLock
from benchmark.phones.phone_tool import Program, check_benchmark_model, open_tool
from benchmark.phones.same_phone import distinct, identity
from benchmark.stop import Stop

_ATTEMPTS = 3  # of a turn during which the phone slowed down
# Of Android's hundreds of properties, those that tell phones apart.
_PROPERTIES = {
    'manufacturer': 'ro.product.manufacturer',
    'model': 'ro.product.model',
    'device': 'ro.product.device',
    'soc': 'ro.soc.model',
    'board': 'ro.board.platform',
    'abi': 'ro.product.cpu.abi',
    'android': 'ro.build.version.release',
    'build': 'ro.build.fingerprint',
}


def find(
    serials: Sequence[str],
    benchmark_model: str,
    *,
    core: str = 'big',
    threads: int = 1,
    progress: Callable[[str], None] = lambda text: None,
    stop: Stop | None = None,
) -> list['Phone']:
    """The phones that are meant, each ready to be measured on.

    Args:
      serials: of them; ['all'] for every one that is connected, once where it is connected twice;
        none for the only connection.
      benchmark_model: path of the tool's build for the phones or of its .apk, or 'apk' for the app
        that is installed.
      core: 'big', 'mid', 'little', or a hexadecimal mask.
      threads: of the runs to come, so that a phone with too few such cores is told at once.
      progress: told in a line what a phone is busy with beside measuring, and which ones 'all'
        leaves out.
      stop: ends what takes long on a phone.

    Raises:
      DeviceError: there is no such phone, or one is not ready, or is named twice, or another command
        measures on it.
      ValueError: no tool, or cores that one of them has not.
    """
    check_benchmark_model(benchmark_model)
    cores.check_name(core)

    def warn(text: str) -> None:
        progress(f'warning: {text}')

    phones: list[Phone] = []
    options: dict[str, Any] = {'core': core, 'threads': threads, 'progress': progress, 'stop': stop}
    try:
        for shell in distinct(adb.find(serials, stop=stop, warn=warn), serials, warn):
            phones.append(Phone(shell, benchmark_model, **options))
    except BaseException:
        for phone in phones:
            phone.close()
        raise
    return phones


class Phone:
    """One phone (`benchmark.device.Device`), which no other command measures on until it is closed.

    Args:
      shell: of the phone.
      benchmark_model, core, threads, progress, stop: as in `find`.
    """

    def __init__(
        self,
        shell: Shell,
        benchmark_model: str,
        *,
        core: str = 'big',
        threads: int = 1,
        progress: Callable[[str], None] = lambda text: None,
        stop: Stop | None = None,
    ) -> None:
        self._shell, self._core, self._stop = shell, core, stop or Stop()
        self._files = PhoneFiles(shell)
        self._tool = open_tool(benchmark_model, shell, self._files, self._stop)
        properties = _parse_properties(shell.run('getprop').text)
        self._identity = {name: properties.get(key) for name, key in _PROPERTIES.items()}
        self.name = _name(self._identity['model'], shell.serial)
        self._progress = lambda text: progress(f'{self.name}: {text}')
        self._clusters = cores.parse_clusters(shell.run('sh', '-c', cores.LISTING).text)
        self._mask = cores.choose(self._clusters, core, threads).mask
        self._start = self._last = self._read_condition()
        self._remarks: list[str] = []
        self._slowed_turns = 0
        self._is_patient = True
        self._is_lost = self._is_closed = False
        self._lock = PhoneLock(identity(shell), shell.serial)

    @property
    def warnings(self) -> list[str]:
        """What a reader should know of how it went."""
        slowed = (
            [f'{self._slowed_turns} turns ran on a core that was held below its frequency']
            if self._slowed_turns
            else []
        )
        return self._remarks + slowed

    def facts(self) -> dict[str, Any]:
        """What it is, its cores, the tool, its state before it was measured on."""
        return {
            'serial': self._shell.serial,
            **{name: value or 'unknown' for name, value in self._identity.items()},
            'clusters': [str(cluster) for cluster in self._clusters] or 'unknown',
            'core': self._core,
            'mask': self._mask or 'none',
            'tool': self._tool.facts(),
            'condition_before': self._start.to_json(),
        }

    def settings(self) -> dict[str, Any]:
        """The cores, the tool and the phone's system."""
        build = self._identity['build'] or 'unknown'
        return {'mask': self._mask or 'none', 'tool': self._tool.identity, 'build': build}

    def prepare(self, cases: Sequence[Case]) -> None:
        """Brings the tool and the files to the phone and runs each file once."""
        with self._noticing_loss():
            self._tool.install()
            for remark in condition.remarks(self._start):
                self._remark(remark)
            if not self._tool.pins:
                self._remark('the tool cannot be pinned here: the scheduler chooses its cores')
            elif not self._mask:
                self._remark(
                    'it tells no frequencies: the scheduler chooses cores; give --core a mask'
                )
            for number, case in enumerate(cases, 1):
                self._stop.check()
                self._progress(f'file {number} of {len(cases)}: {case.name}')
                self._run(case, self._flags(case, threads=1, warmup_runs=1, runs=1))

    def turn(self, case: Case, *, threads: int, warmup_runs: int, runs: int) -> Turn:
        """Runs a file once the phone is cool; anew when it slowed down meanwhile.

        A phone that does not cool is waited for once, and measured as it is from then on.
        """
        flags = self._flags(case, threads=threads, warmup_runs=warmup_runs, runs=runs)
        used = self._pin(threads).cores
        with self._noticing_loss():
            for _ in range(_ATTEMPTS):
                self._stop.check()
                self._cool_down(used)
                turn = self._run(case, flags).runs.to_turn()
                self._last = self._read_condition()
                slowed = condition.slowed(self._last, used)
                if slowed is None or not self._is_patient:
                    break
                self._progress(f'measures {case.name} again: {slowed}')
        self._slowed_turns += slowed is not None
        for remark in condition.remarks(self._last):
            self._remark(remark)
        return turn

    def profile(self, case: Case, *, threads: int, warmup_runs: int, runs: int) -> words.Profile:
        """The ops of a file and what each took, once it was prepared; profiling slows them a little.

        Raises:
          DeviceError: the tool is the app, whose log cuts tables off; or the file did not run.
        """
        if not isinstance(self._tool, Program):
            raise DeviceError(
                'the benchmark app tells no ops, expected --benchmark_model to be a program'
            )
        with self._noticing_loss():
            csv = self._files.new_path('.csv')
            flags = self._flags(case, threads=threads, warmup_runs=warmup_runs, runs=runs)
            flags |= {'enable_op_profiling': True, 'profiling_output_csv_file': csv}
            self._run(case, flags)
            text = self._files.read(csv)
        with _named(case):
            return words.parse_profile(text)

    def close(self) -> None:
        """Takes away what was brought; after a lost connection it stays, for the run that goes on."""
        try:
            if not self._is_lost and not self._is_closed:
                self._tool.remove()
                self._files.remove()
        except DeviceError as error:
            self._remark(f'what was put on it is still there: {error}')
        finally:
            self._is_closed = True
            self._lock.release()

    def _pin(self, threads: int) -> cores.Pin:
        return cores.choose(self._clusters, self._core, threads)

    def _flags(
        self, case: Case, *, threads: int, warmup_runs: int, runs: int
    ) -> dict[str, str | int | float | bool]:
        """What the tool is asked; exact numbers of runs need a minimum of zero seconds."""
        with self._noticing_loss():
            graph = self._files.put(case.file, case.sha256, '.tflite')
        return {
            'graph': graph,
            'num_threads': threads,
            'use_xnnpack': case.xnnpack,
            'warmup_runs': warmup_runs,
            'warmup_min_secs': 0.0,
            'num_runs': runs,
            'min_secs': 0.0,
        }

    def _run(self, case: Case, flags: dict[str, str | int | float | bool]) -> words.Report:
        with _named(case):
            text = self._tool.run(words.flags(flags), self._pin(int(flags['num_threads'])))
            report = words.parse(text)
            words.check(report, flags)
            return report

    def _read_condition(self) -> condition.Condition:
        return condition.parse(self._shell.run('sh', '-c', condition.LISTING).text)

    def _cool_down(self, used: Sequence[int]) -> None:
        if not self._is_patient or condition.heat(self._last, used) is None:
            return
        self._last, reason = condition.wait_until_cool(
            self._read_condition, used, progress=self._progress, sleep=self._stop.sleep
        )
        if reason is not None:
            self._is_patient = False
            self._remark(f'it did not cool within {condition.PATIENCE_S:.0f} s: {reason}')

    def _remark(self, text: str) -> None:
        # Figures in a remark change from turn to turn; its first words say what it is about.
        if text.split()[:3] not in [remark.split()[:3] for remark in self._remarks]:
            self._remarks.append(text)

    @contextlib.contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except DeviceLostError:
            self._is_lost = True
            raise


@contextlib.contextmanager
def _named(case: Case) -> Iterator[None]:
    """Tells which file an error is about."""
    try:
        yield
    except DeviceLostError:
        raise
    except ValueError as error:  # of the tool's words, too
        raise DeviceError(f'{case.name}: {error}') from error


def _parse_properties(text: str) -> dict[str, str]:
    """Reads what getprop prints: `[ro.product.model]: [Pixel 3]`."""
    return dict(re.findall(r'^\[([^\]]+)\]: \[(.*)\]\r?$', text, re.MULTILINE))


def _name(model: str | None, serial: str) -> str:
    """A name fit for a file's name: 'pixel_3_8A5X0H3P2'."""
    words_of_name = re.findall(r'[A-Za-z0-9]+', (model or 'phone').lower())
    return '_'.join([*words_of_name, *re.findall(r'[A-Za-z0-9]+', serial)])
