import os
import subprocess
import sys
import time

import pytest

from train.prove_resume import AIMS, prove

# Writes ten numbers to a file, one at a time, and goes on where it was killed.
HONEST = """
import os, sys, time
folder = sys.argv[1]
for number in range(10):
    path = f'{folder}/{number}_spec.json'
    if not os.path.exists(path):
        with open(path + '.tmp-1', 'w') as file:
            file.write(str(number))
            time.sleep(0.02)
        os.rename(path + '.tmp-1', path)
"""
# The same, but what it writes tells how many there were when it began.
FORGETFUL = HONEST.replace('str(number)', 'str(known)').replace(
    'for', 'known = len(os.listdir(folder))\nfor'
)


@pytest.mark.parametrize(('program', 'differs'), [(HONEST, False), (FORGETFUL, True)])
def test_files_that_tell_of_a_kill_are_found(tmp_path, program, differs):
    (tmp_path / 'important.log').write_text('of something else')
    proof = prove([sys.executable, '-c', program, 'OUT'], tmp_path, kills=6, seed=1)
    assert (tmp_path / 'important.log').read_text() == 'of something else'
    assert proof.hits.total() == 6
    assert proof.hits['write'] >= 1
    assert proof.files == 10
    assert bool(proof.differing) == differs


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        (['true'], 'the command true has no OUT for the folder it writes to'),
        (['true', 'OUT'], 'has no files like .*; nothing to compare'),
        ([sys.executable, '-c', 'raise SystemExit("error: no")', 'OUT'], 'ended with 1: error: no'),
    ],
)
def test_a_command_that_proves_nothing_is_refused(tmp_path, command, message):
    with pytest.raises(ValueError, match=message):
        prove(command, tmp_path, kills=1)


def test_the_command_does_not_outlive_its_killer(tmp_path, python_environment):
    sleeper = (
        'import os, sys, time; '
        'open(sys.argv[1] + "/pid", "w").write(str(os.getpid())); time.sleep(600)'
    )
    command = ['--', sys.executable, '-c', sleeper, 'OUT']
    killer = subprocess.Popen(
        [sys.executable, '-m', 'train.prove_resume', f'--scratch={tmp_path}', *command],
        env=python_environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    pid = tmp_path / 'killed' / 'pid'
    while not (pid.is_file() and pid.read_text()) and killer.poll() is None:
        time.sleep(0.05)
    killer.terminate()
    assert killer.communicate(timeout=60)[1] == 'error: interrupted\n'
    assert killer.returncode == 2
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# --------------------------------------------------------------------------- real trainings

RUN = """
import json, sys
from ml_collections import ConfigDict
from train import loop

with open(sys.argv[1]) as file:
    loop.run(ConfigDict(json.load(file)), sys.argv[2])
"""


def assert_proved(proof, kills):
    assert proof.hits.total() == kills
    assert proof.files > 3
    assert not proof.differing


@pytest.mark.slow
@pytest.mark.parametrize('task', ['classification', 'detection', 'segmentation'])
def test_a_killed_training_ends_as_if_undisturbed(task, request, python_environment, tmp_path):
    name = 'tiny_config' if task == 'classification' else f'tiny_{task}_config'
    config = request.getfixturevalue(name)()
    config.log_every_steps = 1
    (tmp_path / 'config.json').write_text(config.to_json())
    command = [sys.executable, '-c', RUN, str(tmp_path / 'config.json'), 'OUT']
    kills = 3 if task == 'classification' else 2
    proof = prove(command, tmp_path, kills=kills, aims=AIMS[1:], environment=python_environment)
    assert_proved(proof, kills)
    assert proof.hits['write'] + proof.hits['evaluation'] > 0
