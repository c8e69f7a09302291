import dataclasses

import numpy as np
import pytest

from search import settings
from search.algorithms.nas import Controller, Settings

SETTINGS = Settings(**settings.get_config().nas)
OPTIONS = (3, 4, 2, 5)


def teach(controller, reward, lessons, batch=4):
    """Asks and tells; all samples in their order."""
    samples = []
    for _ in range(lessons):
        drawn = controller.propose(batch)
        samples += drawn
        controller.learn(drawn, [reward(each) for each in drawn])
    return samples


def first_is_two(architecture):
    return float(architecture[0] == 2)


def test_what_is_rewarded_is_drawn_more_often():
    options = (3,) * 8
    samples = teach(Controller(options, SETTINGS, 0), first_is_two, 30)
    shares = [np.mean([s[0] == 2 for s in part]) for part in (samples[:8], samples[-40:])]
    assert shares[0] < 0.7  # of equal options it would be a third
    assert shares[1] > 0.9


def test_decisions_that_matter_together_are_learnt():
    """Rewarded where the second decision is that of the first: no option is better by itself."""
    options = (3,) * 6
    samples = teach(Controller(options, SETTINGS, 1), lambda a: float(a[0] == a[1]), 60)
    assert np.mean([a[0] == a[1] for a in samples[-40:]]) > 0.7


def test_equal_rewards_teach_nothing():
    controller = Controller(OPTIONS, dataclasses.replace(SETTINGS, entropy=0.0), 0)
    before = {name: value.copy() for name, value in controller._policy.params.items()}
    teach(controller, lambda a: 0.5, 3)
    for name, value in controller._policy.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_entropy_keeps_options_open():
    def entropy_of(weight):
        chosen = dataclasses.replace(SETTINGS, entropy=weight)
        controller = Controller((3,) * 8, chosen, 0)
        choices = np.array(teach(controller, first_is_two, 30))
        return controller._policy.read(choices).entropies().mean()

    assert entropy_of(1.0) > entropy_of(0.0)


def test_a_lesson_ends_where_ratios_are_clipped():
    def moved_by(clip):
        eager = dataclasses.replace(SETTINGS, updates=200, entropy=0.0, clip=clip)
        controller = Controller(OPTIONS, eager, 0)
        drawn = controller.propose(4)
        before = controller._policy.read(np.array(drawn)).of(np.array(drawn))
        controller.learn(drawn, [1.0, 0.0, 0.0, 0.0])
        return (controller._policy.read(np.array(drawn)).of(np.array(drawn)) - before)[0].sum()

    assert 0 < moved_by(0.1) < moved_by(0.4) < moved_by(1e9)


def test_nothing_is_drawn_twice_while_there_is_anything_else():
    controller = Controller((3, 2), SETTINGS, 0)
    drawn = [*controller.propose(4), *controller.propose(2)]
    assert len(set(drawn)) == 6
    assert len(controller.propose(4)) == 4


def test_the_same_seed_and_rewards_draw_the_same():
    runs = [teach(Controller(OPTIONS, SETTINGS, seed), first_is_two, 5) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize('field', ['units', 'learning_rate', 'updates', 'clip', 'memory'])
def test_settings_out_of_range_are_refused(field):
    with pytest.raises(ValueError, match=rf'search.nas.{field} is 0; expected above 0'):
        dataclasses.replace(SETTINGS, **{field: 0})
