import json
import math
import shutil
import signal

import numpy as np
import pytest

from train import loop
from train.divergence import Divergence
from train.metrics_file import read_metrics
from train.testing import (
    assert_same_variables,
    at_step,
    explode,
    rewrite_states,
    send,
    variables,
)
from train.trainer import Trainer

STEPS = 8  # of a run of `tiny_config`, saved at every other one


def checkpoints(workdir):
    return sorted(path.name for path in (workdir / 'checkpoints').iterdir())


@pytest.fixture
def rollback_config(tiny_config):
    config = tiny_config()
    config.on_nan = 'rollback'
    config.log_every_steps = 1
    return config


# ---------------------------------------------------------------------------------- patience


@pytest.mark.parametrize(
    ('patience', 'losses', 'over'),
    [
        (1, [1.0, math.nan], [False, True]),
        (2, [math.inf, 1.0, math.nan, -math.inf], [False, False, False, True]),
    ],
)
def test_patience_counts_steps_in_a_row(tiny_config, patience, losses, over):
    config = tiny_config()
    config.divergence.patience_steps = patience
    divergence = Divergence(config)
    assert [divergence.note(loss, 1) for loss in losses] == over
    assert divergence.is_waiting


def test_steps_that_were_taken_at_once_all_count(tiny_config):
    config = tiny_config()
    config.divergence.patience_steps = 10
    divergence = Divergence(config)
    assert [divergence.note(math.nan, 5), divergence.note(math.nan, 5)] == [False, True]


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('on_nan', 'ignore', "config.on_nan is 'ignore'; expected stop or rollback"),
        ('divergence.patience_steps', 0, 'expected patience_steps of 1 or more'),
        ('divergence.max_rollbacks', -1, 'max_rollbacks of 0 or more'),
        ('divergence.rate_factor', 1.0, r'rate_factor is 1.0; expected in \(0, 1\)'),
        ('divergence.rate_factor', math.nan, r'rate_factor is nan; expected in \(0, 1\)'),
    ],
)
def test_values_out_of_range_are_refused(tiny_config, field, value, message):
    config = tiny_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        Divergence(config)


# -------------------------------------------------------------------------------------- stop


@pytest.fixture(scope='module')
def diverged(tiny_config, tmp_path_factory):
    """The folder and the error of a run whose weights explode after step 3."""
    workdir = tmp_path_factory.mktemp('diverged')
    with pytest.MonkeyPatch.context() as patch:
        explode(patch, 3)
        with pytest.raises(ValueError) as raised:
            loop.run(tiny_config(), str(workdir))
    return workdir, str(raised.value)


def test_a_loss_that_is_no_number_stops_and_says_what_to_do(diverged):
    workdir, message = diverged
    assert message.startswith('the loss is nan at step 4, learning rate 0.01; ')
    assert f'of its checkpoints in {workdir} the last is step 2' in message
    assert 'Lower --config.schedule.learning_rate' in message
    assert '--config.on_nan=rollback' in message
    assert '\n' not in message


def test_divergence_leaves_the_checkpoints_alone(diverged):
    workdir, _ = diverged
    assert checkpoints(workdir) == ['step_00000002']
    assert all(np.isfinite(value).all() for value in variables(workdir).values())
    assert not (workdir / 'results.json').exists()


def test_a_run_that_stopped_goes_on_with_rollback(diverged, rollback_config, tmp_path, monkeypatch):
    rollback_config.log_every_steps = 3
    explode(monkeypatch, 3)
    workdir = shutil.copytree(diverged[0], tmp_path / 'run')
    assert loop.run(rollback_config, str(workdir)) is not None
    assert checkpoints(workdir)[-1] == 'step_00000008'


def test_what_a_signal_saved_is_gone_back_to_where_nothing_else_is(
    diverged, rollback_config, tmp_path, monkeypatch
):
    rollback_config.log_every_steps = 3
    explode(monkeypatch, 3)
    workdir = shutil.copytree(diverged[0], tmp_path / 'run')
    rewrite_states(workdir, lambda state: state.update(scheduled_step=None))
    assert loop.run(rollback_config, str(workdir)) is not None
    assert checkpoints(workdir)[-1] == 'step_00000008'


def test_a_huge_learning_rate_diverges_in_words(tiny_config, tmp_path, capfd):
    config = tiny_config()
    config.schedule.learning_rate = 1e30
    config.schedule.warmup_epochs = 0.0
    expected = r'the loss is .* at step \d|no longer finite at step \d'
    with pytest.raises(ValueError, match=expected) as raised:
        loop.run(config, str(tmp_path))
    # The progress bar must not share a line with the error that is printed next.
    assert capfd.readouterr().err.endswith('\n'), raised


def test_weights_that_exploded_in_the_last_step_are_not_saved(tiny_config, tmp_path, monkeypatch):
    train = Trainer.train

    def explosive(trainer, iterator, count):
        loss = train(trainer, iterator, count)
        if int(trainer.optimizer.iterations) == STEPS:
            trainer.model.get_layer('logits/conv').bias.assign([0.0, np.inf, 0.0])
        return loss

    monkeypatch.setattr(Trainer, 'train', explosive)
    with pytest.raises(ValueError, match=r'logits/conv/bias:0 is no longer finite at step 8, lear'):
        loop.run(tiny_config(), str(tmp_path))
    assert checkpoints(tmp_path)[-1] == 'step_00000006'


def test_while_patience_lasts_nothing_is_saved_or_evaluated(tiny_config, tmp_path, monkeypatch):
    config = tiny_config()
    config.log_every_steps = 1
    config.divergence.patience_steps = 4
    explode(monkeypatch, 3)
    with pytest.raises(ValueError, match='the loss is nan at step 7, learning rate'):
        loop.run(config, str(tmp_path))
    assert checkpoints(tmp_path) == ['step_00000002']
    assert [line['step'] for line in read_metrics(str(tmp_path))] == [1, 2, 3]


def test_a_run_does_not_end_while_patience_lasts(tiny_config, tmp_path, monkeypatch):
    config = tiny_config()
    config.divergence.patience_steps = 100
    explode(monkeypatch, 6)
    with pytest.raises(ValueError, match='the loss is nan at step 8, learning rate'):
        loop.run(config, str(tmp_path))
    assert checkpoints(tmp_path)[-1] == 'step_00000006'


# ---------------------------------------------------------------------------------- rollback


@pytest.fixture(scope='module')
def rolled_back(tiny_config, tmp_path_factory):
    """The folder of a run that diverged at step 7, went back to 6 and on with half the rate."""
    config = tiny_config()
    config.on_nan = 'rollback'
    config.log_every_steps = 1
    workdir = tmp_path_factory.mktemp('rolled_back')
    with pytest.MonkeyPatch.context() as patch:
        explode(patch, 6)
        assert loop.run(config, str(workdir)) is not None
    return workdir


def test_a_rollback_goes_on_with_a_lower_rate(rolled_back):
    rates = {
        line['step']: line['train/learning_rate']
        for line in read_metrics(str(rolled_back))
        if 'train/loss' in line
    }
    assert list(rates) == list(range(1, STEPS + 1))  # each step once
    assert rates[8] == pytest.approx(0.5 * rates[6])
    assert rates[7] == pytest.approx(0.5 * rates[6])


def test_a_rollback_trains_as_a_run_of_that_rate(rolled_back, tiny_config, tmp_path, monkeypatch):
    workdir = tmp_path / 'run'
    shutil.copytree(rolled_back, workdir)
    for step in (8,):
        shutil.rmtree(workdir / 'checkpoints' / f'step_{step:08d}')
    # From step 6 on with half the rate by hand.
    slow_down = Trainer.slow_down
    monkeypatch.setattr(Trainer, 'slow_down', lambda trainer, _: slow_down(trainer, 0.5))
    loop.run(tiny_config(), str(workdir))
    assert_same_variables(workdir, variables(rolled_back))


@pytest.mark.parametrize('step', [1, 5, 8])
def test_a_run_stopped_around_a_rollback_ends_as_if_undisturbed(
    rolled_back, rollback_config, tmp_path, monkeypatch, step
):
    # Stopped at 5, a checkpoint that is on no schedule lies between the ones that count.
    with monkeypatch.context() as patch:
        explode(patch, 6)
        at_step(patch, step, send(signal.SIGTERM))
        loop.run(rollback_config, str(tmp_path))
    explode(monkeypatch, 6)
    assert loop.run(rollback_config, str(tmp_path)) is not None
    assert_same_variables(tmp_path, variables(rolled_back))
    assert read_metrics(str(tmp_path)) == read_metrics(str(rolled_back))


def test_a_checkpoint_of_a_signal_is_not_gone_back_to(
    rollback_config, tmp_path, monkeypatch, capsys
):
    rollback_config.checkpoint.keep = 1
    with monkeypatch.context() as patch:
        at_step(patch, 3, send(signal.SIGTERM))
        loop.run(rollback_config, str(tmp_path))
    assert checkpoints(tmp_path) == ['step_00000002', 'step_00000003']
    explode(monkeypatch, 3)
    loop.run(rollback_config, str(tmp_path))
    assert 'the loss is nan at step 4, learning rate 0.01: back to step 2, on with 0.5 of' in (
        capsys.readouterr().out
    )


def test_a_run_goes_back_to_its_start(rollback_config, tmp_path, monkeypatch, capsys):
    explode(monkeypatch, 0)
    assert loop.run(rollback_config, str(tmp_path)) is not None
    assert 'back to step 0, on with 0.5 of the learning rate' in capsys.readouterr().out
    state = json.loads((tmp_path / 'checkpoints' / 'step_00000008' / 'state.json').read_text())
    assert state['divergence'] == {'rate_factor': 0.5, 'rollbacks': 1}


def test_a_run_gives_up_after_its_rollbacks(rollback_config, tmp_path, monkeypatch, capsys):
    rollback_config.divergence.max_rollbacks = 2
    explode(monkeypatch, 3, until_factor=0.0)
    with pytest.raises(ValueError, match=r'the loss is nan at step 4, .*went back 2 times, as of'):
        loop.run(rollback_config, str(tmp_path))
    assert 'on with 0.25 of the learning rate' in capsys.readouterr().out
    assert checkpoints(tmp_path) == ['step_00000000', 'step_00000002']
