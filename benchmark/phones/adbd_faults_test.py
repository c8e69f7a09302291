"""Phones that go away, are full or unfit, and tools that fail, over a real adb and adbd."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import adbutils
import pytest

from benchmark import main
from benchmark.device import DeviceError
from benchmark.phones import adb, phone, phone_files
from benchmark.phones.adb import DeviceLostError
from benchmark.session import Protocol, cases_of
from train.files import sha256_of

BRIEF = Protocol(threads=1, warmup_runs=1, rounds=2, runs_per_round=3)


def open_phone(device, program, **options):
    (found,) = phone.find([device.serial], str(program), **options)
    return found


def test_a_phone_that_is_pulled_out_during_a_push_is_told(start_device, two_models, monkeypatch):
    device = start_device()
    (shell,) = adb.find([device.serial])
    push = shell.push

    def freeze_and_push(file, remote):
        device.signal(signal.SIGSTOP)  # so that the push cannot be over
        threading.Timer(0.3, device.kill).start()
        push(file, remote)

    monkeypatch.setattr(shell, 'push', freeze_and_push)
    (case, _) = cases_of(two_models)
    with pytest.raises(DeviceLostError, match=f'{device.serial} is gone during push .*again and'):
        phone_files.PhoneFiles(shell).put(case.file, case.sha256, '.tflite')


def test_a_phone_that_falls_silent_does_not_hang(start_device):
    device = start_device()
    (shell,) = adb.find([device.serial])
    device.signal(signal.SIGSTOP)
    with pytest.raises(DeviceLostError, match='is gone during true: no answer within 1 s'):
        shell.run('true', timeout_s=1.0)


def test_a_phone_that_is_pulled_out_during_a_run_loses_nothing(
    start_device, device_program, two_models, tmp_path
):
    device, other = start_device(), start_device()
    output = tmp_path / 'results.json'
    cases = cases_of(two_models)
    device_phone, other_phone = phone.find(['all'], str(device_program))
    turn, turns = device_phone.turn, []

    def turn_until_pulled_out(case, **options):
        if len(turns) == 3:
            device.tells('FAULT', 'hang')
            threading.Thread(target=device.kill_when_running).start()
        turns.append(case)
        return turn(case, **options)

    device_phone.turn = turn_until_pulled_out
    with pytest.raises(ValueError, match=r'is gone during .*3 turns are kept in .*goes on'):
        main.report([device_phone, other_phone], cases, BRIEF, output)
    (results,) = json.loads(output.read_text())['devices']
    assert results['name'] == other_phone.name
    assert other.listing() == []

    (device.files / 'FAULT').unlink()
    device.disconnect()
    device.start()
    found = phone.find([device.serial, other.serial], str(device_program))
    turn = found[0].turn
    found[0].turn = lambda case, **options: (turns.append(case), turn(case, **options))[1]
    main.report(found, cases, BRIEF, output)
    assert len(turns) == 5  # one of four was lost, and is measured again
    results = json.loads(output.read_text())['devices']
    assert {m['runs'] for device in results for m in device['models']} == {6}
    assert not list(tmp_path.glob('*.jsonl'))


def test_after_a_lost_connection_the_files_stay_for_the_run_that_goes_on(
    start_device, device_program, two_models
):
    device = start_device()
    case = cases_of(two_models[:1])[0]
    found = open_phone(device, device_program)
    found.prepare([case])
    device.disconnect()
    with pytest.raises(DeviceLostError):
        found.turn(case, threads=1, warmup_runs=1, runs=1)
    found.close()
    device.connect()
    assert sorted(Path(path).suffix for path in device.listing()) == ['', '.tflite']
    again = open_phone(device, device_program)
    again.prepare([case])
    again.close()
    assert device.listing() == []


def run_command(device, program, models, output):
    """The command line, on a device; its own process, as it is that gets the signals."""
    command = [sys.executable, '-m', 'benchmark.main', '--device=adb', f'--serial={device.serial}']
    command += [f'--benchmark_model={program}', f'--models={",".join(map(str, models))}']
    command += ['--rounds=1', '--runs=2', '--core=1', f'--output={output}']
    root = Path(main.__file__).parents[1]
    options = {'cwd': root, 'env': {**os.environ, 'TMPDIR': tempfile.gettempdir()}, 'text': True}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, 'it does not come'
        time.sleep(0.05)


@pytest.mark.parametrize('times', [1, 2])
def test_ctrl_c_ends_a_tool_that_hangs_and_leaves_the_phone_as_it_was(
    start_device, device_program, two_models, tmp_path, times
):
    device = start_device()
    device.tells('FAULT', 'hang')
    output = tmp_path / 'results.json'
    process = run_command(device, device_program, two_models, output)
    running = device.files / 'RUNNING'
    wait_until(lambda: running.exists() and running.read_text())
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, told = process.communicate(timeout=60)
    assert told.splitlines()[-1] == 'error: interrupted'
    assert process.returncode == 2
    assert device.listing() == []
    assert not list(tmp_path.glob('results.json*'))
    (shell,) = adb.find([device.serial])
    wait_until(lambda: shell.run('kill', '-0', running.read_text()).code)  # the tool is gone


def test_two_commands_do_not_measure_on_one_phone(
    start_device, device_program, two_models, tmp_path
):
    device = start_device()
    found = open_phone(device, device_program)
    found.prepare(cases_of(two_models))
    process = run_command(device, device_program, two_models, tmp_path / 'results.json')
    _, told = process.communicate(timeout=60)
    assert f'error: {device.serial} is being measured by another command' in told
    assert [path for path in device.listing() if path.endswith('.tflite')]
    found.close()


def test_other_cores_do_not_go_on_with_a_measurement(
    start_device, device_program, two_models, tmp_path
):
    device, output, cases = start_device(), tmp_path / 'results.json', cases_of(two_models)
    found = open_phone(device, device_program, core='1')
    turn, turns = found.turn, []

    def interrupt(case, **options):
        turns.append(case)
        return turn(case, **options) if len(turns) < 3 else stop()

    def stop():
        raise KeyboardInterrupt

    found.turn = interrupt
    with pytest.raises(ValueError, match=r'^interrupted; 2 turns are kept in'):
        main.report([found], cases, BRIEF, output)
    assert device.listing() == []
    other = open_phone(device, device_program, core='2')
    with pytest.raises(ValueError, match=r'differs in settings.mask \("1" there, "2" here\); give'):
        main.report([other], cases, BRIEF, output)
    main.report([open_phone(device, device_program, core='1')], cases, BRIEF, output)
    (result,) = json.loads(output.read_text())['devices']
    assert result['facts']['mask'] == '1'


def test_a_full_phone_is_told_and_left_clean(start_device, two_models, tmp_path):
    device = start_device(data_size='1m')
    (shell,) = adb.find([device.serial])
    large = tmp_path / 'large.tflite'
    large.write_bytes(bytes(3 << 20))
    with pytest.raises(
        DeviceError, match=r'has no space for the 3.1 MB of large.tflite; free some'
    ):
        phone_files.PhoneFiles(shell).put(large, sha256_of(large))
    assert device.listing() == []


def test_a_program_for_another_architecture_is_told(start_device, two_models, tmp_path):
    device = start_device()
    device.tells('getprop', '[ro.product.cpu.abi]: [arm64-v8a]\n')
    # The head of a 64-bit ELF program for SPARC.
    program = tmp_path / 'benchmark_model'
    program.write_bytes(b'\x7fELF\x02\x02\x01' + bytes(9) + b'\x00\x02\x00\x2b' + bytes(44))
    for options in ({'core': '1'}, {}):
        found = open_phone(device, program, **options)
        with pytest.raises(DeviceError, match=r'exit code \d+: .*; expected a build for arm64-v8a'):
            found.prepare(cases_of(two_models[:1]))
        found.close()


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        ('crash', r"conv1.tflite: .* exit code 1: 'ERROR: Failed to apply XNNPACK delegate.'"),
        ('garbage', r'conv1.tflite: .* gave 0 lines of counts, .* it said .*what is this'),
        ('old', r'conv1.tflite: .* was given --use_xnnpack=true and does not echo it'),
    ],
)
def test_a_tool_that_fails_is_quoted(start_device, device_program, two_models, fault, message):
    device = start_device()
    device.tells('FAULT', fault)
    with pytest.raises(DeviceError, match=message):
        open_phone(device, device_program).prepare(cases_of(two_models[:1]))


def test_a_file_that_the_runtime_refuses_is_named(
    start_device, device_program, two_models, tmp_path
):
    cut = tmp_path / 'cut.tflite'
    cut.write_bytes(two_models[0].read_bytes()[:400])
    found = open_phone(start_device(), device_program)
    with pytest.raises(DeviceError, match=r'cut.tflite: .* exit code 1: .*Failed to load model'):
        found.prepare(cases_of([two_models[0], cut]))


def test_two_phones_want_a_choice(start_device):
    serials = [start_device().serial, start_device().serial]
    with pytest.raises(DeviceError, match='2 phones are connected, expected --serial to choose'):
        adb.find([])
    with pytest.raises(DeviceError, match=f'--serial names X1, which is not .*: {serials[0]}, '):
        adb.find([serials[0], 'X1'])
    assert [shell.serial for shell in adb.find(['all'])] == serials
    assert [shell.serial for shell in adb.find(serials[::-1] * 2)] == serials[::-1]


def test_without_a_phone_that_is_said_and_a_server_started(adb_network):
    subprocess.run([adbutils.adb_path(), 'kill-server'], check=True)
    with pytest.raises(
        DeviceError, match='no phone is connected over adb, expected one; allow USB'
    ):
        adb.find([])
    with pytest.raises(DeviceError, match='--serial names X1, which is not connected; no phone is'):
        adb.find(['X1'])


def test_a_phone_that_is_gone_at_the_end_does_not_spoil_the_figures(
    start_device, device_program, two_models
):
    device = start_device()
    found = open_phone(device, device_program)
    found.prepare(cases_of(two_models[:1]))
    device.disconnect()
    found.close()
    assert 'what was put on it is still there: ' in found.warnings[-1]
