import json

import pytest

from benchmark import run_report

CARD = {
    'sha256': 'abc',
    'size_bytes': 3_000_000,
    'partitions': 1,
    'evaluation': {
        'examples': 100,
        'keras': {'top1': 0.85},
        'file': {'top1': 0.84},
        'agreement': 0.97,
    },
}
ENTRY = {'sha256': 'abc', 'xnnpack': True, 'median_ms': 1.5, 'p5_ms': 1.25, 'p95_ms': 2.0}


def test_the_table_joins_accuracy_and_latency_by_the_files_sum():
    table = run_report.results_table({'a.tflite': CARD}, [ENTRY])
    row = table.splitlines()[-1]
    assert row == '| a.tflite | 84.0% | 85.0% | 97.0% | 3.00 | 1.500 (1.250–2.000) | 1 |'


def test_a_file_that_changed_since_it_was_measured_is_not_measured():
    table = run_report.results_table({'a.tflite': {**CARD, 'sha256': 'new'}}, [ENTRY])
    assert '| not measured |' in table


def test_each_missing_stage_is_named(tmp_path):
    def write():
        return run_report.write_report(tmp_path, tmp_path / 'exported', tmp_path / 'latency.json')

    protocol = {'threads': 1, 'rounds': 10, 'runs_per_round': 20}
    with pytest.raises(
        ValueError, match=r'results.json is missing; run python -m train.main first'
    ):
        write()
    (tmp_path / 'results.json').write_text('{}')
    with pytest.raises(ValueError, match=r'latency.json is missing; run python -m benchmark.main'):
        write()
    (tmp_path / 'latency.json').write_text(json.dumps({'models': []}))
    with pytest.raises(ValueError, match=r'latency.json holds no results of benchmark.main'):
        write()
    (tmp_path / 'latency.json').write_text(json.dumps({'protocol': protocol, 'devices': []}))
    with pytest.raises(ValueError, match=r'holds no device; measure again'):
        write()
    device = {'name': 'host', 'facts': {}, 'warnings': [], 'models': [], 'ratios': []}
    (tmp_path / 'latency.json').write_text(json.dumps({'protocol': protocol, 'devices': [device]}))
    with pytest.raises(ValueError, match=r'has no .tflite file with a card; run python -m export'):
        write()


def test_a_files_name_stays_text_in_its_cell():
    table = run_report.results_table({'a|b.tflite': CARD}, [ENTRY])
    assert table.splitlines()[-1].startswith('| a&#124;b.tflite | 84.0%')


def test_a_tool_that_tells_no_percentiles_leaves_them_out():
    entry = {**ENTRY, 'p5_ms': None, 'p95_ms': None}
    assert '| 1.500 |' in run_report.results_table({'a.tflite': CARD}, [entry])


@pytest.mark.parametrize('order', [1, -1])
def test_of_a_file_measured_twice_the_turns_with_xnnpack_count(order):
    entries = [ENTRY, {**ENTRY, 'xnnpack': False, 'median_ms': 9.0}][::order]
    assert '| 1.500 (' in run_report.results_table({'a.tflite': CARD}, entries)


def test_the_text_tells_the_device_and_its_protocol():
    card = {
        **CARD,
        'spec': {'name': 'small'},
        'config': {'data': {'dataset': 'folder:a|b'}, 'train': {'batch_size': 8}},
    }
    measured = {
        'protocol': {'threads': 1, 'rounds': 10, 'runs_per_round': 20},
        'devices': [{'name': 'host', 'facts': {'cpu': 'a <cpu>'}}],
    }
    results = {'step': 5, 'averaged': {'top1': 0.5}, 'raw': {'top1': 0.25}}
    text = run_report._markdown(results, {'a.tflite': card}, measured, 'TABLE')
    assert '# small on folder:a&#124;b' in text
    assert 'on host (cpu a &lt;cpu&gt;): 1 thread' in text
    assert '10 rounds of 20 runs' in text
