import json
import re
import threading

import pytest

from benchmark import results, web
from benchmark.browser import browser
from benchmark.browser.browser import BrowserDevice
from benchmark.browser.testing import HELLO, posted
from benchmark.device import DeviceError
from benchmark.latency import turn_of
from benchmark.session import Protocol, cases_of, summarize

PROTOCOL = Protocol(rounds=2, runs_per_round=3, warmup_runs=1)
REASON = 'Element type INT8 is not supported.'


class Page(threading.Thread):
    """Answers as the page does, every run taking 2 ms.

    Args:
      device: whose page it is.
      refuses: names of the files that it cannot run.
      fails_at: the number of the turn, from 1 on, that goes wrong.
      as_one: how many runs it times as one.
    """

    def __init__(self, device, refuses=(), fails_at=None, as_one=1):
        super().__init__(daemon=True)
        self.device, self.refuses, self.fails_at, self.as_one = device, refuses, fails_at, as_one
        self.turns = 0
        self.end = None
        self.start()

    def run(self):
        token = self.device.hello(posted(**HELLO))['token']
        answer = {}
        while self.end is None:
            job = self.device.next(posted(**{'number': 0, **answer}, token=token))
            if job['kind'] == 'end':
                self.end = job
                self.device.was_told(job)
            answer = {} if job['kind'] in ('wait', 'end') else self.answer(job)

    def answer(self, job):
        about = {'number': job['number'], 'sha256': job['sha256'], 'threads': job['threads']}
        self.turns += job['kind'] == 'turn'
        if job['name'] in self.refuses or self.turns == self.fails_at:
            return {**about, 'refused': True, 'reason': REASON}
        if job['kind'] == 'check':
            return {**about, 'refused': False}
        figures = {'samples_ms': [2.0] * job['runs'], 'runs_as_one': self.as_one, 'repeated': 0}
        return {**about, 'refused': False, **figures}


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(browser, '_PATIENCE_S', 0.05)
    return BrowserDevice('LiteRT.js 2.5.3')


@pytest.fixture
def cases(tmp_path):
    for name in 'abc':
        (tmp_path / f'{name}.tflite').write_bytes(b'\x1c\0\0\0TFL3' + name.encode())
    (tmp_path / 'b.json').write_text('{"name": "Small, int8"}')
    return cases_of([tmp_path / f'{name}.tflite' for name in 'abc'])


def test_all_is_measured_and_written(device, cases, tmp_path, capsys):
    page = Page(device)
    web.measure(device, cases, PROTOCOL, tmp_path / 'results.json')
    [entry] = results.read_results(tmp_path / 'results.json')['devices']
    assert entry['name'] == 'browser_chrome_140_android_01234567'
    assert (entry['facts']['model'], entry['warnings']) == ('Pixel 3', [])
    assert [m['model'] for m in entry['models']] == ['a.tflite', 'b.tflite', 'c.tflite']
    assert [m['name'] for m in entry['models']] == [None, 'Small, int8', None]
    assert [m['round_medians_ms'] for m in entry['models']] == [[2.0, 2.0]] * 3
    assert '| b.tflite |' in capsys.readouterr().out
    page.join(10)
    assert page.turns == 6
    assert json.loads(json.dumps(page.end['models'])) == entry['models']
    assert not list(tmp_path.glob('*.jsonl'))


def test_a_file_that_the_browser_refuses_is_named_and_the_others_go_on(
    device, cases, tmp_path, capsys
):
    Page(device, refuses=['a.tflite'])
    web.measure(device, cases, PROTOCOL, tmp_path / 'results.json')
    [entry] = results.read_results(tmp_path / 'results.json')['devices']
    assert [m['model'] for m in entry['models']] == ['b.tflite', 'c.tflite']
    assert entry['warnings'] == [f'a.tflite: left out, because {REASON}']
    assert f'warning: a.tflite: left out, because {REASON}\n' in capsys.readouterr().out


def test_a_browser_that_refuses_every_file_is_told(device, cases, tmp_path):
    Page(device, refuses=['a.tflite', 'b.tflite', 'c.tflite'])
    with pytest.raises(DeviceError, match=r'refuses every file; a.tflite: left out, because Eleme'):
        web.measure(device, cases, PROTOCOL, tmp_path / 'results.json')
    assert not (tmp_path / 'results.json').exists()


def test_a_measurement_that_broke_off_goes_on_with_the_rest(device, cases, tmp_path):
    Page(device, fails_at=5)
    with pytest.raises(DeviceError, match=r'Element type'):
        web.measure(device, cases, PROTOCOL, tmp_path / 'results.json')
    [journal] = tmp_path.glob('results.json.browser_chrome_140_android_01234567.jsonl')
    assert sum('"turn"' in line for line in journal.read_text().splitlines()) == 4
    newer = BrowserDevice('LiteRT.js 2.6.0')
    Page(newer)
    with pytest.raises(ValueError, match=r'differs in settings.runtime \("LiteRT.js 2.5.3" there,'):
        web.measure(newer, cases, PROTOCOL, tmp_path / 'results.json')
    again = BrowserDevice('LiteRT.js 2.5.3')
    page = Page(again)
    web.measure(again, cases, PROTOCOL, tmp_path / 'results.json')
    assert page.turns == 2
    assert (tmp_path / 'results.json').exists()


def test_ctrl_c_tells_where_the_turns_are(device, cases, tmp_path, monkeypatch):
    turn, turns = BrowserDevice.turn, []

    def press(device, *_, **__):
        raise KeyboardInterrupt

    def press_at_the_third(device, case, **options):
        turns.append(case)
        return press(device) if turns[2:] else turn(device, case, **options)

    Page(device)
    monkeypatch.setattr(BrowserDevice, 'turn', press_at_the_third)
    with pytest.raises(ValueError, match=r'^interrupted; 2 turns are kept in .*_01234567.jsonl, t'):
        web.measure(device, cases, PROTOCOL, tmp_path / 'results.json')
    monkeypatch.setattr(BrowserDevice, 'wait_for_page', press)
    with pytest.raises(ValueError, match=r'^interrupted$'):
        web.measure(device, cases, PROTOCOL, tmp_path / 'results.json')


def test_runs_that_were_timed_as_one_are_told(device, cases, tmp_path):
    Page(device, as_one=4)
    web.measure(device, cases[:1], PROTOCOL, tmp_path / 'results.json')
    [entry] = results.read_results(tmp_path / 'results.json')['devices']
    assert entry['models'][0]['runs'] == 24
    assert entry['warnings'] == [
        'a.tflite: 24 runs were timed as 6 samples, because the clock of this browser steps by '
        '100 µs; the spread is of their means'
    ]


def test_single_runs_need_no_word():
    turns = [turn_of([1.0, 2.0, 3.0])] * 2
    latency = summarize(turns, model='a', sha256='', size_bytes=1, threads=1, xnnpack=True)
    assert web.coarse_clock([latency], PROTOCOL, {'clock_step_ms': 0.1}) == []


def test_the_page_knows_what_will_be_measured(cases):
    shown = web.measurement_of(cases, PROTOCOL)
    assert json.loads(json.dumps(shown)) == shown
    assert shown['protocol']['runs_per_round'] == 3
    assert shown['models'][0] == {'name': 'a.tflite', 'sha256': cases[0].sha256, 'size_bytes': 9}


def test_only_an_address_for_others_warns():
    assert web.invitation('127.0.0.1', 8000, 2) == (
        'open http://127.0.0.1:8000/ in a browser on this machine, press Start'
    )
    lines = web.invitation('10.1.2.3', 80, 1).splitlines()
    assert lines[0].startswith('open http://10.1.2.3:80/ on the phone')
    assert lines[1].startswith('warning: until this ends, everyone in this network can open')
    assert 'pass --threads=1 for a phone' in web.invitation('10.1.2.3', 80, 2)
    assert 'http://0.0.0.0' not in web.invitation('0.0.0.0', 80, 1)


def test_help_names_the_flags_and_loopback_is_the_default(run_python, tmp_path):
    text = run_python('-m', 'benchmark.web', '--help', cwd=tmp_path).stdout
    for flag in ('models', 'host', 'port', 'threads', 'warmup', 'rounds', 'runs', 'output'):
        assert re.search(rf'^ *--{flag}:', text, re.MULTILINE)
    assert re.search(r"--host:.*\n(.*\n)*? *\(default: '127.0.0.1'\)", text)


def test_import_leaves_the_slow_modules_alone(run_python, tmp_path):
    slow = "{'tensorflow', 'tf_keras', 'ai_edge_litert'}"
    code = f'import sys, benchmark.web; print(sys.modules.keys() & {slow})'
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'


def test_a_wrong_file_is_one_line_and_exit_code_2(run_python, tmp_path):
    (tmp_path / 'a.tflite').write_text('not a model')
    result = run_python('-m', 'benchmark.web', '--models=a.tflite', cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith('error: a.tflite is not a TFLite file')
    assert result.stderr.count('\n') == 1
