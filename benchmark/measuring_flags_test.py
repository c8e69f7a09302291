from pathlib import Path

import pytest

from benchmark import measuring_flags


def test_a_directory_stands_for_its_tflite_files_by_name(tmp_path):
    for name in ('b.tflite', 'a.tflite', 'a.json', 'notes.txt'):
        (tmp_path / name).touch()
    files = measuring_flags.find_models(['z.tflite', str(tmp_path)])
    assert files == [Path('z.tflite'), tmp_path / 'a.tflite', tmp_path / 'b.tflite']


def test_a_directory_without_models_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'holds no .tflite file, expected at least one; export'):
        measuring_flags.find_models([str(tmp_path)])


def test_no_model_is_refused():
    with pytest.raises(ValueError, match=r'--models is empty, expected .tflite files or direct'):
        measuring_flags.find_models([])
