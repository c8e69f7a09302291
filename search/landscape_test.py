import pytest

from search import settings
from search.algorithms.evolution import Evolution
from search.algorithms.evolution import Settings as EvolutionSettings
from search.algorithms.nas import Controller
from search.algorithms.nas import Settings as ControllerSettings
from search.algorithms.random_search import RandomSearch
from search.landscape import synthetic, wins

OPTIONS = (2,) * 10
BUDGET = 51  # 5 % of 1,024
DECLARED = settings.get_config()


def make_controller(seed):
    return Controller(OPTIONS, ControllerSettings(**DECLARED.nas), seed)


@pytest.fixture(scope='module')
def landscape():
    return synthetic(OPTIONS, seed=0)


def test_one_architecture_is_the_best(landscape):
    rewards = sorted(landscape.rewards.values())
    assert len(rewards) == 1024
    assert (rewards[0], rewards[-1]) == (0, 1)
    assert rewards[-2] < 1


def test_the_same_seed_gives_the_same_landscape():
    assert synthetic((2, 3), 1) == synthetic((2, 3), 1) != synthetic((2, 3), 2)


def test_a_search_of_everything_finds_the_optimum(landscape):
    assert landscape.best_found(RandomSearch(OPTIONS, 0), budget=1024, batch=64) == 1


def test_the_controller_is_at_least_as_good_as_random_search_in_8_of_10_seeds(landscape):
    won = wins(
        landscape,
        make_controller,
        lambda seed: RandomSearch(OPTIONS, seed),
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
