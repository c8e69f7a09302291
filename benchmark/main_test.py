import json
import re
import threading

import pytest

from benchmark import main, profiles, session
from benchmark.device import DeviceError
from benchmark.latency import turn_of
from benchmark.session import Protocol, cases_of

PROTOCOL = Protocol(rounds=2, runs_per_round=3, warmup_runs=1)


class FakeDevice:
    """A device of which every run takes 2 ms; gone after `lasts` turns."""

    def __init__(self, name='host', lasts=100):
        self.name, self.lasts, self.closed, self.warnings = name, lasts, False, ['battery at 3 %']

    def facts(self):
        return {'serial': self.name}

    def settings(self):
        return {'mask': '1'}

    def prepare(self, cases):
        pass

    def turn(self, case, *, threads, warmup_runs, runs):
        if not self.lasts:
            raise DeviceError('unplugged')
        self.lasts -= 1
        return turn_of([2.0] * runs)

    def close(self):
        self.closed = True


@pytest.fixture
def cases(tmp_path):
    files = [tmp_path / 'a.tflite', tmp_path / 'b.tflite']
    for file in files:
        file.write_bytes(b'\x1c\0\0\0TFL3')
    (tmp_path / 'b.json').write_text('{"name": "Small, int8"}')
    return cases_of(files)


def test_report_prints_the_table_and_writes_the_figures(cases, tmp_path, capsys):
    output = tmp_path / 'new' / 'results.json'
    device = FakeDevice()
    main.report([device], cases, PROTOCOL, output)
    printed = capsys.readouterr().out
    assert '| b.tflite |' in printed
    assert 'warning: battery at 3 %' in printed
    assert f'written to {output}' in printed
    (entry,) = json.loads(output.read_text())['devices']
    assert (entry['name'], entry['facts']) == ('host', {'serial': 'host'})
    assert [model['name'] for model in entry['models']] == [None, 'Small, int8']
    assert device.closed
    assert [file.name for file in output.parent.iterdir()] == ['results.json']


def test_one_lost_phone_stops_no_other_and_is_continued(cases, tmp_path, capsys):
    output = tmp_path / 'results.json'
    with pytest.raises(ValueError, match=r'p2: unplugged; 3 turns are kept in .*p2.jsonl, the sam'):
        main.report([FakeDevice('p1'), FakeDevice('p2', lasts=3)], cases, PROTOCOL, output)
    assert [d['name'] for d in json.loads(output.read_text())['devices']] == ['p1']
    # The same command: the first has nothing left to do, the second one turn.
    main.report([FakeDevice('p1', lasts=0), FakeDevice('p2', lasts=1)], cases, PROTOCOL, output)
    assert [d['name'] for d in json.loads(output.read_text())['devices']] == ['p1', 'p2']
    assert not list(tmp_path.glob('*.jsonl'))


def test_a_device_that_fails_at_once_leaves_no_hint_at_nothing(cases, tmp_path):
    with pytest.raises(ValueError, match=r'^p: unplugged$'):
        main.report([FakeDevice('p', lasts=0)], cases, PROTOCOL, tmp_path / 'results.json')
    assert not list(tmp_path.glob('results.json*'))


def test_a_bad_journal_is_told_before_anything_is_measured(cases, tmp_path):
    output, other = tmp_path / 'results.json', FakeDevice('p1', lasts=10)
    session.journal_path(output, FakeDevice('p2')).write_text('no JSON\n')
    with pytest.raises(ValueError, match=r'json.p2.jsonl is no journal'):
        main.report([other, FakeDevice('p2')], cases, PROTOCOL, output)
    assert other.lasts == 10
    assert other.closed


@pytest.mark.parametrize('error', [ValueError('what is this'), OSError(28, 'No space', 'x')])
def test_whatever_goes_wrong_on_one_phone_stops_no_other(cases, tmp_path, error):
    class Failing(FakeDevice):
        def turn(self, case, **options):
            raise error

    output = tmp_path / 'results.json'
    with pytest.raises(ValueError, match=f'^p2: .*{error.args[-1]}'):
        main.report([FakeDevice('p1'), Failing('p2')], cases, PROTOCOL, output)
    assert [d['name'] for d in json.loads(output.read_text())['devices']] == ['p1']


def test_warnings_of_a_session_that_was_lost_are_in_the_results(cases, tmp_path):
    output, again = tmp_path / 'results.json', FakeDevice('p')
    with pytest.raises(ValueError, match='unplugged'):
        main.report([FakeDevice('p', lasts=2)], cases, PROTOCOL, output)
    again.warnings = ['ran hot']
    main.report([again], cases, PROTOCOL, output)
    (entry,) = json.loads(output.read_text())['devices']
    assert entry['warnings'] == ['battery at 3 %', 'ran hot']


def test_phones_are_measured_at_the_same_time(cases, tmp_path):
    meet = threading.Barrier(2, timeout=20)

    class Waiting(FakeDevice):
        def prepare(self, cases):
            meet.wait()  # passes only when both are here

    output = tmp_path / 'results.json'
    main.report([Waiting('p1'), Waiting('p2')], cases, PROTOCOL, output)
    assert [d['name'] for d in json.loads(output.read_text())['devices']] == ['p1', 'p2']


def test_an_interruption_stops_every_device_after_its_turn(cases, tmp_path):
    two_done = threading.Event()

    class Interrupted(FakeDevice):
        def turn(self, case, **options):
            two_done.wait(20)
            raise KeyboardInterrupt

    class Other(FakeDevice):
        def turn(self, case, **options):
            if self.lasts < 10**6 - 1:
                two_done.set()
            return super().turn(case, **options)

    other = Other('p2', lasts=10**6)
    many = Protocol(rounds=10**5, runs_per_round=1)
    output = tmp_path / 'results.json'
    with pytest.raises(
        ValueError, match=r'^interrupted; \d+ turns are kept in .*json.p2.jsonl, th'
    ):
        main.report([Interrupted('p1'), other], cases, many, output)
    assert [file.name for file in tmp_path.glob('results*')] == ['results.json.p2.jsonl']
    assert other.closed
    assert other.lasts > 0


@pytest.fixture
def profiled(monkeypatch, tmp_path):
    """Devices that were profiled, each with whether it was open and the figures were written."""
    seen = {}

    def write_profiles(device, cases, protocol, output, progress):
        seen[device.name] = (not device.closed, output.exists())
        device.warnings = [*device.warnings, 'ran hot']
        if device.name == 'stopped':
            raise KeyboardInterrupt
        return [tmp_path / 'table.md']

    monkeypatch.setattr(profiles, 'write_profiles', write_profiles)
    return seen


def test_figures_are_written_before_the_profiles(cases, tmp_path, profiled, capsys):
    output, device, lost = tmp_path / 'results.json', FakeDevice('p1'), FakeDevice('p2', lasts=3)
    with pytest.raises(ValueError, match=r'^p2: unplugged'):
        main.report([lost, device], cases, PROTOCOL, output, profile=True)
    assert profiled == {'p1': (True, True)}
    assert device.closed
    printed = capsys.readouterr()
    assert f'profile: {tmp_path / "table.md"}\n' in printed.out
    assert printed.err == 'warning: p1: ran hot\n'


def test_an_interrupted_profile_leaves_the_figures(cases, tmp_path, profiled):
    output, device = tmp_path / 'results.json', FakeDevice('stopped')
    with pytest.raises(ValueError, match=r'^interrupted; 4 turns are kept in .*, the same command'):
        main.report([device], cases, PROTOCOL, output, profile=True)
    (entry,) = json.loads(output.read_text())['devices']
    assert [model['runs'] for model in entry['models']] == [6, 6]
    assert device.closed


@pytest.mark.parametrize('name', ['a.tflite', 'a.json'])
def test_output_over_a_model_or_its_card_is_refused(cases, tmp_path, name):
    device = FakeDevice(lasts=0)
    with pytest.raises(ValueError, match=r'is the place of a.tflite or of its card, expected a fi'):
        main.report([device], cases, PROTOCOL, tmp_path / name)


def test_output_that_is_a_directory_is_refused(cases, tmp_path):
    with pytest.raises(ValueError, match='is a directory, expected a file; add a file name'):
        main.report([FakeDevice(lasts=0)], cases, PROTOCOL, tmp_path)


def test_help_names_the_flags(run_python, tmp_path):
    result = run_python('-m', 'benchmark.main', '--help', cwd=tmp_path)
    flags = ('models', 'device', 'threads', 'warmup', 'rounds', 'runs', 'use_xnnpack', 'output')
    for flag in flags:
        assert re.search(rf'^ *--(\[no\])?{flag}:', result.stdout, re.MULTILINE), flag


def test_import_leaves_the_slow_modules_alone(run_python, tmp_path):
    slow = "{'tensorflow', 'tf_keras', 'ai_edge_litert', 'adbutils'}"
    code = f'import sys, benchmark.main; print(sys.modules.keys() & {slow})'
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'


def test_a_wrong_file_is_one_line_and_exit_code_2(run_python, tmp_path):
    (tmp_path / 'a.tflite').write_text('not a model')
    result = run_python('-m', 'benchmark.main', '--models=a.tflite', cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith('error: a.tflite is not a TFLite file')
    assert result.stderr.count('\n') == 1
    assert not (tmp_path / 'results.json').exists()
