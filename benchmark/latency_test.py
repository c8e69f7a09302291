import collections
import dataclasses
import itertools
import json

import numpy as np
import pytest

from benchmark import latency as lat
from benchmark.latency import Latency, Ratio, Turn


def latency(model, round_medians_ms, p95_ms=3.25):
    return Latency(
        model=model,
        sha256='0' * 64,
        size_bytes=1_500_000,
        threads=1,
        xnnpack=True,
        runs=10 * len(round_medians_ms),
        median_ms=2.0,
        p5_ms=1.5,
        p95_ms=p95_ms,
        min_ms=1.0,
        mean_ms=2.125,
        round_medians_ms=tuple(round_medians_ms),
    )


# Order


@pytest.mark.parametrize(('count', 'rounds'), [(1, 4), (2, 10), (3, 6), (176, 20)])
def test_every_file_stands_as_early_as_late(count, rounds):
    orders = [lat.turn_order(round_index, count) for round_index in range(rounds)]
    places = np.argsort(orders, axis=1)  # [rounds, count]
    np.testing.assert_array_equal(places.mean(axis=0), (count - 1) / 2)


def test_no_file_keeps_its_place_or_its_predecessor():
    orders = [lat.turn_order(round_index, 176) for round_index in range(20)]
    followed = collections.Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert max(followed.values()) <= 3
    assert np.argsort(orders, axis=1).std(axis=0).min() > 20


def test_an_order_is_the_same_when_a_measurement_goes_on():
    assert lat.turn_order(7, 20) == lat.turn_order(7, 20)
    assert lat.turn_order(7, 20) == lat.turn_order(6, 20)[::-1]


# Statistics


def test_a_turn_of_hand_computed_runs():
    turn = lat.turn_of(np.arange(1.0, 22.0)[::-1])  # 21..1: percentile p is 1 + p / 5
    assert (turn.runs, turn.mean_ms, turn.min_ms, turn.max_ms) == (21, 11.0, 1.0, 21.0)
    assert (turn.p5_ms, turn.median_ms, turn.p95_ms, turn.typical_ms) == (2.0, 11.0, 20.0, 11.0)
    assert turn.std_ms == pytest.approx(np.sqrt((21**2 - 1) / 12))


def summary(*turns):
    return lat.summarize(
        turns, model='a.tflite', sha256='ab', size_bytes=9, threads=2, xnnpack=False
    )


def test_summary_of_hand_computed_turns():
    turns = [lat.turn_of([scale * x for x in range(1, 22)]) for scale in (1.0, 3.0, 2.0)]
    assert summary(*turns) == Latency(
        model='a.tflite',
        sha256='ab',
        size_bytes=9,
        threads=2,
        xnnpack=False,
        runs=63,
        median_ms=22.0,
        p5_ms=4.0,
        p95_ms=40.0,
        min_ms=1.0,
        mean_ms=22.0,
        round_medians_ms=(11.0, 33.0, 22.0),
    )


def test_a_tool_that_tells_no_medians_gives_its_means_and_no_percentiles():
    short, long = Turn(10, 4.0, 3.0, 9.0, 1.0), Turn(30, 6.0, 2.0, 8.0, 1.0)
    latency = summary(short, long)
    assert (latency.median_ms, latency.p5_ms, latency.p95_ms) == (5.0, None, None)
    assert (latency.mean_ms, latency.min_ms, latency.round_medians_ms) == (5.5, 2.0, (4.0, 6.0))
    assert lat.table([latency]).splitlines()[-1].split('|')[4].strip() == '–'


def test_ratio_is_formed_inside_each_round_so_drift_cancels():
    drift = np.array([1, 1.1, 1.5, 3, 2, 1.7, 1, 1])
    a, b, c = latency('a', 4 * drift), latency('b', 2 * drift), latency('c', 8 * drift)
    first, second = lat.ratios([a, b, c])
    assert (first.model, first.baseline, second.model, second.baseline) == ('b', 'a', 'c', 'a')
    assert [first.median, first.low, first.high] == pytest.approx([0.5] * 3)
    assert [second.median, second.low, second.high] == pytest.approx([2.0] * 3)


def test_ratio_interval_covers_the_noise_and_is_the_same_each_time():
    per_round = np.random.default_rng(1).normal(1.2, 0.1, 40)
    pair = [latency('a', np.ones(40)), latency('b', per_round)]
    (ratio,) = lat.ratios(pair)
    assert per_round.min() < ratio.low < ratio.median < ratio.high < per_round.max()
    assert ratio.high - ratio.low < 0.1  # 2 · 1.96 · 1.25 · 0.1 / √40 = 0.078
    assert [ratio] == lat.ratios(pair)


@pytest.mark.parametrize(
    ('rounds', 'low', 'high'), [(63, 24, 40), (64, 24, 41), (65, 25, 41), (66, 25, 42)]
)
def test_the_interval_of_many_rounds_is_as_wide_as_the_order_tells(rounds, low, high):
    per_round = np.arange(1.0, rounds + 1)  # its k-th lowest is k
    (ratio,) = lat.ratios([latency('a', np.ones(rounds)), latency('b', per_round)])
    assert (ratio.low, ratio.high) == (low, high)


def test_few_rounds_give_no_interval():
    (five,) = lat.ratios([latency('a', [1] * 5), latency('b', [2, 3, 4, 5, 6])])
    assert five == Ratio('b', 'a', 4.0, None, None)
    (six,) = lat.ratios([latency('a', [1] * 6), latency('b', [2, 3, 4, 5, 6, 7])])
    assert six.low is not None


def test_ratio_of_files_measured_apart_is_refused():
    with pytest.raises(ValueError, match='b has 3 rounds, expected the 2 of a; measure them tog'):
        lat.ratios([latency('a', [1, 1]), latency('b', [1, 1, 1])])


# Output


def test_table_is_aligned_markdown():
    table = lat.table(
        [latency('float.tflite', [2.0] * 8), latency('i8.tflite', [1.0] * 8, p95_ms=9.5)]
    )
    assert table.splitlines() == [
        '| model        | size MB | median ms |   p5–p95 ms | ratio to first [95 %] |        |',
        '| ------------ | ------: | --------: | ----------: | --------------------: | -----: |',
        '| float.tflite |    1.50 |     2.000 | 1.500–3.250 |                     1 |        |',
        '| i8.tflite    |    1.50 |     2.000 | 1.500–9.500 |  0.500 [0.500, 0.500] | faster |',
    ]


def test_table_leaves_out_an_interval_that_is_not_known():
    table = lat.table([latency('a', [2.0]), latency('b', [1.0])])
    assert [cell.strip() for cell in table.splitlines()[-1].split('|')[5:7]] == [
        '0.500',
        'not told apart',
    ]


def test_json_holds_every_field():
    pair = [latency('a', [2.0] * 8), latency('b', [1.0] * 8)]
    values = json.loads(json.dumps(lat.to_json(pair)))
    assert values['models'][1] == {**dataclasses.asdict(pair[1]), 'round_medians_ms': [1.0] * 8}
    assert values['ratios'] == [
        {
            'model': 'b',
            'baseline': 'a',
            'median': 0.5,
            'low': 0.5,
            'high': 0.5,
            'verdict': 'faster',
        }
    ]


def test_json_is_read_again():
    latency_ = latency('a', [2.0] * 8)
    assert lat.from_json(lat.to_json([latency_])['models'][0]) == latency_


def test_a_model_without_a_figure_is_refused():
    with pytest.raises(ValueError, match="a measured model has no 'mean_ms'; measure it again"):
        lat.from_json({name: 1 for name in vars(latency('a', [1])) if name != 'mean_ms'})


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('median_ms', '2'),
        ('median_ms', 0.0),
        ('median_ms', float('nan')),
        ('round_medians_ms', [1, None]),
    ],
)
def test_a_figure_that_is_no_time_is_refused(name, value):
    with pytest.raises(ValueError, match=r'a took .*, expected milliseconds above 0; measure it'):
        lat.from_json({**vars(latency('a', [1.0])), name: value})


# Verdicts


@pytest.mark.parametrize(
    ('low', 'high', 'verdict'),
    [
        (0.8, 0.99, 'faster'),
        (1.01, 1.2, 'slower'),
        (0.9, 1.1, 'not told apart'),
        (0.9, 1.0, 'not told apart'),
        (None, None, 'not told apart'),
    ],
)
def test_a_difference_is_called_only_where_the_interval_leaves_one(low, high, verdict):
    assert Ratio('a', 'b', 0.9, low, high).verdict == verdict


@pytest.mark.parametrize('rounds', [6, 7, 8, 10, 20])
def test_noise_alone_is_not_called_a_difference(rounds):
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(300):
        pair = [latency(name, 1 + 0.05 * rng.standard_normal(rounds)) for name in 'ab']
        called += lat.ratio_of(*pair).verdict != 'not told apart'
    assert called <= 300 * 0.07  # at most 5 % are expected, and three standard errors are 3.8 %
