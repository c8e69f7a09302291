import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest
import tensorflow as tf

from train import checkpoint, loop
from train.data.source import open_source
from train.evaluator import Evaluator
from train.metrics_file import read_metrics
from train.run import Run, load_trained, resolve_spec
from train.stop_signal import StopSignal
from train.testing import assert_same_variables, at_step, rewrite_states, send, variables
from train.trainer import Trainer

STEPS = 8  # of a run of `tiny_config`, saved at every other one


def checkpoints(workdir):
    return sorted(path.name for path in (workdir / 'checkpoints').iterdir())


def logged(workdir):
    return read_metrics(str(workdir))


@pytest.fixture(scope='module')
def undisturbed(tiny_config, tmp_path_factory):
    """The folder and the metrics of a run from its start to its end."""
    workdir = tmp_path_factory.mktemp('undisturbed')
    return workdir, loop.run(tiny_config(), str(workdir))


@pytest.fixture(scope='module')
def expected(undisturbed):
    return variables(undisturbed[0])


@pytest.fixture
def workdir(undisturbed, tmp_path):
    """A copy of the undisturbed run."""
    return shutil.copytree(undisturbed[0], tmp_path / 'run')


# ------------------------------------------------------------------------- what a run leaves


def test_metrics_are_of_both_sets_of_weights(undisturbed):
    _, metrics = undisturbed
    assert metrics.keys() == {'raw', 'averaged'}
    for values in metrics.values():
        assert values.keys() == {'top1', 'top5', 'loss'}
        assert 0 <= values['top1'] <= values['top5'] <= 1
    assert metrics['raw'] != metrics['averaged']


def test_results_hold_the_metrics_and_what_they_are_of(undisturbed):
    workdir, metrics = undisturbed
    results = json.loads((workdir / 'results.json').read_text())
    assert results.pop('images_per_second') > 0
    assert results == {'step': STEPS, 'examples': 7, **metrics}


def test_every_interval_leaves_its_line(undisturbed):
    workdir, metrics = undisturbed
    lines = read_metrics(str(workdir))
    losses = {line['step']: line for line in lines if 'train/loss' in line}
    evaluations = {line['step']: line for line in lines if 'eval/raw/loss' in line}
    assert sorted(losses) == [3, 6, 8]  # every third step and the last
    assert sorted(evaluations) == [5, 8]  # every other epoch of 2.5 steps and the last
    assert evaluations[8]['eval/averaged/top1'] == metrics['averaged']['top1']
    # One epoch of warm-up, 2.5 steps.
    assert losses[3]['train/learning_rate'] == pytest.approx(0.01)
    assert all(0.2 < line['train/loss'] < 5 for line in losses.values())


def test_the_last_checkpoints_are_kept(undisturbed):
    assert checkpoints(undisturbed[0]) == [f'step_0000000{n}' for n in (4, 6, 8)]


def test_the_config_is_written_beside_them(undisturbed, tiny_config):
    saved = json.loads((undisturbed[0] / 'config.json').read_text())
    assert saved['config'] == json.loads(tiny_config().to_json())
    assert saved['spec']['name'] == 'tiny'
    assert saved['labels'] == ['blue', 'green', 'red']


def test_the_run_can_be_loaded(undisturbed, tiny_config):
    run, model, state = load_trained(str(undisturbed[0]))
    assert state['step'] == STEPS
    assert run.config.train.batch_size == tiny_config().train.batch_size
    assert model(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 3)


@pytest.fixture(scope='module')
def again(undisturbed, tiny_config, tmp_path_factory):
    """The folder and the metrics of the finished run, started again with its results."""
    workdir = tmp_path_factory.mktemp('again') / 'run'
    shutil.copytree(undisturbed[0], workdir)
    return workdir, loop.run(tiny_config(), str(workdir))


def test_a_finished_run_started_again_returns_its_metrics(undisturbed, again, expected):
    for weights in ('raw', 'averaged'):
        assert again[1][weights] == pytest.approx(undisturbed[1][weights])
    assert_same_variables(again[0], expected)
    assert logged(again[0]) == logged(undisturbed[0])


def test_the_speed_of_a_finished_run_is_not_forgotten(undisturbed, again):
    before = json.loads((undisturbed[0] / 'results.json').read_text())
    assert json.loads((again[0] / 'results.json').read_text()).keys() == before.keys()


def test_a_run_killed_before_its_results_writes_them_when_started_again(
    undisturbed, workdir, tiny_config
):
    (workdir / 'results.json').unlink()
    loop.run(tiny_config(), str(workdir))
    results = json.loads((workdir / 'results.json').read_text())
    assert results['step'] == STEPS
    assert results['averaged'] == pytest.approx(undisturbed[1]['averaged'])


# -------------------------------------------------------------------------------- resuming


def test_a_run_stopped_by_a_signal_ends_as_if_undisturbed(
    tiny_config, undisturbed, expected, monkeypatch, tmp_path, capsys
):
    with monkeypatch.context() as patch:
        at_step(patch, 3, send(signal.SIGTERM))
        assert loop.run(tiny_config(), str(tmp_path)) is None
    assert f'stopped at step 3 of {STEPS}, saved; the same command continues' in (
        capsys.readouterr().out
    )
    assert checkpoints(tmp_path) == ['step_00000002', 'step_00000003']
    assert not (tmp_path / 'results.json').exists()
    assert loop.run(tiny_config(), str(tmp_path)) is not None
    assert f'continuing {tmp_path} at step 3 of {STEPS}' in capsys.readouterr().out
    assert_same_variables(tmp_path, expected)
    assert logged(tmp_path) == logged(undisturbed[0])  # mean losses, too


@pytest.mark.parametrize('evaluation', [1, 2, 3, 4])  # raw and averaged weights, at steps 5 and 8
def test_a_signal_ends_an_evaluation_which_is_made_up_for(
    tiny_config, undisturbed, expected, monkeypatch, tmp_path, capsys, evaluation
):
    calls = []
    make_step = Evaluator._make_step

    def signalled(evaluator, model):
        step = make_step(evaluator, model)

        def call(batch):
            calls.append(model.name)
            if len(calls) == 2 * evaluation - 1:  # the first of two batches
                send(signal.SIGTERM)()
            return step(batch)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, '_make_step', signalled)
        assert loop.run(tiny_config(), str(tmp_path)) is None
    assert len(calls) == 2 * evaluation - 1  # the second batch was not waited for
    step = 5 if evaluation < 3 else 8
    assert f'stopped at step {step} of {STEPS}, saved; the' in capsys.readouterr().out
    assert checkpoints(tmp_path)[-1] == f'step_0000000{step}'
    metrics = loop.run(tiny_config(), str(tmp_path))
    assert metrics == undisturbed[1]
    assert_same_variables(tmp_path, expected)
    assert logged(tmp_path) == logged(undisturbed[0])
    loop.run(tiny_config(), str(tmp_path))
    assert logged(tmp_path) == logged(undisturbed[0])


def test_a_signal_before_the_first_step_ends_at_once(tiny_config, monkeypatch, tmp_path, capsys):
    def signalled(trainer, iterator, count):
        send(signal.SIGTERM)()
        raise AssertionError('the first step was waited for')

    monkeypatch.setattr(Trainer, 'train', signalled)
    assert loop.run(tiny_config(), str(tmp_path)) is None
    assert f'stopped at step 0 of {STEPS}, nothing to save; the' in capsys.readouterr().out
    assert not (tmp_path / 'checkpoints').exists()


def test_the_handlers_of_signals_are_given_back():
    # Compared with what was there, not with a default: a shell starts background jobs otherwise.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with StopSignal():
        assert all(
            signal.getsignal(number) != handler
            for number, handler in zip(numbers, before, strict=True)
        )
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_killed_run_continues_from_its_checkpoint(undisturbed, workdir, expected, tiny_config):
    # Killed after step 7 was logged and while step 8 was being saved.
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000006')
    os.rename(
        workdir / 'checkpoints' / 'step_00000008', workdir / 'checkpoints' / 'step_00000008.tmp-1'
    )
    (workdir / 'results.json').unlink()
    with open(workdir / 'metrics.jsonl', 'a', encoding='utf-8') as file:
        file.write('{"step": 9, "train/lo')
    assert loop.run(tiny_config(), str(workdir)) is not None
    assert_same_variables(workdir, expected)
    assert logged(workdir) == logged(undisturbed[0])


def test_a_damaged_checkpoint_costs_its_steps_only(workdir, expected, tiny_config, capfd):
    index = workdir / 'checkpoints' / 'step_00000008' / 'variables.index'
    index.write_bytes(index.read_bytes()[:-1])
    loop.run(tiny_config(), str(workdir))
    output = capfd.readouterr()
    assert 'step_00000008 is damaged (variables.index is trunc' in output.err
    assert f'continuing {workdir} at step 6' in output.out
    assert_same_variables(workdir, expected)


def test_a_run_may_be_saved_and_logged_more_often_when_continued(workdir, expected, tiny_config):
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000008')
    config = tiny_config()
    config.checkpoint.every_epochs = 0.4
    config.checkpoint.keep = 1
    config.log_every_steps = 1
    loop.run(config, str(workdir))
    assert checkpoints(workdir) == ['step_00000008']
    assert_same_variables(workdir, expected)


def test_another_seed_is_another_run(undisturbed, expected, tiny_config, tmp_path):
    config = tiny_config()
    config.seed = 1
    loop.run(config, str(tmp_path))
    ours = variables(tmp_path)
    kernel = next(
        name for name in expected if name.startswith('model/') and expected[name].ndim == 4
    )
    assert (ours[kernel] != expected[kernel]).any()


def test_a_run_works_outside_the_main_thread(workdir, tiny_config):
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000008')
    found = []
    thread = threading.Thread(target=lambda: found.append(loop.run(tiny_config(), str(workdir))))
    thread.start()
    thread.join()
    assert found[0] is not None


def twice(number):
    return lambda: (send(number)(), send(number)())


def test_a_second_signal_interrupts(workdir, tiny_config, monkeypatch):
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000008')
    at_step(monkeypatch, 8, twice(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        loop.run(tiny_config(), str(workdir))
    assert checkpoints(workdir)[-1] == 'step_00000006'


def test_a_second_sigterm_does_not_lose_the_save(workdir, tiny_config, monkeypatch):
    """Launchers send it to the process and to its group."""
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000008')
    at_step(monkeypatch, 8, twice(signal.SIGTERM))
    assert loop.run(tiny_config(), str(workdir)) is None
    assert checkpoints(workdir)[-1] == 'step_00000008'


# ------------------------------------------------------------------------------ full disks


def test_a_full_disk_stops_and_leaves_the_checkpoints(workdir, tiny_config, monkeypatch):
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000008')

    def full(*unused, **options):
        raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    monkeypatch.setattr(tf.train.Checkpoint, 'write', full)
    with pytest.raises(OSError, match=r'cannot save step 8 to .*No space left on device'):
        loop.run(tiny_config(), str(workdir))
    assert checkpoints(workdir) == ['step_00000004', 'step_00000006']


# ------------------------------------------------------------------------------- bad starts


def test_a_run_of_before_quantization_is_continued(workdir, expected, tiny_config):
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000008')

    def make_older(state):
        del state['config']['distill'], state['config']['quantize']
        del state['config']['data']['background']

    rewrite_states(workdir, make_older)
    assert loop.run(tiny_config(), str(workdir)) is not None
    assert_same_variables(workdir, expected)


def test_another_task_on_the_same_run_is_trained_by_the_same_loop(tiny_config, tmp_path):
    tasks = []

    def make_task(run):
        task = run.make_task()
        # In the strategy's scope, and once.
        tasks.append((task, tf.distribute.has_strategy()))
        return task

    config = tiny_config()
    source = open_source(config.data)
    run = Run(config, resolve_spec(config), source.labels)
    config.train.epochs = 0.8
    strategy = tf.distribute.OneDeviceStrategy('/cpu:0')
    trainer, metrics = loop.train(run, source, str(tmp_path), strategy, make_task=make_task)
    assert tasks == [(trainer.task, True)]
    assert metrics.keys() == {'raw', 'averaged'}
    saved = variables(tmp_path)
    for weight, name in ((trainer.model, 'model'), (trainer.averaged, 'averaged')):
        names = [n for n in saved if n.startswith(f'{name}/') and 'OPTIMIZER_SLOT' not in n]
        kernels = [saved[n] for n in names if saved[n].ndim == 4]
        ours = [w.numpy() for w in weight.weights if w.shape.rank == 4]
        assert sorted(k.sum() for k in kernels) == sorted(k.sum() for k in ours)


@pytest.mark.parametrize(
    ('field', 'value', 'difference'),
    [
        ('model.multiplier', 2.0, 'config.model.multiplier: 1.0 there, 2.0 here'),
        ('train.batch_size', 5, 'config.train.batch_size: 4 there, 5 here'),
        ('seed', 7, 'config.seed: 0 there, 7 here'),
        ('data.background', True, 'config.data.background: False there, True here'),
        ('quantize.source', 'x', "config.quantize.source: '' there, 'x' here"),
    ],
)
def test_a_folder_of_another_run_is_refused(undisturbed, tiny_config, field, value, difference):
    config = tiny_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match='holds another run; use another --workdir') as raised:
        loop.run(config, str(undisturbed[0]))
    assert difference in str(raised.value)


def test_a_folder_of_another_programs_checkpoint_is_refused(tiny_config, tmp_path):
    objects = tf.train.Checkpoint(value=tf.Variable(1.0))
    checkpoint.save(str(tmp_path / 'checkpoints'), objects, {'step': 1}, keep=1)
    with pytest.raises(ValueError, match='is no checkpoint of a run; use another --workdir'):
        loop.run(tiny_config(), str(tmp_path))


def test_a_folder_of_damaged_checkpoints_is_refused(workdir, tiny_config):
    for path in (workdir / 'checkpoints').iterdir():
        (path / 'state.json').write_text('')
    with pytest.raises(ValueError, match=r'all 3 checkpoints in .* are damaged'):
        loop.run(tiny_config(), str(workdir))
