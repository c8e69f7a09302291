"""Tests of detection_step.py."""

from benchmark.detection_step import Share, measure_share
from configs import detection


def test_both_steps_are_taken_and_compared():
    config = detection.get_config()
    config.model.name, config.model.resolution = 'small', (64, 64)
    config.train.batch_size = 2
    measured = measure_share(config, 3, 2, rounds=2, steps=1)
    assert measured.step_ms > 0
    assert measured.low <= measured.share <= measured.high < 1


def test_a_share_in_words():
    assert str(Share(800.0, 0.071, 0.05, 0.09)) == (
        'matching and loss: 7.1% of a step of 800 ms (rounds 5.0% to 9.0%)'
    )
