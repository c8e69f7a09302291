"""What a disk without space left does to a run, on a small disk in memory."""

import os
import shutil
import subprocess

import pytest

from train import checkpoint, loop
from train.log import RunLog
from train.metrics_file import read_metrics
from train.testing import assert_same_variables, at_step, variables

BALLAST = 'ballast'


@pytest.fixture
def disk(tmp_path):
    """A folder with a disk of its own, of four megabytes."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    if not shutil.which('mount'):
        pytest.skip('there is no mount; a disk that can be filled needs it')
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(folder)]
    result = subprocess.run(mount, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f'cannot mount a disk that can be filled: {result.stderr.strip()}')
    yield folder
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


def fill(disk, left=0):
    """Leaves so many bytes."""
    space = os.statvfs(disk)
    (disk / BALLAST).write_bytes(bytes(space.f_bavail * space.f_frsize - left))


def checkpoints(workdir):
    return sorted(path.name for path in (workdir / 'checkpoints').iterdir())


def test_a_disk_that_is_full_while_saving_stops_the_run(
    disk, tiny_config, tiny_run, monkeypatch, capfd
):
    workdir = disk / 'run'
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: fill(disk, left=40_000))
        with pytest.raises(
            OSError, match=rf'cannot save step 6 to {workdir}.*[Nn]o space left'
        ) as e:
            loop.run(tiny_config(), str(workdir))
    assert '\n' not in str(e.value)
    assert checkpoints(workdir) == ['step_00000002', 'step_00000004']
    assert capfd.readouterr().err.endswith('\n')  # the error has a line of its own
    assert checkpoint.latest(str(workdir / 'checkpoints')).state['step'] == 4
    assert capfd.readouterr().err == ''  # nothing is damaged
    (disk / BALLAST).unlink()
    assert loop.run(tiny_config(), str(workdir)) is not None
    assert_same_variables(workdir, variables(tiny_run))
    assert read_metrics(str(workdir)) == read_metrics(str(tiny_run))


def test_results_that_do_not_fit_stop_the_run(disk, tiny_config, tiny_run, monkeypatch):
    workdir = disk / 'run'
    save = checkpoint.save

    def save_and_fill(folder, objects, state, **options):
        save(folder, objects, state, **options)
        if state['step'] == 8:
            fill(disk)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, 'save', save_and_fill)
        with pytest.raises(OSError, match=r'No space left on device: .*results.json'):
            loop.run(tiny_config(), str(workdir))
    assert checkpoints(workdir)[-1] == 'step_00000008'
    assert not (workdir / 'results.json').exists()
    (disk / BALLAST).unlink()
    assert loop.run(tiny_config(), str(workdir)) is not None
    assert (workdir / 'results.json').is_file()


@pytest.fixture
def log(disk):
    """The log of a run that has logged a step."""
    (disk / 'run').mkdir()
    with RunLog(str(disk / 'run'), step=0, total_steps=9, batch_size=1, write=True) as log:
        log.scalars(1, {'train/loss': 1.0})
        yield log


def test_a_line_that_does_not_fit_names_its_file(disk, log, monkeypatch):
    # The log is what grows; files of TensorBoard come in larger pieces.
    fill(disk)
    message = 'No space left on device: .*metrics.jsonl'
    with pytest.raises(OSError, match=message):
        log.scalars(2, {f'train/{number}': 1.0 for number in range(1000)})
    assert [line['step'] for line in read_metrics(str(disk / 'run'))] == [1]
    # Started again on the full disk, what is there stays.
    with pytest.raises(OSError, match=message):
        RunLog(str(disk / 'run'), step=1, total_steps=9, batch_size=1, write=True)
    assert [line['step'] for line in read_metrics(str(disk / 'run'))] == [1]


def log_until_full(log):
    for step in range(2, 1000):
        log.scalars(step, {'x': 1.0})


def test_events_that_do_not_fit_are_an_error_of_their_file(disk, log):
    (disk / 'run' / 'metrics.jsonl').unlink()
    os.symlink('/dev/null', disk / 'run' / 'metrics.jsonl')
    fill(disk)
    message = r'cannot write what TensorBoard shows: .*/events.*; No space left on device$'
    with pytest.raises(OSError, match=message):
        log_until_full(log)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_exit_code_2(disk, run_python, image_folder, tiny_spec):
    fill(disk, left=40_000)
    result = run_python(
        '-m',
        'train.main',
        f'--model={tiny_spec}',
        '--resolution=32',
        f'--dataset=folder:{image_folder}',
        '--workdir=run',
        '--config.train.batch_size=5',
        '--config.train.epochs=1',
        '--config.eval.batch_size=4',
        cwd=disk,
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(
        'error: cannot save step 2 to run/checkpoints: '
    )
    assert 'Traceback' not in result.stderr
