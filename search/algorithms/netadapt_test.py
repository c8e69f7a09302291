import dataclasses
import itertools

import pytest

from mobilenet_v3.tables import SPECS
from search.algorithms.netadapt import Point, Settings, netadapt
from search.latency.model import MAdds
from search.trials.trial import OneByOne, Outcome, Outcomes, Trial, run_trials
from search.widths import widths

LATENCY = MAdds(64, 10)
SMALL = SPECS['small']
SEED = Point('seed', '', SMALL, LATENCY.predict(SMALL), 0.9)
# Channels of these may be taken away for nothing; any other costs accuracy.
FREE = ('expansion_5', 'expansion_10', 'bottleneck_9-11')


def settings(target=0.8, **options):
    return Settings(**{'target': target * SEED.latency, 'delta': 0.05, 'lowest': 0.25, **options})


def accuracy_of(spec):
    seed = {width.name: width.channels for width in widths(SMALL)}
    lost = sum(
        (seed[width.name] - width.channels) / seed[width.name]
        for width in widths(spec)
        if width.name not in FREE
    )
    return 0.9 - 0.1 * lost


def train(trials):
    return [Outcome(accuracy_of(trial.spec)) for trial in trials]


def test_it_ends_at_the_target_by_steps_of_at_least_delta():
    steps = netadapt(SEED, LATENCY, train, settings())
    path = [SEED, *(step.chosen for step in steps)]
    assert path[-1].latency <= 0.8 * SEED.latency < path[-2].latency
    for before, step in zip(path, steps, strict=False):
        cut = min(0.05 * SEED.latency, before.latency - 0.8 * SEED.latency)
        assert all(p.latency <= before.latency - cut + 1e-9 for p in step.proposals)
        assert step.chosen in step.proposals


def test_the_choice_has_the_best_slope():
    steps = netadapt(SEED, LATENCY, train, settings())
    before = SEED
    for step in steps:
        slopes = [
            (point.accuracy - before.accuracy) / (before.latency - point.latency)
            for point in step.proposals
        ]
        assert step.chosen.slope(before) == max(slopes)
        assert step.chosen.change.split(':')[0] in FREE  # while there is enough to take
        before = step.chosen


def test_of_equal_accuracies_below_the_last_the_faster_one_is_chosen():
    slow = dataclasses.replace(SEED, latency=0.9 * SEED.latency, accuracy=0.8)
    fast = dataclasses.replace(SEED, latency=0.8 * SEED.latency, accuracy=0.8)
    assert fast.slope(SEED) > slow.slope(SEED)
    assert dataclasses.replace(fast, accuracy=None).slope(SEED) == float('-inf')


def test_weights_come_from_the_step_before():
    parents = []

    def note(trials):
        parents.append({trial.parent for trial in trials})
        return train(trials)

    steps = netadapt(SEED, LATENCY, note, settings())
    assert parents == [{'seed'}, *({step.chosen.name} for step in steps[:-1])]


def test_a_killed_search_goes_on_without_training_again(tmp_path):
    class KilledError(Exception):
        pass

    trained = []

    def one(trial):
        if len(trained) == 20:
            raise KilledError
        trained.append(trial.name)
        return Outcome(accuracy_of(trial.spec))

    def run(trials):
        return run_trials(one, trials, OneByOne(), Outcomes(tmp_path))

    with pytest.raises(KilledError):
        netadapt(SEED, LATENCY, run, settings())
    done, trained = trained, []
    steps = netadapt(SEED, LATENCY, run, settings())
    assert not set(done) & set(trained)
    assert steps == netadapt(SEED, LATENCY, train, settings())
    assert len(done) + len(trained) == sum(len(step.proposals) for step in steps)


def test_a_proposal_that_diverges_is_not_chosen():
    best = netadapt(SEED, LATENCY, train, settings())[0].chosen.name

    def diverging(trials):
        return [
            Outcome(None if trial.name == best else accuracy_of(trial.spec)) for trial in trials
        ]

    steps = netadapt(SEED, LATENCY, diverging, settings())
    assert steps[0].chosen.name != best
    assert best in {point.name for point in steps[0].proposals}


def test_it_tells_that_everything_diverges():
    with pytest.raises(ValueError, match=r'all \d+ proposals of step 1 diverged; lower'):
        netadapt(SEED, LATENCY, lambda trials: [Outcome(None) for _ in trials], settings())


def test_a_target_that_cannot_be_reached_is_refused_before_anything_is_trained():
    def never(trials):
        raise AssertionError

    with pytest.raises(ValueError, match=r'below the .* of the narrowest network that proposals'):
        netadapt(SEED, LATENCY, never, settings(0.05))
    with pytest.raises(ValueError, match=r'expected less than the [\d.]+ of small, such as'):
        netadapt(SEED, LATENCY, never, settings(1.2))


@pytest.mark.parametrize(('target', 'delta'), [(0.3, 0.6), (0.35, 0.05), (0.5, 0.1)])
def test_where_no_width_gives_delta_by_itself_smaller_steps_reach_the_target(target, delta):
    steps = netadapt(SEED, LATENCY, train, settings(target, delta=delta, lowest=0.25))
    path = [SEED, *(step.chosen for step in steps)]
    assert path[-1].latency <= target * SEED.latency
    gains = [before.latency - after.latency for before, after in itertools.pairwise(path)]
    assert min(gains[:-1]) < delta * SEED.latency
    assert all(gain >= step.cut - 1e-9 for gain, step in zip(gains, steps, strict=True))


class OnlyTogether:
    """Is faster only where all widths are narrower: no step by itself gives anything."""

    unit = 'ms'

    def predict(self, spec):
        now = {width.name: width.channels for width in widths(spec)}
        return 1.0 if all(now[w.name] < w.channels for w in widths(SMALL)) else 2.0


def test_it_tells_that_no_step_makes_the_network_faster():
    seed = dataclasses.replace(SEED, latency=2.0)
    with pytest.raises(
        ValueError, match=r'step 1 makes the network faster by 0.006\d* ms: it takes 2'
    ):
        netadapt(seed, OnlyTogether(), train, Settings(1.5, 0.05, 0.25))


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'delta': 0.0}, r'search.netadapt.delta is 0.0; expected in \(0, 1\)'),
        ({'lowest': 1.0}, r'search.netadapt.lowest is 1.0; expected in \[0, 1\)'),
        ({'target': 0.0}, r'the target is 0.0; expected above 0'),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        settings(**values)


def test_every_step_is_told():
    told = []
    steps = netadapt(SEED, LATENCY, train, settings(), lambda steps: told.append(len(steps)))
    assert told == list(range(1, len(steps) + 1))
    assert Trial(steps[0].chosen.name, SMALL)
