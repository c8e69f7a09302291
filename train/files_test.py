import errno
import os

import pytest

from train import files


def test_a_failed_write_keeps_the_old_file(tmp_path):
    output = tmp_path / 'results.json'
    output.write_text('old')
    with pytest.raises(ValueError, match='not JSON compliant'):
        files.write_json(output, {'median': float('nan')})
    assert output.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['results.json']


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    output = tmp_path / 'model.tflite'
    output.write_bytes(b'old')
    monkeypatch.setattr(files.os, 'fsync', full)
    with pytest.raises(OSError, match=r"No space left on device: '.*model\.tflite'"):
        files.write_file(output, b'new')
    assert output.read_bytes() == b'old'
    assert [file.name for file in tmp_path.iterdir()] == ['model.tflite']


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / 'results.json'
    os.mkfifo(pipe)
    with pytest.raises(
        OSError, match=r"something that is no file has this name: '.*results\.json'"
    ):
        files.write_json(pipe, {})
    assert pipe.is_fifo()
