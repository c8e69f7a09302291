import json

import pytest
import tensorflow as tf

from train.log import RunLog
from train.metrics_file import read_metrics


def make_log(folder, step=0, write=True):
    return RunLog(str(folder), step=step, total_steps=10, batch_size=4, write=write)


def log_lines(folder, steps, start=0):
    with make_log(folder, step=start) as log:
        for step in steps:
            log.scalars(step, {'train/loss': step / 2})


def test_scalars_come_back_as_they_were_written(tmp_path):
    log_lines(tmp_path, [1, 2])
    assert read_metrics(str(tmp_path)) == [
        {'step': 1, 'train/loss': 0.5},
        {'step': 2, 'train/loss': 1.0},
    ]


def test_a_run_without_metrics_has_none(tmp_path):
    assert read_metrics(str(tmp_path)) == []


def test_what_was_logged_beyond_the_restored_step_is_taken_back(tmp_path):
    log_lines(tmp_path, [2, 4, 6])
    log_lines(tmp_path, [5], start=4)
    assert [line['step'] for line in read_metrics(str(tmp_path))] == [2, 4, 5]


def test_a_run_that_starts_anew_takes_everything_back(tmp_path):
    log_lines(tmp_path, [2, 4])
    log_lines(tmp_path, [1])
    assert [line['step'] for line in read_metrics(str(tmp_path))] == [1]


@pytest.mark.parametrize('torn', ['{"step": 6, "tra', '{"step": 6, "train/loss": 1.5', '\x00\x00'])
def test_a_torn_line_is_left_out_and_written_over(tmp_path, torn):
    log_lines(tmp_path, [2, 4])
    with open(tmp_path / 'metrics.jsonl', 'a', encoding='utf-8') as file:
        file.write(torn)
    assert [line['step'] for line in read_metrics(str(tmp_path))] == [2, 4]
    log_lines(tmp_path, [6], start=4)
    assert [line['step'] for line in read_metrics(str(tmp_path))] == [2, 4, 6]
    for line in (tmp_path / 'metrics.jsonl').read_text().splitlines():
        json.loads(line)


def test_a_quiet_worker_writes_nothing(tmp_path, capfd):
    with make_log(tmp_path, write=False) as log:
        log.scalars(1, {'train/loss': 1.0})
        log.advance(1, 1.0)
        log.say('hello')
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ('', '')


def test_tensorboard_gets_the_same_scalars(tmp_path):
    log_lines(tmp_path, [1, 2])
    [events] = (tmp_path / 'tensorboard').glob('events*')
    found = [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    ]
    assert found == [(1, 'train/loss', 0.5), (2, 'train/loss', 1.0)]


def test_the_bar_counts_images_and_shows_the_loss(tmp_path, capfd):
    with make_log(tmp_path, step=5) as log:
        log.advance(5, 1.2345)
    bar = capfd.readouterr().err
    assert '40.0/40.0' in bar
    assert 'images/s' in bar
    assert 'loss=1.234' in bar or 'loss=1.235' in bar


def test_messages_go_to_standard_output(tmp_path, capfd):
    with make_log(tmp_path) as log:
        log.say('step 1/10')
    assert 'step 1/10' in capfd.readouterr().out


def test_an_error_leaves_the_bar_on_its_own_line(tmp_path, capfd):
    def fail():
        with make_log(tmp_path) as log:
            log.advance(1, 1.0)
            raise ValueError('stop')

    with pytest.raises(ValueError, match='stop'):
        fail()
    assert capfd.readouterr().err.endswith('\n')
