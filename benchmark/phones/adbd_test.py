"""Phones measured over a real adb, with a real adbd: `conftest.py` starts it."""

import json
import shutil

import pytest

from benchmark import main
from benchmark.device import DeviceError
from benchmark.phones import adb, phone, phone_files
from benchmark.session import Protocol, cases_of

PIXEL_3 = """\
[ro.build.version.release]: [12]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.device]: [blueline]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 3]
"""


def open_phone(device, program, **options):
    (found,) = phone.find([device.serial], str(program), **options)
    return found


def test_the_shell_tells_exit_codes_and_takes_words_literally(start_device):
    (shell,) = adb.find([start_device().serial])
    done = shell.run('sh', '-c', 'echo "$1"; echo err >&2; exit 7', 'sh', "a 'b' $HOME; ls")
    assert done.code == 7
    assert done.text.splitlines() == ["a 'b' $HOME; ls", '', 'err']


def test_a_phone_is_measured_and_left_as_it_was(start_device, device_program, two_models, tmp_path):
    device = start_device()
    device.tells('getprop', PIXEL_3)
    device.tells('dumpsys_battery', '  USB powered: true\n  level: 12\n  scale: 100\n')
    found = open_phone(device, device_program, core='1')
    output = tmp_path / 'results.json'
    main.report(
        [found],
        cases_of(two_models, 'both'),
        Protocol(threads=1, warmup_runs=1, rounds=2, runs_per_round=3),
        output,
    )
    (results,) = json.loads(output.read_text())['devices']
    assert results['name'] == f'pixel_3_127_0_0_1_{device.port}'
    facts = results['facts']
    assert (facts['model'], facts['device'], facts['mask']) == ('Pixel 3', 'blueline', '1')
    assert facts['condition_before']['battery_percent'] == 12
    assert facts['condition_before']['screen_on'] == 'unknown'
    assert [m['xnnpack'] for m in results['models']] == [True, False, True, False]
    assert {m['runs'] for m in results['models']} == {6}
    assert all(m['median_ms'] > 0 and m['p95_ms'] >= m['median_ms'] for m in results['models'])
    assert results['warnings'] == ['the battery is at 12 %; charge it, phones save power then']
    assert device.listing() == []


def test_nothing_is_brought_twice_and_half_a_file_is_brought_anew(
    start_device, two_models, monkeypatch
):
    device = start_device()
    (shell,) = adb.find([device.serial])
    pushed = []
    push = shell.push
    monkeypatch.setattr(shell, 'push', lambda *a: (pushed.append(a[0].name), push(*a)))
    (case, _) = cases_of(two_models)
    path = phone_files.PhoneFiles(shell).put(case.file, case.sha256, '.tflite')
    assert path == f'/data/local/tmp/mobilenet_v3/{case.sha256}.tflite'
    again = phone_files.PhoneFiles(shell)
    assert again.put(case.file, case.sha256, '.tflite') == path
    assert pushed == ['conv1.tflite']
    shell.run('sh', '-c', f'echo > {path}')
    phone_files.PhoneFiles(shell).put(case.file, case.sha256, '.tflite')
    assert pushed == ['conv1.tflite'] * 2
    again.remove()
    assert device.listing() == []


def test_a_phone_without_properties_is_called_by_its_serial(
    start_device, device_program, two_models
):
    device = start_device()
    found = open_phone(device, device_program)
    assert found.name == f'phone_127_0_0_1_{device.port}'
    assert found.facts()['model'] == 'unknown'
    found.prepare(cases_of(two_models[:1]))
    assert found.warnings == [
        'it tells no frequencies: the scheduler chooses cores; give --core a mask'
    ]


def test_ops_are_profiled(start_device, device_program, two_models):
    device = start_device()
    found = open_phone(device, device_program)
    case = cases_of(two_models[:1], 'false')[0]
    found.prepare([case])
    profile = found.profile(case, threads=1, warmup_runs=1, runs=3)
    assert 'CONV_2D' in [op.kind for op in profile.ops]
    found.close()
    assert device.listing() == []


def test_the_app_is_installed_run_and_taken_away(
    start_device, device_program, two_models, tmp_path
):
    device = start_device()
    apk = shutil.copy(device_program, tmp_path / 'benchmark.apk')
    found = open_phone(device, apk)
    case = cases_of(two_models[:1])[0]
    found.prepare([case])
    turn = found.turn(case, threads=1, warmup_runs=1, runs=5)
    assert turn.runs == 5
    assert found.warnings == ['the tool cannot be pinned here: the scheduler chooses its cores']
    with pytest.raises(
        DeviceError, match='app tells no ops, expected --benchmark_model to be a pro'
    ):
        found.profile(case, threads=1, warmup_runs=1, runs=1)
    found.close()
    assert not (device.files / 'app').exists()
    assert device.listing() == []


def test_the_app_of_the_phone_stays_there_and_its_errors_are_told(
    start_device, device_program, two_models
):
    device = start_device()
    found = open_phone(device, 'apk')
    with pytest.raises(DeviceError, match='the benchmark app is not installed, expected org'):
        found.prepare(cases_of(two_models[:1]))
    found.close()
    shutil.copy(device_program, device.files / 'app')
    found = open_phone(device, 'apk')
    device.tells('FAULT', 'crash')
    with pytest.raises(
        DeviceError, match=r'conv1.tflite: the benchmark app failed: .*Failed to app'
    ):
        found.prepare(cases_of(two_models[:1]))
    found.close()
    assert (device.files / 'app').exists()
