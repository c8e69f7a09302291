import functools
import importlib.util
import sys

import pytest

from mobilenet_v3.tables import SPECS
from search.trials.ray_runner import OnRay
from search.trials.testing import by_width, dies_always, dies_once, is_refused
from search.trials.trial import Outcomes, Trial, run_trials

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec('ray') is None, reason='needs Ray: the extra [ray]'
)
TRIALS = [Trial(name, SPECS['small']) for name in ('one', 'killed', 'two', 'three')]


@pytest.fixture(scope='module')
def on_ray():
    runner = OnRay(2)
    yield runner
    runner.close()


@needs_ray
@pytest.mark.slow
def test_a_trial_whose_worker_is_killed_is_tried_again(on_ray, tmp_path):
    train = functools.partial(dies_once, str(tmp_path))
    outcomes = Outcomes(tmp_path / 'trials')
    found = run_trials(train, TRIALS, on_ray, outcomes)
    assert (tmp_path / 'killed_was_killed').exists()
    assert found == [by_width(trial) for trial in TRIALS]
    assert all(outcomes.of(trial) for trial in TRIALS)


@needs_ray
@pytest.mark.slow
def test_what_no_attempt_can_train_ends_the_search(on_ray, tmp_path):
    outcomes = Outcomes(tmp_path / 'trials')
    with pytest.raises(ValueError, match='3 attempts to train failed: one: '):
        run_trials(dies_always, TRIALS[:1], on_ray, outcomes)
    with pytest.raises(ValueError, match=r'1 attempts to train failed: one: .*batch_size is -1'):
        run_trials(is_refused, TRIALS[:1], on_ray, outcomes)


def test_without_ray_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ValueError, match=r'needs Ray, which is not installed; pip install'):
        OnRay(2)
