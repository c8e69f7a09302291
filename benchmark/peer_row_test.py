import numpy as np

from benchmark.latency import Latency
from benchmark.peer_row import Row, latency_row, make_row


def test_a_row_forms_its_ratio_inside_each_round():
    ours_ms = np.array([[1.0, 1.0, 9.0], [2.0, 2.0, 2.0], [4.0, 4.0, 4.0]])
    peer_ms = np.array([[3.0, 3.0, 3.0], [2.0, 2.0, 2.0], [6.0, 6.0, 0.0]])
    row = make_row('steps', ours_ms, peer_ms, images=32)
    # Round by round 3, 1 and 1.5; medians over all runs are 2 and 3 ms.
    assert row == Row('steps', 'images/s', 16000.0, 32000 / 3, 1.5, 1.0, 3.0)


def test_a_line_holds_medians_ratio_and_spread():
    row = Row('steps', 'images/s', 45.678, 1234.5, 1.5, 1.0, 3.0)
    line = ' '.join(str(row).split())
    assert line == 'steps ours 45.68 peer 1234 images/s ratio 1.500 rounds 1.000–3.000'


def test_a_line_of_a_latency_ends_with_its_interval():
    row = Row('latency', 'ms', 3.3, 3.6, 1.1, 1.0, 1.2, low_95=1.05, high_95=1.15)
    assert str(row).endswith('rounds 1.000–1.200  95 % [1.050, 1.150]')


def test_a_latency_takes_the_ratio_of_the_peer_to_ours():
    def latency(name, round_medians_ms):
        median_ms = float(np.median(round_medians_ms))
        return Latency(name, 'ab', 1, 1, True, 6, median_ms, 1.0, 9.0, 1.0, 2.0, round_medians_ms)

    ours, peer = latency('a', (2.0,) * 6), latency('b', (3.0, 2.0, 3.0, 3.0, 3.0, 4.0))
    row = latency_row('float', ours, peer)
    assert (row.what, row.ours, row.peer, row.ratio) == ('float', 2.0, 3.0, 1.5)
    assert (row.low, row.high) == (1.0, 2.0)
    assert row.low_95 <= row.ratio <= row.high_95
