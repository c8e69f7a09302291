"""TFLite's benchmark_model on a phone: as a program, or as the app that wraps it.

A program can be pinned to a core and profiles ops. The app runs as any app does: the scheduler
chooses its cores, and its words go to the phone's log.
"""

import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmark.device import DeviceError
from benchmark.phones import words
from benchmark.phones.adb import Shell
from benchmark.phones.cores import Pin
from benchmark.phones.phone_files import PhoneFiles
from benchmark.stop import Stop
from train.files import sha256_of

# A phase of a run ends after 150 s (--max_secs) and one more inference; it may be silent that long.
RUN_S = 330.0
_INSTALL_S = 300.0
_POLL_S = 2.0
_PACKAGE = re.compile(r'^package:(org\.tensorflow\.lite(?:\.tools)?\.benchmark)$', re.MULTILINE)
_LOG_LINE = re.compile(r'^([VDIWEF])/tflite\s*\(\s*\d+\): ?(.*)$')
_LEVELS = {'V': 'VERBOSE', 'D': 'VERBOSE', 'I': 'INFO', 'W': 'WARN', 'E': 'ERROR', 'F': 'FATAL'}


class Tool(Protocol):
    """benchmark_model, ready to be run on one phone."""

    @property
    def pins(self) -> bool:
        """Whether it runs on the cores that it is told."""

    @property
    def identity(self) -> str:
        """What it is, the same for the same build: its kind and hash."""

    def install(self) -> None:
        """Brings it to the phone."""

    def run(self, flags: Sequence[str], pin: Pin) -> str:
        """What it says, run with these flags.

        Raises:
          DeviceError: it does not run, or ends with an error; the message quotes it.
        """

    def facts(self) -> dict[str, Any]:
        """What a reader should know of it, in plain JSON values."""

    def remove(self) -> None:
        """Takes it away, unless it was there before."""


def check_benchmark_model(value: str) -> None:
    """Sees that a value of --benchmark_model can be meant, before there is a phone.

    Raises:
      ValueError: it is empty, or no file.
    """
    if not value:
        raise ValueError(
            '--benchmark_model is empty, expected the path of a build of benchmark_model for the '
            'phone (android_aarch64_benchmark_model), of its .apk, or apk for the installed app'
        )
    if value != 'apk' and not Path(value).is_file():
        raise ValueError(
            f'--benchmark_model={value} is not a file, expected a program, an .apk or the word apk; '
            'check the path'
        )


def open_tool(value: str, shell: Shell, files: PhoneFiles, stop: Stop) -> Tool:
    """The tool that a value of --benchmark_model names; `stop` ends its waiting.

    Raises:
      ValueError: it is empty, or no file.
    """
    check_benchmark_model(value)
    if value == 'apk':
        return App(shell, files, None, stop)
    path = Path(value)
    return App(shell, files, path, stop) if path.suffix == '.apk' else Program(shell, files, path)


class Program:
    """The program, pushed and run over adb."""

    def __init__(self, shell: Shell, files: PhoneFiles, path: Path) -> None:
        self._shell, self._files, self._path = shell, files, path
        self._sha256 = sha256_of(path)
        self._taskset = False
        self._remote = ''

    @property
    def pins(self) -> bool:
        """Whether the phone has taskset; known once it is installed."""
        return self._taskset

    @property
    def identity(self) -> str:
        """By its hash."""
        return f'program {self._sha256}'

    def install(self) -> None:
        """Pushes it."""
        self._remote = self._files.put(self._path, self._sha256, executable=True)
        self._taskset = self._shell.run('sh', '-c', 'command -v taskset').code == 0

    def run(self, flags: Sequence[str], pin: Pin) -> str:
        """Runs it to its end, pinned where cores are given."""
        pinned = ['taskset', pin.mask] if self._taskset and pin.cores else []
        command = [*pinned, self._remote, *flags]
        done = self._shell.run(*command, timeout_s=RUN_S, ends_with_us=True)
        if done.code == 0:
            return done.text
        # Of another architecture it never comes to its first words.
        hint = '' if 'STARTING' in done.text else f'; expected a build for {self._architecture()}'
        raise DeviceError(
            f'{self._path.name} ended with exit code {done.code}: {words.quote(done.text)}{hint}'
        )

    def facts(self) -> dict[str, Any]:
        """Its name and hash."""
        return {'program': self._path.name, 'sha256': self._sha256}

    def remove(self) -> None:
        """It goes with the other files."""

    def _architecture(self) -> str:
        told = self._shell.run('getprop', 'ro.product.cpu.abi').text.strip()
        return (
            told if re.fullmatch(r'[\w-]+', told) else self._shell.run('uname', '-m').text.strip()
        )


class App:
    """The app, installed or already there; `apk` replaces one that is there."""

    pins = False

    def __init__(self, shell: Shell, files: PhoneFiles, apk: Path | None, stop: Stop) -> None:
        self._shell, self._files, self._apk, self._stop = shell, files, apk, stop
        self._package = ''
        self._is_ours = False

    @property
    def identity(self) -> str:
        """By the hash of the .apk; one that was there before is not told from others."""
        return f'app {sha256_of(self._apk) if self._apk else "installed"}'

    def install(self) -> None:
        """Installs the .apk, if one was given, and finds the app."""
        before = self._installed()
        if self._apk is not None:
            remote = self._files.put(self._apk, sha256_of(self._apk), '.apk')
            self._is_ours = not before  # already while it is installed, as that may be broken off
            # -g grants the reading of files outside its own folder.
            done = self._shell.run('pm', 'install', '-r', '-g', remote, timeout_s=_INSTALL_S)
            if done.code or 'Success' not in done.text:
                raise DeviceError(f'{self._apk.name} is not installed: {words.quote(done.text)}')
        self._package = self._installed()
        if not self._package:
            raise DeviceError(
                'the benchmark app is not installed, expected org.tensorflow.lite.tools.benchmark; '
                'give its .apk to --benchmark_model'
            )

    def run(self, flags: Sequence[str], pin: Pin) -> str:
        """Starts it and reads the phone's log until it is done; `pin` is left aside."""
        mark = f'mobilenet_v3-{uuid.uuid4().hex}'
        self._shell.run('log', '-t', 'tflite', mark)
        activity = f'{self._package}/.BenchmarkModelActivity'
        # -S ends an app that still runs; the flags are one argument of the intent.
        started = self._shell.run(
            'am', 'start', '-S', '-W', '-n', activity, '--es', 'args', ' '.join(flags)
        )
        if started.code or 'Error' in started.text:
            raise DeviceError(f'{activity} does not start: {words.quote(started.text)}')
        waited_s = 0.0
        while waited_s < 2 * RUN_S:
            # Asked before the log is read, so that the last words of a process that ends are in it.
            is_gone = self._shell.run('pidof', self._package).code == 1
            said = self._said_since(mark)
            if re.search(r'nference timings in us', said):
                return said
            if re.search(r'^(ERROR|FATAL)', said, re.MULTILINE):
                raise DeviceError(f'the benchmark app failed: {words.quote(said)}')
            if is_gone:
                raise DeviceError(f'the benchmark app died; it said {words.quote(said)}')
            self._stop.sleep(_POLL_S)
            waited_s += _POLL_S
        raise DeviceError(
            f'the benchmark app came to no end within {waited_s:.0f} s; is the phone unlocked? It '
            f'said {words.quote(self._said_since(mark))}'
        )

    def facts(self) -> dict[str, Any]:
        """Its name."""
        return {'app': self._apk.name if self._apk else 'installed'}

    def remove(self) -> None:
        """Uninstalls it, unless it was there before."""
        if self._is_ours and (package := self._installed()):
            self._shell.run('pm', 'uninstall', package, timeout_s=_INSTALL_S)
            self._is_ours = False

    def _installed(self) -> str:
        match = _PACKAGE.search(self._shell.run('pm', 'list', 'packages').text.replace('\r', ''))
        return match[1] if match else ''

    def _said_since(self, mark: str) -> str:
        """The tool's lines in the log, with the levels that it prints elsewhere."""
        log = self._shell.run('logcat', '-d', '-v', 'brief', '-s', 'tflite:V').text
        lines = []
        for line in log.partition(mark)[2].splitlines()[1:]:
            if match := _LOG_LINE.match(line.rstrip()):
                # The app says its results once more, as an error so that no filter hides them.
                level = 'I' if 'nference timings' in match[2] else match[1]
                lines.append(f'{_LEVELS[level]}: {match[2]}')
        return '\n'.join(lines)
