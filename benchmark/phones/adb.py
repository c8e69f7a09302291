"""Phones over adb: which are connected, commands and files for one of them.

Every call has a time limit, and every failure of the connection is a `DeviceLostError` of one line.
Commands go through adbutils, which tells exit codes; files through the adb program that adbutils
brings, which tells why a file did not arrive ('No space left on device').
"""

import contextlib
import dataclasses
import select
import shlex
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import adbutils

from benchmark.device import DeviceError
from benchmark.stop import Stop

COMMAND_S = 30.0  # for what answers at once on a phone at work
_START_S = 20.0
_STOP_POLL_S = 0.2
# Kinds of packets of adb's shell protocol, each a byte before its length.
_PACKET = struct.Struct('<BI')
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_PUSH_BYTES_PER_S = 1e5  # slower than any cable, and than wireless debugging
_AGAIN = 'connect it again and give the same command, what was measured is kept'
# What adb says of a phone that is there, and what its owner can do.
_STATES = {
    'unauthorized': 'has not allowed this computer; unlock it and accept the dialog about debugging',
    'authorizing': 'is asking its owner about this computer; unlock it and accept the dialog',
    'offline': 'does not answer; pull the cable and plug it in again, or restart it',
    'no': 'may not be opened by this user; on Linux: apt install android-sdk-platform-tools-common',
}


class DeviceLostError(DeviceError):
    """The connection is gone, or the phone does not answer; it may come back."""


@dataclasses.dataclass(frozen=True)
class Output:
    """What a command left behind.

    Attributes:
      code: its exit code.
      text: its standard output, then its standard error.
    """

    code: int
    text: str


class Shell:
    """One phone's shell.

    Args:
      client: of the adb server.
      serial: of the phone.
      stop: ends a command that waits for its output.
    """

    def __init__(self, client: adbutils.AdbClient, serial: str, stop: Stop | None = None) -> None:
        self.serial = serial
        self._stop = stop or Stop()
        self._device = client.device(serial)
        with _connection(f'{serial} is gone'):
            features = self._device.get_features()
        if 'shell_v2' not in features.split(','):
            raise DeviceError(
                f'{serial} tells no exit codes over adb, expected Android 7 or later; use another'
            )

    def run(self, *words: str, timeout_s: float = COMMAND_S, ends_with_us: bool = False) -> Output:
        """Runs a command to its end.

        Args:
          *words: the program and its arguments, each one taken literally.
          timeout_s: how long it may be silent.
          ends_with_us: whether it ends with the connection; not for what is part of the shell.

        Raises:
          DeviceLostError: the phone is gone, or was silent for too long.
          KeyboardInterrupt: it was stopped meanwhile. After that, commands that clean up still run.
        """
        # adbd hangs up on its child, which is the shell unless the program takes its place.
        command = f'{"exec " if ends_with_us else ""}{shlex.join(words)}'
        told = {_STDOUT: b'', _STDERR: b'', _EXIT: b''}
        was_stopped = self._stop.is_set()
        with (
            _connection(f'{self.serial} is gone during {words[0]}', timeout_s),
            self._device.open_transport(timeout=timeout_s) as connection,
        ):
            connection.send_command(f'shell,v2:{command}')
            connection.check_okay()
            while not told[_EXIT]:
                self._await(connection, timeout_s, was_stopped)
                kind, length = _PACKET.unpack(connection.read_exact(_PACKET.size))
                told[kind] = told.get(kind, b'') + connection.read_exact(length)
        out, err = (told[kind].decode(errors='replace') for kind in (_STDOUT, _STDERR))
        return Output(told[_EXIT][0], f'{out}\n{err}' if err else out)

    def _await(
        self, connection: adbutils.AdbConnection, timeout_s: float, was_stopped: bool
    ) -> None:
        """Waits until the phone says something."""
        deadline = time.monotonic() + timeout_s
        while True:
            if not was_stopped:
                self._stop.check()
            if select.select([connection.conn], [], [], _STOP_POLL_S)[0]:
                return
            if time.monotonic() > deadline:
                raise adbutils.AdbTimeout('silent')

    def push(self, file: Path, remote: str) -> None:
        """Copies a file; one that is there is written over.

        Raises:
          DeviceLostError: the phone is gone, or took too long.
          DeviceError: it does not take the file: it is full, or may not be written to.
        """
        timeout_s = COMMAND_S + file.stat().st_size / _PUSH_BYTES_PER_S
        try:
            done = _adb('-s', self.serial, 'push', str(file), remote, timeout_s=timeout_s)
        except subprocess.TimeoutExpired:
            raise DeviceLostError(
                f'{self.serial} did not take {file.name} within {timeout_s:.0f} s; {_AGAIN}'
            ) from None
        if done.returncode == 0:
            return
        reason = _reason(done)
        if self._is_gone():
            raise DeviceLostError(f'{self.serial} is gone during push ({reason}); {_AGAIN}')
        if 'No space left' in reason:
            raise DeviceError(
                f'{self.serial} has no space for the {file.stat().st_size / 1e6:.1f} MB of '
                f'{file.name}; free some'
            )
        raise DeviceError(f'{self.serial} does not take {file.name}: {reason}')

    def _is_gone(self) -> bool:
        """Whether adb no longer reaches it; asked with a command, as its list lags behind."""
        try:
            return self.run('true', timeout_s=5.0).code != 0
        except DeviceLostError:
            return True


def find(
    serials: Sequence[str],
    *,
    stop: Stop | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Shell]:
    """The phones that are meant.

    Args:
      serials: of them; ['all'] for every one that is ready, none for the only one.
      stop: ends their commands.
      warn: told of each phone that 'all' leaves out.

    Raises:
      DeviceError: adb does not run, a phone is missing or not ready, or it is not clear which is
        meant; the message lists those that are there.
    """
    client = _client()
    with _connection('the adb server does not answer'):
        states = {info.serial: info.state for info in client.list()}
    wanted = list(dict.fromkeys(serials))
    if missing := [serial for serial in wanted if serial not in states and serial != 'all']:
        raise DeviceError(
            f'--serial names {" and ".join(missing)}, which is not connected; {_listed(states)}'
        )
    if not states:
        raise DeviceError(
            'no phone is connected over adb, expected one; allow USB debugging in its developer '
            'options and plug it in'
        )
    if not wanted and len(states) > 1:
        raise DeviceError(
            f'{len(states)} phones are connected, expected --serial to choose; {_listed(states)}; '
            f'give --serial={next(iter(states))} or --serial=all'
        )
    named = [serial for serial in wanted if serial != 'all']
    shells, left_out = [], []
    for serial in states if not wanted or 'all' in wanted else wanted:
        try:
            if states[serial] != 'device':
                raise DeviceError(_unready(serial, states))
            shells.append(Shell(client, serial, stop))
        except DeviceError as error:
            if not wanted or serial in named:
                raise
            left_out.append(error)
    if not shells:
        raise left_out[0]
    for reason in left_out:
        warn(f'left out: {reason}')
    return shells


def _unready(serial: str, states: dict[str, str]) -> str:
    hint = _STATES.get(states[serial], f'is in the state {states[serial]!r}; restart it')
    others = f'; {_listed(states)}' if len(states) > 1 else ''
    return f'{serial} {hint}{others}'


def _client() -> adbutils.AdbClient:
    """A client of the adb server, which is started where none runs."""
    try:
        done = _adb('start-server', timeout_s=_START_S)
        reason = _reason(done) if done.returncode else ''
    except (adbutils.AdbError, OSError) as error:
        reason = str(error)
    except subprocess.TimeoutExpired:
        reason = f'no answer within {_START_S:.0f} s'
    if reason:
        raise DeviceError(
            f'the adb server cannot be started: {reason}; see whether another program has its port '
            '(5037, or ANDROID_ADB_SERVER_PORT)'
        )
    return adbutils.AdbClient(socket_timeout=COMMAND_S)


def _adb(*arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [adbutils.adb_path(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextlib.contextmanager
def _connection(what: str, timeout_s: float = COMMAND_S) -> Iterator[None]:
    """Tells whatever a broken connection raises, in adbutils or below it, in one line."""
    try:
        yield
    except adbutils.AdbTimeout:
        raise DeviceLostError(f'{what}: no answer within {timeout_s:.0f} s; {_AGAIN}') from None
    except (adbutils.AdbError, OSError, EOFError, ValueError, struct.error) as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise DeviceLostError(f'{what} ({reason}); {_AGAIN}') from error


def _listed(states: dict[str, str]) -> str:
    if not states:
        return 'no phone is'
    ready = [s if state == 'device' else f'{s} ({state})' for s, state in states.items()]
    return f'connected: {", ".join(ready)}'


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command of adb failed: its last error, which its own summary may come after."""
    lines = [line.strip() for line in f'{done.stdout}\n{done.stderr}'.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith('adb: error')]
    return (errors or lines or [f'exit code {done.returncode}'])[-1]
