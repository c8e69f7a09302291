import json
import shutil
import signal

import numpy as np
import pytest

from train import loop
from train.evaluator import Evaluator
from train.run import load_trained
from train.testing import assert_same_variables, at_step, explode, send, variables

# What the averaged weights reach at each evaluation of a run of `patient`.
VALUES = [0.2, 0.5, 0.4, 0.5, 0.9, 0.9]


@pytest.fixture
def patient(tiny_config, monkeypatch):
    """A config that evaluates at every second step, up to step 12, and what is measured then."""
    config = tiny_config()
    config.train.epochs = 4.8
    config.eval.every_epochs = 0.8
    config.eval.patience = 2
    statistics = Evaluator.run

    def run(evaluator, model):
        metrics = statistics(evaluator, model)
        step = int(current['trainer'].optimizer.iterations)
        averaged = model is current['trainer'].averaged
        return {**metrics, 'top1': VALUES[step // 2 - 1] if averaged else 0.0}

    current = {}
    make = loop.Trainer

    def trainer(*arguments):
        current['trainer'] = make(*arguments)
        return current['trainer']

    monkeypatch.setattr(Evaluator, 'run', run)
    monkeypatch.setattr(loop, 'Trainer', trainer)
    return config


def test_a_run_ends_when_nothing_got_better_and_its_best_counts(patient, tmp_path):
    metrics = loop.run(patient, str(tmp_path))
    assert metrics['averaged']['top1'] == 0.5
    results = json.loads((tmp_path / 'results.json').read_text())
    assert (results['step'], results['averaged']['top1']) == (4, 0.5)
    saved = [path.name for path in (tmp_path / 'checkpoints').iterdir()]
    assert max(saved) == 'step_00000008'  # two evaluations after the best: as good is not better


def test_the_loaded_weights_are_the_best_ones(patient, tmp_path):
    loop.run(patient, str(tmp_path / 'early'))
    _, best, state = load_trained(str(tmp_path / 'early'))
    assert state['step'] == 4
    patient.eval.patience = 0
    patient.train.epochs = 1.6  # ends where the best was
    loop.run(patient, str(tmp_path / 'short'))
    _, last, _ = load_trained(str(tmp_path / 'short'))
    for ours, theirs in zip(best.get_weights(), last.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_does_not_go_on(patient, tmp_path):
    metrics = loop.run(patient, str(tmp_path))
    before = variables(tmp_path)
    assert loop.run(patient, str(tmp_path)) == metrics
    assert_same_variables(tmp_path, before)


def test_waiting_goes_on_after_a_stop(patient, tmp_path, monkeypatch):
    loop.run(patient, str(tmp_path / 'whole'))
    for step in (3, 4, 7):
        workdir = tmp_path / f'stopped_{step}'
        with monkeypatch.context() as patched:
            at_step(patched, step, send(signal.SIGTERM))
            assert loop.run(patient, str(workdir)) is None
        assert loop.run(patient, str(workdir))['averaged']['top1'] == 0.5
        assert_same_variables(workdir, variables(tmp_path / 'whole'))


def test_patience_outlasting_the_run_still_takes_the_best(patient, tmp_path):
    patient.eval.patience = 100
    assert loop.run(patient, str(tmp_path))['averaged']['top1'] == 0.9
    assert json.loads((tmp_path / 'results.json').read_text())['step'] == 10


def flip_a_byte(workdir):
    (path,) = workdir.glob('best/*/variables.data*')
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damaged_best_weights_are_told_and_the_last_ones_go_on_without_them(
    patient, tmp_path, capsys
):
    patient.eval.patience = 100
    loop.run(patient, str(tmp_path))
    flip_a_byte(tmp_path)
    message = r'the best weights of .* are damaged; remove .*best and give the command that trained'
    for use in (lambda: load_trained(str(tmp_path)), lambda: loop.run(patient, str(tmp_path))):
        with pytest.raises(ValueError, match=message):
            use()
    shutil.rmtree(tmp_path / 'best')
    capsys.readouterr()
    assert loop.run(patient, str(tmp_path))['averaged']['top1'] == VALUES[-1]
    assert 'the weights of step 10, the best, are gone; the last count' in capsys.readouterr().out
    assert json.loads((tmp_path / 'results.json').read_text())['step'] == 12
    assert load_trained(str(tmp_path))[2]['step'] == 12


def test_without_its_best_weights_a_run_waits_anew(patient, tmp_path):
    loop.run(patient, str(tmp_path))
    shutil.rmtree(tmp_path / 'best')
    assert loop.run(patient, str(tmp_path))['averaged']['top1'] == 0.9
    assert json.loads((tmp_path / 'results.json').read_text())['step'] == 10


def test_the_best_of_an_earlier_run_in_the_same_folder_does_not_count(patient, tmp_path):
    loop.run(patient, str(tmp_path))
    shutil.rmtree(tmp_path / 'checkpoints')
    patient.eval.patience = 0
    loop.run(patient, str(tmp_path))
    assert load_trained(str(tmp_path))[2]['step'] == 12


def test_a_run_that_goes_back_waits_anew(patient, tmp_path, monkeypatch):
    patient.on_nan, patient.checkpoint.every_epochs = 'rollback', 2.4  # at step 6
    patient.log_every_steps = 1
    explode(monkeypatch, after=7)
    # At step 6 it has waited once; if that counted it would end at step 8.
    assert loop.run(patient, str(tmp_path))['averaged']['top1'] == 0.9


def test_negative_patience_is_refused(tiny_config, tmp_path):
    config = tiny_config()
    config.eval.patience = -1
    with pytest.raises(ValueError, match=r'config.eval.patience is -1; expected 0 or more'):
        loop.run(config, str(tmp_path))
