import json

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
    'values',
    [
        'no JSON',
        [],
        {'models': []},
        {'devices': [{'name': 'host'}]},
        {'devices': [{'name': 'h', 'facts': {}, 'warnings': [], 'ratios': [], 'models': [{}]}]},
    ],
)
def test_other_files_are_refused(tmp_path, values):
    path = tmp_path / 'results.json'
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    with pytest.raises(ValueError, match=r'holds no results of benchmark.main .*; measure again'):
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
