"""Discovery against an adb server that says what no device of tests can be."""

import socket
import socketserver
import threading

import pytest

from benchmark.device import DeviceError
from benchmark.phones import adb


class FakeServer(socketserver.ThreadingTCPServer):
    """Speaks the protocol of adb's server as far as discovery needs it."""

    allow_reuse_address = True
    daemon_threads = True
    devices = ''
    features = 'shell_v2,cmd'


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        length = self.rfile.read(4)
        command = self.rfile.read(int(length, 16)).decode() if length else ''
        if command == 'host:version':
            self.say('0029')  # 41, that of every adb since 2018
        elif command == 'host:devices':
            self.say(self.server.devices)
        elif command.endswith(':features'):
            self.say(self.server.features)
        elif command:
            reason = 'closed'
            self.wfile.write(f'FAIL{len(reason):04x}{reason}'.encode())

    def say(self, text):
        self.wfile.write(f'OKAY{len(text):04x}{text}'.encode())


@pytest.fixture
def server(monkeypatch):
    with FakeServer(('127.0.0.1', 0), Answer) as running:
        monkeypatch.setenv('ANDROID_ADB_SERVER_PORT', str(running.server_address[1]))
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        ('unauthorized', 'X1 has not allowed this computer; unlock it and accept the dialog'),
        ('authorizing', 'X1 is asking its owner'),
        ('offline', 'X1 does not answer; pull the cable'),
        (
            'no permissions (user in plugdev group); see [http://x]',
            'X1 may not be opened by this u',
        ),
        ('recovery', "X1 is in the state 'recovery'; restart it"),
    ],
)
def test_a_phone_that_is_not_ready_is_told_with_a_cure(server, state, message):
    server.devices = f'X1\t{state}\n'
    with pytest.raises(DeviceError, match=message):
        adb.find([])
    with pytest.raises(DeviceError, match=message):
        adb.find(['all'])
    with pytest.raises(DeviceError, match=message):
        adb.find(['all', 'X1'])


def test_of_two_phones_the_one_that_is_ready_can_be_named(server):
    server.devices = 'X1\tdevice\nX2\tunauthorized\n'
    (shell,) = adb.find(['X1'])
    assert shell.serial == 'X1'
    with pytest.raises(
        DeviceError, match=r'X2 has not allowed .*; connected: X1, X2 \(unauthorized'
    ):
        adb.find(['all', 'X2'])
    warned = []
    (shell,) = adb.find(['all'], warn=warned.append)
    assert shell.serial == 'X1'
    assert [text[:31] for text in warned] == ['left out: X2 has not allowed th']
    with pytest.raises(
        DeviceError, match=r'choose; connected: X1, X2 .*; give --serial=X1 or --seri'
    ):
        adb.find([])


def test_a_phone_that_tells_no_exit_codes_is_too_old(server):
    server.devices, server.features = 'X1\tdevice\n', 'cmd'
    with pytest.raises(DeviceError, match='X1 tells no exit codes over adb, expected Android 7'):
        adb.find([])


def test_what_adb_refuses_is_told_in_one_line(server):
    server.devices = 'X1\tdevice\n'
    (shell,) = adb.find([])
    with pytest.raises(
        adb.DeviceLostError, match=r'^X1 is gone during ls \(closed\); connect it ag'
    ):
        shell.run('ls')


def test_a_port_that_another_program_has_is_told(monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as other:
        monkeypatch.setenv('ANDROID_ADB_SERVER_PORT', str(other.getsockname()[1]))
        monkeypatch.setattr(adb, '_START_S', 1.0)
        with pytest.raises(
            DeviceError, match=r'the adb server cannot be started: .*another program'
        ):
            adb.find([])


def test_an_adb_that_cannot_be_run_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv('ADBUTILS_ADB_PATH', str(tmp_path / 'adb'))
    with pytest.raises(DeviceError, match=r'the adb server cannot be started: .*No such file'):
        adb.find([])


def test_a_full_phone_is_told_whichever_line_adb_writes_last(server, monkeypatch, tmp_path):
    server.devices = 'X1\tdevice\n'
    (shell,) = adb.find([])
    monkeypatch.setattr(shell, 'run', lambda *words, **settings: adb.Output(0, ''))
    program, file = tmp_path / 'adb', tmp_path / 'a.tflite'
    file.write_bytes(bytes(100_000))
    # The order that adb's summary and the phone's refusal come in is a matter of milliseconds.
    lines = ['a.tflite: 1 file pushed', 'adb: error: remote write failed: No space left on device']
    for first, second in (lines, reversed(lines)):
        program.write_text(f"#!/bin/sh\nprintf '{first}\\n{second}\\n' >&2\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv('ADBUTILS_ADB_PATH', str(program))
        with pytest.raises(DeviceError, match=r'X1 has no space for the 0.1 MB of a.tflite'):
            shell.push(file, '/data/local/tmp/a.tflite')
