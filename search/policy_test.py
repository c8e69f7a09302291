import numpy as np
import pytest

from search.policy import Policy

OPTIONS = (3, 2, 4)
CHOICES = np.array([[0, 1, 3], [2, 0, 0], [1, 1, 2], [0, 1, 1]])


@pytest.fixture
def policy():
    policy = Policy(OPTIONS, 5, np.random.default_rng(0))
    for value in policy.params.values():  # far from equal probabilities
        value += np.random.default_rng(1).normal(0, 0.5, value.shape)
    return policy


def test_probabilities_sum_to_one_over_all_architectures(policy):
    every = np.array([(a, b, c) for a in range(3) for b in range(2) for c in range(4)])
    assert np.exp(policy.read(every).of(every).sum(axis=1)).sum() == pytest.approx(1)


def test_architectures_are_drawn_as_often_as_is_said(policy):
    drawn = policy.sample(20_000, np.random.default_rng(2))
    kinds, counts = np.unique(drawn, axis=0, return_counts=True)
    expected = np.exp(policy.read(kinds).of(kinds).sum(axis=1))
    np.testing.assert_allclose(counts / 20_000, expected, atol=0.01)


def test_what_was_decided_before_changes_what_comes(policy):
    reading = policy.read(np.array([[0, 0, 0], [2, 0, 0]]))
    assert reading.log_probs[0][0] == pytest.approx(reading.log_probs[0][1])
    assert np.abs(np.subtract(*reading.log_probs[1])).max() > 1e-3
    assert np.abs(np.subtract(*reading.log_probs[2])).max() > 1e-3


def test_at_the_start_all_options_are_nearly_as_likely():
    reading = Policy(OPTIONS, 32, np.random.default_rng(0)).read(CHOICES)
    for log_probs, count in zip(reading.log_probs, OPTIONS, strict=True):
        assert np.exp(log_probs) == pytest.approx(np.full_like(log_probs, 1 / count), abs=0.05)
    assert reading.entropies() == pytest.approx(np.log([OPTIONS] * 4), abs=0.01)


def test_gradients_are_those_of_finite_differences(policy):
    """Of a sum of log-probabilities with random weights, by every weight."""
    weights = np.random.default_rng(3).normal(size=CHOICES.shape)

    def value():
        return float((weights * policy.read(CHOICES).of(CHOICES)).sum())

    reading = policy.read(CHOICES)
    by_logits = []
    for t, log_probs in enumerate(reading.log_probs):
        one_hot = np.eye(OPTIONS[t])[CHOICES[:, t]]
        by_logits.append(weights[:, t, None] * (one_hot - np.exp(log_probs)))
    found = policy.gradients(reading, by_logits)
    assert found.keys() == policy.params.keys()
    for name, array in policy.params.items():
        numeric = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            kept, step = array[place], 1e-5
            array[place] = kept + step
            above = value()
            array[place] = kept - step
            numeric[place] = (above - value()) / (2 * step)
            array[place] = kept
        np.testing.assert_allclose(found[name], numeric, atol=1e-7, err_msg=name)
