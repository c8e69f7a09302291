import pytest

from benchmark import session
from benchmark.device import DeviceError
from benchmark.journal import Journal
from benchmark.latency import turn_of
from benchmark.session import Protocol, cases_of

PROTOCOL = Protocol(rounds=3, runs_per_round=2, warmup_runs=1)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f'{name}.tflite' for name in 'ab']
    for path in paths:
        path.write_bytes(b'\x1c\0\0\0TFL3' + path.name.encode())
    return paths


class FakeDevice:
    """A device on which turn n takes n ms; gone after `lasts` turns."""

    name = 'fake'

    def __init__(self, lasts=100):
        self.lasts, self.done, self.prepared = lasts, [], 0

    def prepare(self, cases):
        self.prepared += 1

    def turn(self, case, *, threads, warmup_runs, runs):
        if len(self.done) == self.lasts:
            raise DeviceError('unplugged')
        self.done.append(case.name)
        return turn_of([float(len(self.done))] * runs)


def test_files_take_turns_and_each_gets_its_figures(files):
    seen = []
    device = FakeDevice()
    a, b = session.measure(
        device, cases_of(files), PROTOCOL, progress=lambda done, total: seen.append((done, total))
    )
    assert [name[0] for name in device.done] == list('abbaba')
    assert a.round_medians_ms == (1.0, 4.0, 6.0)
    assert b.round_medians_ms == (2.0, 3.0, 5.0)
    assert (a.model, a.runs, a.size_bytes) == ('a.tflite', 6, files[0].stat().st_size)
    assert seen == [(done, 6) for done in range(7)]


@pytest.mark.parametrize('lasts', [0, 1, 3, 5])
def test_a_lost_device_loses_nothing_that_was_measured(files, tmp_path, lasts):
    cases = cases_of(files)
    header = session.header('fake', cases, PROTOCOL)
    path = tmp_path / 'journal.jsonl'
    with pytest.raises(DeviceError, match='unplugged'), Journal(path, header) as journal:
        session.measure(FakeDevice(lasts), cases, PROTOCOL, journal=journal)
    device = FakeDevice()
    with Journal(path, header) as journal:
        assert len(journal.turns) == lasts
        latencies = session.measure(device, cases, PROTOCOL, journal=journal)
    assert len(device.done) == 6 - lasts
    assert [latency.runs for latency in latencies] == [6, 6]


def test_a_finished_measurement_does_not_need_its_device(files, tmp_path):
    cases = cases_of(files)
    header = session.header('fake', cases, PROTOCOL)
    with Journal(tmp_path / 'j', header) as journal:
        first = session.measure(FakeDevice(), cases, PROTOCOL, journal=journal)
    gone = FakeDevice(lasts=0)
    with Journal(tmp_path / 'j', header) as journal:
        assert session.measure(gone, cases, PROTOCOL, journal=journal) == first
    assert not gone.prepared


def test_cases_name_files_and_kernels(files):
    names = [case.name for case in cases_of([*files, files[0]], 'both')]
    assert names == [
        'a.tflite',
        'a.tflite without XNNPACK',
        'b.tflite',
        'b.tflite without XNNPACK',
        'a.tflite (2)',
        'a.tflite without XNNPACK (2)',
    ]


def test_unknown_kernels_are_refused(files):
    with pytest.raises(ValueError, match="--use_xnnpack is 'yes'; expected true, false or both"):
        cases_of(files, 'yes')
