import functools
import json

import pytest

from mobilenet_v3.tables import SPECS
from search.trials.processes import Processes
from search.trials.testing import DIVERGED, by_width, dies_always, dies_once, is_refused
from search.trials.trial import OneByOne, Outcome, Outcomes, Trial, run_trials

SMALL, LARGE = SPECS['small'], SPECS['large']
TRIALS = [Trial('one', SMALL), Trial('killed', LARGE), Trial(DIVERGED, SMALL, parent='one')]
EXPECTED = [by_width(trial) for trial in TRIALS]


@pytest.fixture
def outcomes(tmp_path):
    return Outcomes(tmp_path / 'trials')


def test_outcomes_come_in_the_order_of_the_trials(outcomes):
    said = []
    found = run_trials(
        by_width, TRIALS, OneByOne(), outcomes, lambda trial, _: said.append(trial.name)
    )
    assert found == EXPECTED
    assert found[2].accuracy is None
    assert said == [trial.name for trial in TRIALS]


def test_what_was_trained_before_is_not_trained_again(outcomes):
    run_trials(by_width, TRIALS[:2], OneByOne(), outcomes)
    trained = []

    def train(trial):
        trained.append(trial.name)
        return by_width(trial)

    again = Outcomes(outcomes.folder)
    assert run_trials(train, TRIALS, OneByOne(), again) == EXPECTED
    assert trained == [DIVERGED]


def test_an_outcome_of_another_network_is_refused(outcomes):
    outcomes.put(TRIALS[0], Outcome(0.5))
    for other in (Trial('one', LARGE), Trial('one', SMALL, parent='two')):
        with pytest.raises(ValueError, match='is of another network than the trial one'):
            outcomes.of(other)


@pytest.mark.parametrize(
    'content',
    ['{"accuracy": 0.', '[]', '{"accuracy": 0.5}', '{"accuracy": "0.5", "seconds": 1}'],
)
def test_a_damaged_outcome_is_named(outcomes, content):
    outcomes.put(TRIALS[0], Outcome(0.5))
    (outcomes.folder / 'one' / 'outcome.json').write_text(content)
    with pytest.raises(ValueError, match=r'one/outcome.json holds no outcome .*remove it'):
        outcomes.of(TRIALS[0])


def test_an_outcome_tells_its_network(outcomes):
    outcomes.put(TRIALS[0], Outcome(0.5, 2.0))
    values = json.loads((outcomes.folder / 'one' / 'outcome.json').read_text())
    assert values['accuracy'] == 0.5
    assert values['spec']['blocks'][0]['kernel'] == 3


def test_a_name_that_leaves_the_folder_is_refused():
    with pytest.raises(ValueError, match=r"called '../one'; expected letters"):
        Trial('../one', SMALL)


def test_a_trial_whose_process_is_killed_is_tried_again(outcomes, tmp_path):
    train = functools.partial(dies_once, str(tmp_path))
    found = run_trials(train, TRIALS, Processes(2), outcomes)
    assert (tmp_path / 'killed_was_killed').exists()
    assert found == EXPECTED


def test_what_no_attempt_can_train_ends_the_search_and_keeps_the_rest(outcomes):
    with pytest.raises(
        ValueError, match=r'3 attempts to train failed: one: its process was killed'
    ):
        run_trials(dies_always, TRIALS[:1], Processes(1), outcomes)
    with pytest.raises(ValueError, match=r'one: config.train.batch_size is -1; expected above 0'):
        run_trials(is_refused, TRIALS[:1], Processes(1), outcomes)
    with pytest.raises(ValueError, match='--processes is 0; expected at least 1'):
        Processes(0)
