"""Phones without a phone: real adbds, each with a /data of its own, in a network of their own."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from benchmark.device import Case

ROOT = Path(__file__).absolute().parents[2]
TOOLS = ROOT / 'tools/adbd'
ADBD = Path(os.environ.get('ADBD_DIR', ROOT / 'build/adbd')).absolute()
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


def why_no_adbd():
    """Why a device cannot be started here; empty when it can."""
    if not (ADBD / 'ready').is_file():
        return f'{ADBD} holds no finished set-up; run tools/adbd/setup.sh'
    if not sys.platform.startswith('linux') or os.geteuid() != 0:
        return 'a network of its own needs root on Linux'
    test = ['unshare', '--net', '--mount', '--pid', '--fork', 'true']
    if not shutil.which('unshare') or subprocess.run(test, capture_output=True).returncode:
        return 'this system gives no namespaces (unshare)'
    return ''


@pytest.fixture(scope='module')
def adb_network(tmp_path_factory):
    """This thread, and what it starts, in a network that nobody else is in; an adb server there."""
    if reason := why_no_adbd():
        pytest.skip(reason)
    libc = ctypes.CDLL(None, use_errno=True)
    with open('/proc/thread-self/ns/net') as before, pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp('home')
        patch.setenv('HOME', str(home))  # of adb's keys
        patch.setenv('TMPDIR', str(home))  # of its log
        patch.setenv('ANDROID_ADB_SERVER_PORT', '15037')
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            with socket.socket() as any_socket:
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', IFF_UP))
            yield
            run_adb('kill-server')
        finally:
            assert libc.setns(before.fileno(), CLONE_NEWNET) == 0


def run_adb(*arguments):
    import adbutils

    return subprocess.run(
        [adbutils.adb_path(), *arguments], capture_output=True, text=True, timeout=60
    )


class Device:
    """One adbd with an empty /data, the host's programs and those that stand in for Android's."""

    def __init__(self, folder, port):
        self.serial, self.port = f'127.0.0.1:{port}', port
        self.files, self._root = folder / 'files', folder / 'root'
        self.files.mkdir(parents=True)
        self._root.mkdir()
        self._process = None
        self._guard = _occupy_vsock(port)

    def start(self, data_size='64m'):
        # adbd ends what it runs by SIGHUP, which tests that were started with nohup ignore.
        command = ['env', '--default-signal', 'unshare']
        command += ['--mount', '--pid', '--fork', '--kill-child']
        arguments = [TOOLS / 'device.sh', ADBD / 'adbd', self._root, self.port, data_size]
        path = f'{TOOLS / "bin"}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'
        self._process = subprocess.Popen(
            [*command, *map(str, arguments)],
            env={'PATH': path, 'PHONE_FILES': str(self.files), 'HOME': '/'},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self.connect()

    def connect(self):
        for _ in range(300):
            if 'connected to' in run_adb('connect', self.serial).stdout:
                run_adb('-s', self.serial, 'wait-for-device')
                return self
            time.sleep(0.05)
        raise AssertionError(f'{self.serial} cannot be reached')

    def disconnect(self):
        run_adb('disconnect', self.serial)

    def signal(self, number):
        """To adbd, which is the only child."""
        pid = self._process.pid
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
        os.kill(int(children[0]), number)

    def kill(self):
        """Pulls the cable: the device and all that runs on it are gone, and its /data."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def kill_when_running(self):
        """The same, once the tool is at work."""
        while not (self.files / 'RUNNING').exists():
            time.sleep(0.05)
        self.kill()

    def end(self):
        self.kill()
        self.disconnect()
        self._guard.close()

    def tells(self, name, text):
        """Lets a stand-in of tools/adbd/bin, or with FAULT the tool, behave in a way."""
        (self.files / name).write_text(text)

    def listing(self):
        """The files of its /data."""
        return run_adb('-s', self.serial, 'shell', 'find', '/data', '-type', 'f').stdout.split()


def _occupy_vsock(port):
    """Keeps adbd from a virtual machine's socket, which no network namespace holds back."""
    guard = contextlib.ExitStack()
    with contextlib.suppress(OSError, AttributeError):  # a system without such sockets
        taken = guard.enter_context(socket.socket(socket.AF_VSOCK))
        taken.bind((socket.VMADDR_CID_ANY, port))
    return guard


@pytest.fixture
def start_device(adb_network, tmp_path):
    """Starts devices, which end with the test."""
    devices = []
    # adb looks for emulators at 5555 to 5585; other processes of tests take other ports.
    first_port = 20000 + os.getpid() % 10000 * 2

    def start(**options):
        port = first_port + len(devices)
        devices.append(Device(tmp_path / str(port), port))
        return devices[-1].start(**options)

    yield start
    for device in devices:
        device.end()


@pytest.fixture(scope='module')
def device_program(tmp_path_factory):
    """The stand-in for benchmark_model as one file that a device runs."""
    path = tmp_path_factory.mktemp('tool') / 'benchmark_model'
    path.write_text(f'#!{sys.executable}\n' + (TOOLS / 'benchmark_model.py').read_text())
    path.chmod(0o755)
    return path


@pytest.fixture(scope='module')
def two_models(tmp_path_factory):
    """Two small .tflite files: conv1, conv8."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp('models')
    for channels in (1, 8):
        kernel = tf.ones([3, 3, 3, channels])

        @tf.function(input_signature=[tf.TensorSpec([1, 16, 16, 3])])
        def convolve(image, kernel=kernel):
            return tf.nn.conv2d(image, kernel, 1, 'SAME')

        concrete = convolve.get_concrete_function()
        content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
        (folder / f'conv{channels}.tflite').write_bytes(content)
    return sorted(folder.iterdir())


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    """Locks of phones in a folder of the test: others have phones of the same serial number."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))


@pytest.fixture
def program(tmp_path):
    path = tmp_path / 'benchmark_model'
    path.write_bytes(b'\x7fELF')
    return path


@pytest.fixture
def case(tmp_path):
    path = tmp_path / 'a.tflite'
    path.write_bytes(b'TFL3')
    return Case('a.tflite', path, '0' * 64, 4)
