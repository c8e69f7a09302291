import errno
import signal

import pytest
import tensorflow as tf

from train import cli


def no_flags():
    pass


def run(monkeypatch, main, *arguments, define_flags=no_flags, positional=''):
    """Runs `main` as a command line; its exit code."""
    monkeypatch.setattr('sys.argv', ['program', *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.run(main, define_flags, positional=positional)
    return ended.value.code


def failing(error):
    def main():
        raise error

    return main


def unknown_field():
    from configs import base

    base.get_config().train.epoch = 1.0


@pytest.mark.parametrize(
    ('main', 'line'),
    [
        (failing(ValueError('came 3;\n expected 4')), 'error: came 3; expected 4'),
        (
            failing(OSError(errno.ENOSPC, 'No space left on device', 'run/x')),
            "error: [Errno 28] No space left on device: 'run/x'",
        ),
        (failing(MemoryError()), 'error: MemoryError'),
        (failing(KeyboardInterrupt()), 'error: interrupted'),
        (
            failing(tf.errors.InvalidArgumentError(None, None, 'no JPEG\n[[node]]')),
            'error: TensorFlow: no JPEG',
        ),
        (
            failing(tf.errors.DataLossError(None, None, 'corrupted record at 12')),
            'error: TensorFlow: corrupted record at 12; a file of the dataset is damaged: the same '
            'train.shard command as before finds and rewrites its own, TFDS prepares its own anew',
        ),
    ],
)
def test_what_a_person_can_mend_is_one_line(monkeypatch, capsys, main, line):
    assert run(monkeypatch, main) == 2
    assert capsys.readouterr().err == line + '\n'


def test_an_unknown_field_of_a_config_is_one_line(monkeypatch, capsys):
    # A config flag reads its overrides when it is defined.
    assert run(monkeypatch, lambda: None, define_flags=unknown_field) == 2
    line = capsys.readouterr().err
    assert line.startswith('error: ')
    assert 'Did you mean "epochs"' in line
    assert line.count('\n') == 1


@pytest.mark.parametrize(
    'error', [TypeError('x'), AttributeError('x'), KeyError('x'), IndexError()]
)
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr('sys.argv', ['program'])
    with pytest.raises(type(error)):
        cli.run(failing(error), no_flags)


def test_success_is_exit_code_0(monkeypatch, capsys):
    calls = []
    assert not run(monkeypatch, lambda: calls.append('main'))
    assert calls == ['main']
    assert capsys.readouterr().err == ''


def test_a_positional_argument_is_refused_before_the_run(monkeypatch, capsys):
    calls = []
    assert run(monkeypatch, lambda: calls.append('main'), 'small') == 2
    assert calls == []
    assert "unexpected argument 'small'" in capsys.readouterr().err


def test_a_command_that_takes_positional_arguments_gets_them(monkeypatch):
    calls = []
    assert not run(monkeypatch, calls.append, 'a.jpg', '--', '-b.jpg', positional='IMAGES')
    assert calls == [['a.jpg', '-b.jpg']]


def test_positional_arguments_that_lack_are_asked_for(monkeypatch, capsys):
    assert run(monkeypatch, failing(TypeError()), positional='IMAGES') == 2
    assert capsys.readouterr().err == 'error: expected IMAGES beside the flags (see --help)\n'


@pytest.mark.parametrize('continues', [True, False])
def test_a_command_that_continues_ends_well_when_it_is_stopped(run_python, tmp_path, continues):
    program = f"""
import os, signal
from train import cli
cli.run(lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: None, continues={continues})
"""
    result = run_python('-c', program, cwd=tmp_path)
    if continues:
        assert (result.returncode, result.stderr) == (0, '')
        assert result.stdout == 'stopped; the same command continues\n'
    else:
        assert result.returncode == -signal.SIGTERM


def test_a_stop_that_is_lost_on_its_way_ends_the_command_all_the_same(run_python, tmp_path):
    program = """
import contextlib, os, signal, time
from train import cli
from train.stop_signal import Stopped

def main():
    with contextlib.suppress(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)

cli.PATIENCE_SECONDS = 0.5
cli.run(main, lambda: None, continues=True)
"""
    result = run_python('-c', program, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout == 'stopped; the same command continues\n'
