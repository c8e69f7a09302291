import pytest

from benchmark import litert_peer
from benchmark.device import DeviceError
from benchmark.latency import turn_of
from benchmark.session import cases_of
from benchmark.untrained import our_float


@pytest.fixture(scope='module')
def file(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp('models') / 'tiny.tflite'
    path.write_bytes(our_float(tiny_model))
    return path


def test_one_file_is_measured_both_ways(file, monkeypatch):
    asked = []

    def command_turn(case, **options):
        asked.append((case.file, options))
        return turn_of([2000.0 + len(asked)] * 3)

    monkeypatch.setattr(litert_peer, 'command_turn', command_turn)
    row = litert_peer.compare_file('tiny, litert-benchmark', file, rounds=3, runs=3)
    assert asked == [(file, {'threads': 1, 'warmup_runs': 10, 'runs': 3})] * 3
    assert (row.what, row.unit, row.peer) == ('tiny, litert-benchmark', 'ms', 2002.0)
    assert 0 < row.ours < 1000  # the file takes a fraction of a millisecond here
    assert row.ratio > 2
    assert row.low_95 is None  # of three rounds


def test_the_command_runs_as_often_as_it_is_told(file):
    (case,) = cases_of([file])
    turn = litert_peer.command_turn(case, threads=1, warmup_runs=1, runs=3)
    assert turn.runs == 3
    assert turn.min_ms <= turn.median_ms <= turn.max_ms


def test_a_failing_command_is_one_line(file, tmp_path):
    cut = tmp_path / 'cut.tflite'
    cut.write_bytes(file.read_bytes()[:400])
    (case,) = cases_of([cut])
    with pytest.raises(DeviceError, match=r'litert-benchmark cannot measure .*cut.tflite: .+'):
        litert_peer.command_turn(case, threads=1, warmup_runs=1, runs=1)
