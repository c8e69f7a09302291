import dataclasses

import pytest

from mobilenet_v3.cost import count
from search.proxy_benchmark import NUM_CLASSES, RESOLUTION, proxy_space, read_proxies, write_proxies
from search.space import every_architecture
from search.trials.trial import Outcome


def test_the_space_has_1024_networks_and_none_twice():
    space = proxy_space()
    specs = [space.spec(each) for each in every_architecture(space.options)]
    assert len({dataclasses.replace(spec, name='') for spec in specs}) == space.size == 1024
    madds = [count(s, resolution=RESOLUTION, num_classes=NUM_CLASSES).madds for s in specs[::31]]
    assert max(madds) > 10 * min(madds)


def test_rewards_are_those_of_accuracies_and_costs(tmp_path):
    every = every_architecture((2, 2))
    outcomes = [Outcome(0.5), Outcome(0.6), Outcome(None), Outcome(0.7)]
    write_proxies(tmp_path / 'p.csv', every, outcomes, [1.0, 2.0, 3.0, 4.0])
    rewards = read_proxies(tmp_path / 'p.csv', (2, 2), -1.0).rewards
    # The target is 3.
    assert rewards == pytest.approx({(0, 0): 1.5, (0, 1): 0.9, (1, 0): 0.0, (1, 1): 0.525})


def test_files_that_are_no_landscape_are_named(tmp_path):
    path = tmp_path / 'p.csv'
    with pytest.raises(ValueError, match='holds no proxies'):
        read_proxies(path, (2,), -0.07)
    path.write_text('architecture,accuracy\n')
    with pytest.raises(ValueError, match='its columns are'):
        read_proxies(path, (2,), -0.07)
    write_proxies(path, [(0,)], [Outcome(0.5)], [1.0])
    with pytest.raises(ValueError, match=r'no line for 1 architectures, the first \(1,\)'):
        read_proxies(path, (2,), -0.07)
