from pathlib import Path

import pytest

from benchmark import session
from benchmark.device import DeviceError
from benchmark.journal import Journal
from benchmark.latency import turn_of, turn_order
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

    def __init__(self, lasts=100, mask='1', warnings=()):
        self.lasts, self.done, self.prepared, self.mask = lasts, [], 0, mask
        self.warnings = list(warnings)

    def facts(self):
        return {'cpu': 'of paper', 'warnings': len(self.warnings)}

    def settings(self):
        return {'mask': self.mask}

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
    order = [name for r in range(3) for name in (('a', 'b')[i] for i in turn_order(r, 2))]
    assert [name[0] for name in device.done] == order
    taken = {name: [n for n, done in enumerate(order, 1) if done == name] for name in 'ab'}
    assert a.round_medians_ms == tuple(map(float, taken['a']))
    assert b.round_medians_ms == tuple(map(float, taken['b']))
    assert (a.model, a.runs, a.size_bytes) == ('a.tflite', 6, files[0].stat().st_size)
    assert seen == [(done, 6) for done in range(7)]


@pytest.mark.parametrize('lasts', [0, 1, 3, 5])
def test_a_lost_device_loses_nothing_that_was_measured(files, tmp_path, lasts):
    cases = cases_of(files)
    header = session.header(FakeDevice(), cases, PROTOCOL)
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
    header = session.header(FakeDevice(), cases, PROTOCOL)
    with Journal(tmp_path / 'j', header) as journal:
        first = session.measure(FakeDevice(), cases, PROTOCOL, journal=journal)
    gone = FakeDevice(lasts=0)
    with Journal(tmp_path / 'j', header) as journal:
        assert session.measure(gone, cases, PROTOCOL, journal=journal) == first
    assert not gone.prepared


def test_a_measurement_is_not_continued_with_other_settings(files, tmp_path):
    cases = cases_of(files)
    header = session.header(FakeDevice(), cases, PROTOCOL)
    with Journal(tmp_path / 'j', header) as journal, pytest.raises(DeviceError):
        session.measure(FakeDevice(lasts=2), cases, PROTOCOL, journal=journal)
    other = session.header(FakeDevice(mask='2'), cases, PROTOCOL)
    with pytest.raises(ValueError, match=r'2 turns .* in settings.mask \("1" there, "2" here\);'):
        Journal(tmp_path / 'j', other)


def test_what_an_earlier_session_had_to_warn_of_and_told_stays(files, tmp_path):
    cases = cases_of(files)
    header = session.header(FakeDevice(), cases, PROTOCOL)
    lost = FakeDevice(lasts=2, warnings=['battery at 12 %', 'ran hot'])
    with Journal(tmp_path / 'j', header) as journal, pytest.raises(DeviceError):
        session.measure(lost, cases, PROTOCOL, journal=journal)
    with Journal(tmp_path / 'j', header) as journal:
        again = FakeDevice(warnings=['ran hot', 'screen on', 'saver on'])
        session.measure(again, cases, PROTOCOL, journal=journal)
        assert journal.warnings == ['battery at 12 %', 'ran hot', 'screen on', 'saver on']
        assert journal.facts == {'cpu': 'of paper', 'warnings': 2, 'continued': [{'warnings': 3}]}


@pytest.mark.parametrize('lasts', [2, 3])
def test_a_round_that_was_cut_is_told(files, tmp_path, lasts):
    cases = cases_of(files)
    header = session.header(FakeDevice(), cases, PROTOCOL)
    with Journal(tmp_path / 'j', header) as journal, pytest.raises(DeviceError):
        session.measure(FakeDevice(lasts), cases, PROTOCOL, journal=journal)
    with Journal(tmp_path / 'j', header) as journal:
        assert journal.warnings == []  # nothing but its first half is there
        session.measure(FakeDevice(), cases, PROTOCOL, journal=journal)
        told = journal.warnings
    cut = 'interrupted in round 2: its times are of different sessions'
    assert told == ([] if lasts == 2 else [cut])
    with Journal(tmp_path / 'j', header) as journal:
        assert journal.warnings == told


def test_results_lie_beside_journals_of_their_own():
    paths = [session.journal_path(Path(name), FakeDevice()) for name in ('run.a', 'run.b')]
    assert paths == [Path('run.a.fake.jsonl'), Path('run.b.fake.jsonl')]


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
