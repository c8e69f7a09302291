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
ENTRY = {'sha256': 'abc', 'median_ms': 1.5, 'p5_ms': 1.25, 'p95_ms': 2.0}


def test_the_table_joins_accuracy_and_latency_by_the_files_sum():
    table = run_report.results_table({'a.tflite': CARD}, {'models': [ENTRY]})
    row = table.splitlines()[-1]
    assert row == '| a.tflite | 84.0% | 85.0% | 97.0% | 3.00 | 1.500 (1.250–2.000) | 1 |'


def test_a_file_that_changed_since_it_was_measured_is_not_measured():
    table = run_report.results_table({'a.tflite': {**CARD, 'sha256': 'new'}}, {'models': [ENTRY]})
    assert '| not measured |' in table


def test_each_missing_stage_is_named(tmp_path):
    def write():
        return run_report.write_report(tmp_path, tmp_path / 'exported', tmp_path / 'latency.json')

    with pytest.raises(
        ValueError, match=r'results.json is missing; run python -m train.main first'
    ):
        write()
    (tmp_path / 'results.json').write_text('{}')
    with pytest.raises(ValueError, match=r'latency.json is missing; run python -m benchmark.main'):
        write()
    (tmp_path / 'latency.json').write_text(json.dumps({'models': []}))
    with pytest.raises(ValueError, match=r'has no .tflite file with a card; run python -m export'):
        write()


def test_the_page_holds_table_and_pictures_and_escapes_names(tmp_path):
    (tmp_path / 'curves.png').write_bytes(b'PNG')
    page = run_report._html(
        tmp_path, '# <b>\n\n| a | b |\n| - | - |\n| 1 | <i> |\n\n![c](curves.png)'
    )
    assert '<h1>&lt;b&gt;</h1>' in page
    assert '<tr><td>1</td><td>&lt;i&gt;</td></tr>' in page
    assert 'src="data:image/png;base64,UE5H"' in page
