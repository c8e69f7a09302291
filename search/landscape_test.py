from pathlib import Path

import pytest

from search import settings
from search.algorithms.evolution import Evolution
from search.algorithms.evolution import Settings as EvolutionSettings
from search.algorithms.nas import Controller
from search.algorithms.nas import Settings as ControllerSettings
from search.algorithms.random_search import RandomSearch
from search.landscape import synthetic, wins
from search.proxy_benchmark import proxy_space, read_proxies

OPTIONS = (2,) * 10
BUDGET = 51  # 5 % of 1,024
DECLARED = settings.get_config()
PROXIES = Path(__file__).with_name('proxy_cifar10.csv')
WEIGHT = -0.15  # the paper's for small networks (§4.1)


@pytest.fixture(scope='module')
def landscape():
    return synthetic(OPTIONS, seed=0)


@pytest.fixture(scope='module')
def trained():
    return read_proxies(PROXIES, proxy_space().options, WEIGHT)


def test_one_architecture_is_the_best(landscape):
    rewards = sorted(landscape.rewards.values())
    assert len(rewards) == 1024
    assert (rewards[0], rewards[-1]) == (0, 1)
    assert rewards[-2] < 1


def test_the_same_seed_gives_the_same_landscape():
    assert synthetic((2, 3), 1) == synthetic((2, 3), 1) != synthetic((2, 3), 2)


def test_a_search_of_everything_finds_the_optimum(landscape):
    assert landscape.best_found(RandomSearch(OPTIONS, 0), budget=1024, batch=64) == 1


@pytest.mark.parametrize('kind', ['landscape', 'trained'])
def test_the_controller_is_at_least_as_good_as_random_search_in_8_of_10_seeds(kind, request):
    landscape = request.getfixturevalue(kind)
    won = wins(
        landscape,
        lambda seed: Controller(landscape.options, ControllerSettings(**DECLARED.nas), seed),
        lambda seed: RandomSearch(landscape.options, seed),
        seeds=range(10),
        budget=BUDGET,
        batch=DECLARED.sampling.batch,
    )
    assert won >= 8


def test_so_is_evolution(landscape):
    small = EvolutionSettings(population=15, tournament=8)
    won = wins(
        landscape,
        lambda seed: Evolution(OPTIONS, small, seed),
        lambda seed: RandomSearch(OPTIONS, seed),
        seeds=range(10),
        budget=BUDGET,
        batch=1,
    )
    assert won >= 8
