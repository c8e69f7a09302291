import sys

import pytest

from train.prove_resume import prove


@pytest.mark.slow
def test_a_killed_export_ends_with_the_same_files(tiny_run, python_environment, tmp_path):
    command = [
        sys.executable,
        '-m',
        'export.tflite',
        f'--workdir={tiny_run}',
        '--output=OUT',
        '--quantize',
        '--config.quantize.calibration_images=8',
        '--config.quantize.search_images=8',
        '--config.train.batch_size=4',
        '--config.train.epochs=2',
        '--config.eval.batch_size=4',
        '--config.log_every_steps=1',
    ]
    aims = ('evaluation', 'write')
    proof = prove(command, tmp_path, kills=2, aims=aims, environment=python_environment)
    assert proof.hits.total() == 2
    assert proof.files > 5  # two .tflite files, a log and checkpoints
    assert not proof.differing
