import pytest

from search.algorithms.evolution import Evolution, Settings

OPTIONS = (3, 1, 3, 3, 3)


def grow(seed=0, steps=60):
    """Rewards the sum; returns all samples in their order."""
    evolution = Evolution(OPTIONS, Settings(population=10, tournament=5), seed)
    samples = []
    for _ in range(steps):
        (child,) = evolution.propose(1)
        samples.append(child)
        evolution.learn([child], [float(sum(child))])
    return samples


def test_children_differ_from_a_living_parent_in_one_decision():
    samples = grow()
    for number in range(10, 60):
        living = samples[number - 10 : number]
        changes = [sum(a != b for a, b in zip(samples[number], p, strict=True)) for p in living]
        assert 1 in changes


def test_it_finds_the_best_of_a_simple_landscape():
    assert max(grow(), key=sum) == (2, 0, 2, 2, 2)


def test_the_same_seed_evolves_the_same():
    assert grow(1) == grow(1) != grow(2)


def test_a_batch_larger_than_the_population_is_drawn():
    evolution = Evolution(OPTIONS, Settings(population=4, tournament=2), 0)
    assert len(evolution.propose(7)) == 7


def test_a_tournament_larger_than_the_population_is_refused():
    with pytest.raises(ValueError, match='tournament is 6; expected 1 to the population of 5'):
        Settings(population=5, tournament=6)
