import json
import re

import pytest

from benchmark import results
from benchmark.device import Case
from benchmark.latency import Latency
from benchmark.session import Protocol


def entry(tmp_path, *names):
    cases, latencies = [], []
    for name in names:
        cases.append(Case(name, tmp_path / name, 'ab', 2_000_000))
        latencies.append(
            Latency(name, 'ab', 2_000_000, 1, True, 6, 2.0, 1.0, 3.0, 1.0, 2.0, (2.0, 2.0))
        )
    return results.device_entry('host', {'cpu': 'x'}, ['hot'], cases, latencies)


def test_what_is_written_is_read(tmp_path):
    (tmp_path / 'b.json').write_text('{"name": "Small, int8", "accuracy": 0.5}')
    path = tmp_path / 'results.json'
    results.write_results(path, Protocol(), [entry(tmp_path, 'a.tflite', 'b.tflite')])
    values = results.read_results(path)
    assert values['time'].endswith('+00:00')
    assert values['protocol'] == {**vars(Protocol()), 'batch': 1}
    (device,) = values['devices']
    assert (device['name'], device['facts'], device['warnings']) == ('host', {'cpu': 'x'}, ['hot'])
    assert [model['name'] for model in device['models']] == [None, 'Small, int8']
    assert 'accuracy' not in device['models'][1]
    assert device['ratios'][0]['median'] == 1.0


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('no JSON', 'Expecting value'),
        ('[]', 'the file is [], expected an object'),
        ('{"models": []}', "the file has no 'devices'"),
        ('{"devices": []}', "the file has no 'protocol'"),
    ],
)
def test_other_files_are_refused(tmp_path, content, reason):
    path = tmp_path / 'results.json'
    path.write_text(content)
    message = rf'holds no results of benchmark.main \({re.escape(reason)}.*; measure again'
    with pytest.raises(ValueError, match=message):
        results.read_results(path)


@pytest.mark.parametrize(
    ('place', 'value', 'reason'),
    [
        (('protocol',), None, 'protocol of the file is None, expected an object'),
        (('protocol', 'threads'), '1', "threads of its protocol is '1', expected a whole number"),
        (('protocol', 'rounds'), True, 'rounds of its protocol is True, expected a whole number'),
        (('devices',), {}, 'devices of the file is {}, expected a list'),
        (('devices', 0), None, 'a device is None, expected an object'),
        (('devices', 0), {'name': 'host'}, "a device has no 'facts'"),
        (('devices', 0, 'name'), 3, 'name of a device is 3, expected a text'),
        (('devices', 0, 'facts'), [], 'facts of a device is [], expected an object'),
        (('devices', 0, 'warnings'), None, 'warnings of a device is None, expected a list'),
        (('devices', 0, 'warnings'), [1], 'a warning is 1, expected a text'),
        (('devices', 0, 'ratios'), None, 'ratios of a device is None, expected a list'),
        (('devices', 0, 'models', 0), None, 'a model is None, expected an object'),
        (('devices', 0, 'models', 0, 'sha256'), [], 'sha256 of a model is [], expected a text'),
        (('devices', 0, 'models', 0, 'xnnpack'), 1, 'xnnpack of a model is 1, expected true or fa'),
        (
            ('devices', 0, 'models', 0, 'size_bytes'),
            '9',
            "size_bytes of a model is '9', expected a w",
        ),
        (('devices', 0, 'models', 0, 'p5_ms'), 'x', "p5_ms of a model is 'x', expected a number"),
        (('devices', 0, 'models', 0, 'p95_ms'), None, 'a model has one of p5_ms and p95_ms, expe'),
        (('devices', 0, 'models', 0, 'round_medians_ms'), 2, 'round_medians_ms of a model is 2, '),
        (('devices', 0, 'models', 0, 'median_ms'), None, 'a.tflite took (None, 2.0, 2.0)'),
    ],
)
def test_members_of_other_types_are_refused(tmp_path, place, value, reason):
    path = tmp_path / 'results.json'
    results.write_results(path, Protocol(), [entry(tmp_path, 'a.tflite')])
    values = inside = json.loads(path.read_text())
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    path.write_text(json.dumps(values))
    message = rf'holds no results of benchmark.main \({re.escape(reason)}.*; measure again'
    with pytest.raises(ValueError, match=message):
        results.read_results(path)


def test_missing_results_name_the_stage(tmp_path):
    with pytest.raises(ValueError, match=r'results.json is missing; run python -m benchmark.main'):
        results.read_results(tmp_path / 'results.json')


@pytest.mark.parametrize('content', ['{}', '{"name": 3}'])
def test_a_card_without_a_name_gives_none(tmp_path, content):
    (tmp_path / 'a.json').write_text(content)
    assert results.card_name(tmp_path / 'a.tflite') is None


@pytest.mark.parametrize('content', [b'{"name": ', b'\xff\xfe\x00'])
def test_a_card_that_is_not_json_is_refused(tmp_path, content):
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'a.json is not JSON: .*; export again or remove it'):
        results.card_name(tmp_path / 'a.tflite')
