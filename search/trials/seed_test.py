import numpy as np
import pytest
import tensorflow as tf

from search.trials.seed import NAME, seed_outcome
from search.trials.training import make_trainer, read_arrays, read_state
from search.trials.trial import Outcomes
from train import checkpoint, loop
from train.best import folder as best_folder
from train.data.source import open_source
from train.prepare import prepare
from train.run import checkpoint_folder


@pytest.fixture(scope='module')
def stopped_early(tiny_config, tmp_path_factory):
    """The folder of a run that ended with an evaluation before its last, and its config."""
    config = tiny_config()
    config.eval.patience, config.eval.every_epochs = 1, 0.4
    config.schedule.learning_rate = 1e-12  # no evaluation is better than the first one
    workdir = str(tmp_path_factory.mktemp('run'))
    loop.run(config, workdir)
    return workdir, config


def arrays_of(config, folder):
    """What a checkpoint of a run holds, as `read_arrays` gives it."""
    run, source = prepare(config, None).run, open_source(config.data)
    trainer = make_trainer(run, source, 1)
    variables = tf.train.Checkpoint(
        model=trainer.model, averaged=trainer.averaged, optimizer=trainer.optimizer
    )
    checkpoint.read(checkpoint.latest(folder), variables).expect_partial()
    return read_arrays(trainer)


def read_seed(config, workdir, tmp_path):
    run, source = prepare(config, None).run, open_source(config.data)
    outcomes = Outcomes(tmp_path / 'trials')
    outcome = seed_outcome(run, source, outcomes, workdir)
    assert 0 <= outcome.accuracy <= 1
    assert seed_outcome(run, source, outcomes, 'is not read again') == outcome
    return read_state(outcomes.folder_of(NAME))[0]


def assert_equal(arrays, expected, roles):
    chosen = {key for key in arrays if key.split('/')[0] in roles}
    assert chosen
    for key in chosen:
        np.testing.assert_array_equal(arrays[key], expected[key], err_msg=key)


def test_a_run_is_taken_over_with_what_its_optimiser_gathered(tiny_config, tiny_run, tmp_path):
    arrays = read_seed(tiny_config(), tiny_run, tmp_path)
    expected = arrays_of(tiny_config(), checkpoint_folder(tiny_run))
    assert arrays.keys() == expected.keys()
    assert_equal(arrays, expected, {'model', 'averaged', 'mean_square', 'momentum'})


def test_a_run_with_early_stopping_gives_its_best_averages(stopped_early, tmp_path):
    workdir, config = stopped_early
    arrays = read_seed(config, workdir, tmp_path)
    last = arrays_of(config, checkpoint_folder(workdir))
    best = arrays_of(config, best_folder(workdir))
    assert_equal(arrays, last, {'model', 'mean_square', 'momentum'})
    assert_equal(arrays, best, {'averaged'})
    # Statistics of BN go on without a rate, so that the two differ.
    assert any(np.any(last[key] != best[key]) for key in last if key.startswith('averaged'))


def test_a_run_of_another_optimiser_is_refused(tiny_config, tiny_run, tmp_path):
    config = tiny_config()
    config.optimizer.kind = 'momentum'
    with pytest.raises(
        ValueError, match=r'was trained with rmsprop, .* expected momentum, or --con'
    ):
        read_seed(config, tiny_run, tmp_path)


def test_a_run_of_another_network_is_refused(tiny_config, tiny_run, tmp_path):
    config = tiny_config()
    config.model.multiplier = 0.5
    with pytest.raises(ValueError, match=r'expected tiny \(blocks, last differ\) for the 3 of'):
        read_seed(config, tiny_run, tmp_path)
