"""What a phone does about heat, cores and its tool; its shell is played by a few answers."""

import json

import pytest

from benchmark.phones import condition, phone
from benchmark.phones.adb import DeviceLostError
from benchmark.phones.testing import PIXEL_1, PIXEL_6, FakePhone, Opened, frequencies, limited


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
