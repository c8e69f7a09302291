import numpy as np
import pytest

from search.channels.criteria import CRITERIA

NOTHING = np.zeros((4, 2, 1))
ANYTHING = np.random.default_rng(0).normal(size=(4, 6))


def test_the_l2_norm_is_of_what_makes_a_channel():
    made = np.array([[3.0, 4.0], [0.0, 1.0], [-6.0, 8.0], [0.0, 0.0]])
    assert CRITERIA['l2'](made, NOTHING) == pytest.approx([5, 1, 10, 0])


def test_filters_at_the_geometric_median_can_go_whatever_their_norm():
    made = np.array([[10.0, 10.0], [10.1, 10.0], [0.0, 0.1], [20.0, 20.0]])
    scores = CRITERIA['geometric_median'](made, NOTHING)
    assert list(np.argsort(scores)[:2]) == [0, 1]  # the norm alone would drop the third
    expected = sum(np.hypot(10 - x, 10 - y) for x, y in made)
    assert scores[0] == pytest.approx(expected)


def test_channels_that_are_read_with_small_weights_can_go():
    rng = np.random.default_rng(0)
    read = rng.normal(size=(4, 20, 9)) * np.array([1.0, 0.1, 1.2, 0.9])[:, None, None]
    assert np.argmin(CRITERIA['kse'](ANYTHING, read)) == 1


def test_of_channels_read_with_equal_weight_those_in_clusters_stay():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(20, 9))
    spread /= np.abs(spread).sum(axis=1, keepdims=True)
    # 17 of 20 kernels are near each other, so that three hold nearly all of the density's sum.
    clustered = np.concatenate([np.tile(spread[:1], (17, 1)), spread[1:4]])
    half = np.concatenate([np.tile(spread[:1] / 2, (17, 1)), spread[1:4] / 2])
    scores = CRITERIA['kse'](ANYTHING[:3], np.stack([spread, clustered, half]))
    assert scores[1] > scores[0] > scores[2] == 0


def test_kernels_that_are_all_alike_have_no_entropy():
    read = np.ones((3, 5, 1)) * np.array([1.0, 2.0, 3.0])[:, None, None]
    assert CRITERIA['kse'](ANYTHING[:3], read) == pytest.approx([0, np.sqrt(0.5), 1])


def test_one_kernel_a_channel_is_enough():
    scores = CRITERIA['kse'](ANYTHING[:2], np.array([[[1.0]], [[2.0]]]))
    assert scores == pytest.approx([0, 1])


@pytest.mark.parametrize('name', CRITERIA)
def test_every_criterion_gives_each_channel_a_finite_score(name):
    rng = np.random.default_rng(1)
    scores = CRITERIA[name](rng.normal(size=(16, 12)), rng.normal(size=(16, 7, 9)))
    assert scores.shape == (16,)
    assert np.all(np.isfinite(scores))
