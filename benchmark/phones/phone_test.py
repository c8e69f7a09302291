"""What a phone does about heat, cores and its tool; its shell is played by a few answers."""

import json
import re
import tempfile
import threading

import pytest

from benchmark.device import Case, DeviceError
from benchmark.phones import condition, phone
from benchmark.phones.adb import DeviceLostError, Output
from benchmark.stop import Stop


def frequencies(*mhz):
    """What the kernel tells of cores of these frequencies."""
    file = '/sys/devices/system/cpu/cpu{}/cpufreq/cpuinfo_max_freq:{}000\n'
    return ''.join(file.format(core, value) for core, value in enumerate(mhz))


PIXEL_1 = frequencies(*[1593] * 2, *[2150] * 2)
PIXEL_6 = frequencies(*[1803] * 4, *[2253] * 2, *[2802] * 2)
SAID = """\
INFO: STARTING!
{parameters}
INFO: count={warmup} first=9 curr=7 min=6 max=9 avg=8 std=1 p5=6 median=7 p95=9
INFO: count={runs} first=6 curr=6 min=5 max=8 avg=6.5 std=1 p5=5 median=6 p95=8
"""
GETPROP = '[ro.product.model]: [Pixel 6 Pro]\r\n[ro.board.platform]: [gs101]\r\n[other]: [x]\r\n'


class FakePhone:
    """Answers the commands of `Phone`; `states` are its conditions, the last one stays."""

    def __init__(self, cores=PIXEL_6, states=('',), has_taskset=True, serial='8A5X'):
        self.serial, self.cores, self.states = serial, cores, list(states)
        self.has_taskset, self.is_gone = has_taskset, False
        self.commands, self.pushed = [], {}

    def run(self, *words, timeout_s=30.0, ends_with_us=False):
        if self.is_gone:
            raise DeviceLostError('8A5X is gone')
        self.commands.append(words)
        return self._answer(words)

    def _answer(self, words):
        if words == ('getprop',):
            return Output(0, GETPROP)
        if words[0] == 'sh' and words[-1] == condition.LISTING:
            return Output(0, self.states.pop(0) if self.states[1:] else self.states[0])
        if words[0] == 'sh' and 'cpu_capacity' in words[-1]:
            return Output(0, self.cores)
        if words[0] == 'sh' and 'taskset' in words[-1]:
            return Output(0 if self.has_taskset else 127, '')
        if words[0] == 'test':
            return Output(0 if words[2] in self.pushed else 1, '')
        if words[0] == 'sha256sum':
            return Output(127, 'sh: sha256sum: not found')
        if words[0] == 'stat':
            return Output(0, f'{self.pushed[words[3]]}\n')
        if words[0] == 'mv':
            self.pushed[words[3]] = self.pushed.pop(words[2])
        if any(word.startswith('--graph=') for word in words):
            return Output(0, _said(dict(w[2:].split('=') for w in words if w.startswith('--'))))
        return Output(0, '')

    def push(self, file, remote):
        self.pushed[remote] = file.stat().st_size


def _said(flags):
    echoes = {
        'graph': 'Graph',
        'num_threads': 'Num threads',
        'use_xnnpack': 'Use xnnpack',
        'warmup_runs': 'Min warmup runs',
        'warmup_min_secs': 'Min warmup runs duration (seconds)',
        'num_runs': 'Min num runs',
        'min_secs': 'Min runs duration (seconds)',
    }
    lines = [f'INFO: {echoes[name]}: [{value}]' for name, value in flags.items()]
    return SAID.format(
        parameters='\n'.join(lines), warmup=flags['warmup_runs'], runs=flags['num_runs']
    )


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    """Other processes of tests have phones of the same serial number."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))


@pytest.fixture
def program(tmp_path):
    path = tmp_path / 'benchmark_model'
    path.write_bytes(b'\x7fELF')
    return path


@pytest.fixture
def case(tmp_path):
    path = tmp_path / 'a.tflite'
    path.write_bytes(b'TFL3')
    return Case('a.tflite', path, '0' * 64, 4)


class Opened(phone.Phone):
    """A phone with what it told and how long it waited."""

    def __init__(self, shell, program, **options):
        self.said, self.slept_s = [], 0.0
        stop = Waiting(self)
        super().__init__(shell, str(program), progress=self.said.append, stop=stop, **options)


class Waiting(Stop):
    """Does not wait, but adds up for how long it would."""

    def __init__(self, opened):
        super().__init__()
        self._opened = opened

    def sleep(self, seconds):
        super().sleep(0)
        self._opened.slept_s += seconds


def limited(share):
    """A condition in which core 6 of a Pixel 6 is held at a share of its frequency."""
    file = '/sys/devices/system/cpu/cpu6/cpufreq'
    lines = f'{file}/cpuinfo_max_freq:1000000\n{file}/scaling_max_freq:{int(share * 1e6)}\n'
    return f'== files\n{lines}'


def test_a_phone_tells_what_it_is(program):
    found = phone.Phone(FakePhone(), str(program), threads=2)
    assert found.name == 'pixel_6_pro_8A5X'
    facts = json.loads(json.dumps(found.facts()))
    assert (facts['model'], facts['board'], facts['soc']) == ('Pixel 6 Pro', 'gs101', 'unknown')
    assert facts['clusters'][2] == 'cores 6–7 of 2.80 GHz'
    assert (facts['core'], facts['mask']) == ('big', 'c0')
    assert facts['tool']['program'] == 'benchmark_model'


@pytest.mark.parametrize(
    ('cores', 'core', 'threads', 'mask'),
    [(PIXEL_1, 'big', 1, '4'), (PIXEL_6, 'mid', 2, '30'), (PIXEL_6, 'f0', 1, 'f0')],
)
def test_the_tool_runs_on_the_cores(program, case, cores, core, threads, mask):
    shell = FakePhone(cores)
    found = phone.Phone(shell, str(program), core=core, threads=threads)
    found.prepare([case])
    turn = found.turn(case, threads=threads, warmup_runs=4, runs=20)
    assert (turn.runs, turn.median_ms, turn.p95_ms) == (20, 0.006, 0.008)
    command = shell.commands[-2]
    assert command[:2] == ('taskset', mask)
    assert {'--num_runs=20', '--warmup_runs=4', f'--num_threads={threads}'} <= set(command)
    assert {'--min_secs=0.0', '--warmup_min_secs=0.0', '--use_xnnpack=true'} <= set(command)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'core': 'big', 'threads': 3}, '--core=big has 2 cores for 3 threads'),
        ({'core': '100'}, '--core=100 names core 8'),
    ],
)
def test_cores_that_a_phone_has_not_are_told_before_anything_is_done(program, options, message):
    shell = FakePhone()
    with pytest.raises(ValueError, match=message):
        phone.Phone(shell, str(program), **options)
    assert not shell.pushed


@pytest.mark.parametrize(
    ('shell', 'remark'),
    [
        (FakePhone(has_taskset=False), 'the tool cannot be pinned here'),
        (FakePhone(cores=''), 'it tells no frequencies: the scheduler chooses'),
    ],
)
def test_a_tool_that_is_not_pinned_is_remarked(program, case, shell, remark):
    found = phone.Phone(shell, str(program))
    found.prepare([case])
    found.turn(case, threads=1, warmup_runs=1, runs=1)
    assert [text[: len(remark)] for text in found.warnings] == [remark]
    assert 'taskset' not in {word for words in shell.commands[-2:] for word in words}


def test_a_turn_in_which_the_phone_slowed_down_is_measured_again(program, case):
    # Read at the start, after the turn, while it cools, after the next turn.
    shell = FakePhone(states=[limited(1), limited(0.5), limited(0.7), limited(1), limited(1)])
    found = Opened(shell, program)
    found.prepare([case])
    found.turn(case, threads=1, warmup_runs=1, runs=7)
    timed = [words for words in shell.commands if '--num_runs=7' in words]
    assert len(timed) == 2
    assert found.slept_s == condition.POLL_S
    assert found.warnings == []
    assert found.said[1:] == [
        'pixel_6_pro_8A5X: measures a.tflite again: the core is held at 50% of its frequency',
        'pixel_6_pro_8A5X: waits for it to cool: the core is held at 70% of its frequency',
    ]


def test_a_phone_that_stays_slow_is_waited_for_once_and_then_measured_as_it_is(program, case):
    shell = FakePhone(states=[limited(0.5)])
    found = Opened(shell, program)
    found.prepare([case])
    for _ in range(3):
        found.turn(case, threads=1, warmup_runs=1, runs=7)
    assert found.slept_s == condition.PATIENCE_S
    assert len([words for words in shell.commands if '--num_runs=7' in words]) == 3
    assert found.warnings == [
        'it did not cool within 300 s: the core is held at 50% of its frequency',
        '3 turns ran on a core that was held below its frequency',
    ]


def test_a_battery_that_empties_is_remarked_once(program, case):
    states = [f'== battery\n  level: {level}\n' for level in (50, 19, 18, 17)]
    found = phone.Phone(FakePhone(states=states), str(program))
    found.prepare([case])
    for _ in range(3):
        found.turn(case, threads=1, warmup_runs=1, runs=1)
    assert found.warnings == ['the battery is at 19 %; charge it, phones save power then']


def test_files_are_compared_by_size_where_the_phone_cannot_hash(program, case):
    shell = FakePhone()
    found = phone.Phone(shell, str(program))
    found.prepare([case])
    (path,) = [path for path in shell.pushed if path.endswith('.tflite')]
    assert path == f'/data/local/tmp/mobilenet_v3/{case.sha256}.tflite'
    found.close()  # which this phone ignores
    shell.pushed[path] = 3  # cut off
    phone.Phone(shell, str(program)).prepare([case])
    assert shell.pushed[path] == 4


def test_a_lost_phone_is_left_alone(program, case):
    shell = FakePhone()
    found = phone.Phone(shell, str(program))
    found.prepare([case])
    shell.is_gone = True
    with pytest.raises(DeviceLostError, match=r'^8A5X is gone$'):
        found.turn(case, threads=1, warmup_runs=1, runs=1)
    shell.is_gone = False
    before = list(shell.commands)
    found.close()
    assert shell.commands == before


def test_a_phone_that_was_measured_is_cleaned(program, case):
    shell = FakePhone()
    found = phone.Phone(shell, str(program))
    found.prepare([case])
    found.close()
    removed = next(words for words in shell.commands if words[:2] == ('rm', '-f'))
    assert set(shell.pushed) <= set(removed)
    assert all(word.startswith('/data/local/tmp/mobilenet_v3/') for word in removed[2:])


def removed(shell):
    """What was taken away, each with what a broken push would leave."""
    return {path for words in shell.commands if words[:2] == ('rm', '-f') for path in words[2:]}


def test_ctrl_c_ends_a_phone_that_is_cooling_and_leaves_it_clean(program, case):
    stop, shell, waits = Stop(), FakePhone(states=[limited(0.5)]), threading.Event()
    found = phone.Phone(shell, str(program), stop=stop, progress=lambda text: waits.set())
    found.prepare([case])
    waits.clear()
    ends = []

    def turn():
        try:
            found.turn(case, threads=1, warmup_runs=1, runs=1)
        except KeyboardInterrupt as end:
            ends.append(end)

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    assert waits.wait(60)
    stop.set()
    thread.join(60)
    assert ends
    found.close()
    assert set(shell.pushed) <= removed(shell)


def test_ctrl_c_ends_the_preparing_between_files(program, case):
    stop, shell = Stop(), FakePhone()
    found = phone.Phone(shell, str(program), stop=stop, progress=lambda text: stop.set())
    with pytest.raises(KeyboardInterrupt):
        found.prepare([case] * 3)
    assert len([words for words in shell.commands if '--num_runs=1' in words]) == 1


def test_what_was_broken_off_while_it_was_brought_is_taken_away(program, case, monkeypatch):
    class Stopped(FakePhone):
        def push(self, file, remote):
            super().push(file, remote)
            raise KeyboardInterrupt

    shell = Stopped()
    found = phone.Phone(shell, str(program))
    with pytest.raises(KeyboardInterrupt):
        found.prepare([case])
    found.close()
    assert shell.pushed
    assert set(shell.pushed) <= removed(shell)


def test_a_phone_is_measured_by_one_command_at_a_time(program, case):
    found = phone.Phone(FakePhone(), str(program))
    with pytest.raises(DeviceError, match='8A5X is being measured by another command'):
        phone.Phone(FakePhone(), str(program))
    found.close()
    phone.Phone(FakePhone(), str(program)).close()


def test_the_settings_are_what_figures_hang_on(program):
    options = {'core': 'mid'}, {'core': 'big'}
    settings = []
    for each in options:
        found = phone.Phone(FakePhone(), str(program), **each)
        settings.append(found.settings())
        found.close()
    assert [each.pop('mask') for each in settings] == ['10', '40']
    assert settings[0] == settings[1]
    program.write_bytes(b'\x7fELF of another build')
    other = phone.Phone(FakePhone(), str(program)).settings()
    assert other['tool'] != settings[0]['tool']


class AppPhone(FakePhone):
    """A phone with the benchmark app, whose log is given."""

    def __init__(self, log, started='Status: ok', pid_code=0):
        super().__init__()
        self._log, self._started, self._pid_code = log, started, pid_code

    def _answer(self, words):
        if words[0] == 'pm':
            return Output(0, 'package:org.tensorflow.lite.tools.benchmark\r\n')
        if words[0] == 'am':
            return Output(0, self._started)
        if words[0] == 'pidof':
            return Output(self._pid_code, '')
        if words[0] == 'logcat':
            (mark,) = [words[3] for words in self.commands if words[0] == 'log']
            return Output(0, f'I/tflite  ( 1): earlier\nI/tflite  (12): {mark}\n{self._log}')
        return super()._answer(words)


@pytest.mark.parametrize(
    ('shell', 'message'),
    [
        (
            AppPhone('', 'Error type 3\nError: Activity class'),
            r'Activity does not start: .Error ty',
        ),
        (AppPhone('E/tflite  ( 42): Could not open it\n'), 'app failed: .ERROR: Could not open it'),
        (AppPhone('I/tflite  ( 42): STARTING!\n', pid_code=1), 'app died; it said .INFO: STARTING'),
        (AppPhone('I/tflite  ( 42): STARTING!\n'), r'no end within 660 s; is the phone unlocked\?'),
    ],
)
def test_an_app_that_fails_is_told(case, shell, message):
    found = Opened(shell, 'apk')
    with pytest.raises(DeviceError, match=message):
        found.prepare([case])


def test_the_results_that_the_app_says_again_as_an_error_are_none(case):
    lines = _said({'num_runs': '1', 'warmup_runs': '1'}).replace('INFO: ', 'I/tflite  ( 42): ')
    end = 'E/tflite  ( 42): Average inference timings in us: Warmup: 8, Init: 9, Inference: 6.5\n'
    shell = AppPhone(re.sub(r'^\n', '', lines) + end)
    with pytest.raises(DeviceError, match=r'--graph=.* and does not echo it'):
        Opened(shell, 'apk').prepare([case])


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ('', '--benchmark_model is empty, expected the path of a build'),
        ('none/benchmark_model', '--benchmark_model=none/benchmark_model is not a file'),
    ],
)
def test_a_tool_that_is_not_there_is_told_before_a_phone_is_looked_for(value, message):
    with pytest.raises(ValueError, match=message):
        phone.find([], value)


def test_a_core_that_cannot_be_meant_is_told_before_a_phone_is_looked_for(program):
    with pytest.raises(ValueError, match="--core is 'large'"):
        phone.find([], str(program), core='large')


def test_equal_cores_need_no_choice(program, case):
    shell = FakePhone(cores=frequencies(*[1500] * 4))
    found = phone.Phone(shell, str(program))
    found.prepare([case])
    assert found.facts()['mask'] == '1'
