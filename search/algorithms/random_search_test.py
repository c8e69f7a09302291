from search.algorithms.random_search import RandomSearch


def test_no_architecture_is_drawn_twice_until_all_were():
    search = RandomSearch((2, 3), 0)
    drawn = [*search.propose(4), *search.propose(2)]
    assert len(set(drawn)) == 6
    assert set(search.propose(6)) == set(drawn)


def test_the_same_seed_draws_the_same():
    options = (3,) * 10
    assert RandomSearch(options, 1).propose(5) == RandomSearch(options, 1).propose(5)
    assert RandomSearch(options, 1).propose(5) != RandomSearch(options, 2).propose(5)
