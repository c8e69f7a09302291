import subprocess
import sys
import tempfile

import pytest

from benchmark.device import DeviceError
from benchmark.phones.phone_lock import PhoneLock


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    return tmp_path


def test_a_phone_is_measured_by_one_command_at_a_time():
    lock = PhoneLock('8A5X b1', '8A5X')
    other = PhoneLock('127.0.0.1:5555', '127.0.0.1:5555')
    with pytest.raises(DeviceError, match='8A5X is being measured by another command, expected on'):
        PhoneLock('8A5X b1', '8A5X')
    lock.release()
    lock.release()
    PhoneLock('8A5X b1', '8A5X').release()
    other.release()


def test_a_process_that_is_killed_keeps_no_phone(folder):
    code = (
        'import os, sys, tempfile; tempfile.tempdir = sys.argv[1]\n'
        'from benchmark.phones.phone_lock import PhoneLock\n'
        'lock = PhoneLock("8A5X b1", "8A5X"); os.kill(os.getpid(), 9)'
    )
    assert subprocess.run([sys.executable, '-c', code, folder], check=False).returncode == -9
    PhoneLock('8A5X b1', '8A5X').release()


def test_no_link_is_followed(folder):
    (folder / 'mobilenet_v3_phone_8A5X_b1.lock').symlink_to(folder / 'elsewhere')
    with pytest.raises(OSError, match=r'8A5X_b1\.lock'):
        PhoneLock('8A5X b1', '8A5X')
    assert not (folder / 'elsewhere').exists()
