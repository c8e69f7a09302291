import pytest

from mobilenet_v3.tables import SPECS
from search import settings
from search.algorithms import nas
from search.algorithms.nas import Controller
from search.algorithms.random_search import RandomSearch
from search.latency.model import MAdds
from search.sampling import Judge, Judgement, best, child_of, reward, sample
from search.space import Space
from search.trials.trial import Outcome

SETTINGS = nas.Settings(**settings.get_config().nas)


def judge(architectures):
    return [Judgement(0.5, 1.0, sum(a) / 10) for a in architectures]


def test_the_reward_is_the_papers():
    assert reward(0.7, 80, 80, -0.07) == 0.7
    # MnasNet, §3: twice the latency for 5 % of accuracy.
    assert reward(0.7 * 1.05, 160, 80, -0.07) == pytest.approx(0.7, rel=1e-3)
    assert reward(0.7, 160, 80, -0.15) < reward(0.7, 160, 80, -0.07)


def test_a_child_that_diverged_has_no_reward():
    assert reward(None, 10, 80, -0.07) == 0


def test_the_budget_is_spent_and_no_more():
    told = []
    samples = sample(
        RandomSearch((3, 4), 0), judge, budget=11, batch=4, on_batch=lambda s: told.append(len(s))
    )
    assert len(samples) == 11
    assert told == [4, 8, 11]
    assert best(samples).judgement.reward == max(sum(s.architecture) for s in samples) / 10


def test_with_a_larger_budget_the_samples_begin_as_with_a_smaller_one():
    for make in (RandomSearch, lambda options, seed: Controller(options, SETTINGS, seed)):
        few, many = (sample(make((3, 4), 0), judge, budget=n, batch=4) for n in (6, 9))
        assert many[:6] == few


def test_equal_networks_are_trained_once():
    space, trained = Space(SPECS['small']), []

    def train(trials):
        trained.extend(trial.name for trial in trials)
        return [Outcome(len(trial.spec.blocks) / 100) for trial in trials]

    latency = MAdds(64, 10)
    target = latency.predict(SPECS['small'])
    judge = Judge(space, latency, train, target, -0.15)
    zero = (0,) * len(space.options)
    # Without a second block there is nothing to skip: another architecture, the same latency.
    one = tuple(int(d.name == 'stage_2/layers') for d in space.decisions)
    first = judge([zero, one, zero])
    assert first[0] == first[2]
    assert judge([one])[0] == first[1]
    assert len(trained) == len(set(trained)) == 2
    spec = space.spec(one)
    assert first[1].latency == latency.predict(spec)
    expected = reward(len(spec.blocks) / 100, latency.predict(spec), target, -0.15)
    assert first[1].reward == expected


def test_a_child_that_diverged_is_judged():
    space = Space(SPECS['small'])
    judge = Judge(space, MAdds(64, 10), lambda trials: [Outcome(None)] * len(trials), 1.0, -0.07)
    (found,) = judge([(0,) * len(space.options)])
    assert (found.accuracy, found.reward) == (None, 0)


def test_children_are_named_by_what_they_are():
    space = Space(SPECS['small'])
    zero = space.spec((0,) * len(space.options))
    other = space.spec((1, *(0,) * (len(space.options) - 1)))
    assert child_of(zero) == child_of(zero)
    assert child_of(zero).name != child_of(other).name
