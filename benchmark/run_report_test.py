import json
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmark import run_report
from export.stage import Options, export
from export.start import from_run

CARD = {
    'sha256': 'abc',
    'size_bytes': 3_000_000,
    'partitions': 1,
    'evaluation': {
        'examples': 100,
        'goal': 'top1',
        'keras': {'top1': 0.85},
        'file': {'top1': 0.84},
        'agreement': 0.97,
    },
}
ENTRY = {'sha256': 'abc', 'xnnpack': True, 'median_ms': 1.5, 'p5_ms': 1.25, 'p95_ms': 2.0}


def test_the_table_joins_accuracy_and_latency_by_the_files_sum():
    table = run_report.results_table({'a.tflite': CARD}, [ENTRY], 'top1')
    row = table.splitlines()[-1]
    assert row == '| a.tflite | 84.0% | 85.0% | 97.0% | 3.00 | 1.500 (1.250–2.000) | 1 |'


def test_a_file_that_changed_since_it_was_measured_is_not_measured():
    table = run_report.results_table({'a.tflite': {**CARD, 'sha256': 'new'}}, [ENTRY], 'top1')
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
    with pytest.raises(ValueError, match=r'has no .tflite file whose card tells how good'):
        write()


def test_a_files_name_stays_text_in_its_cell():
    table = run_report.results_table({'a|b.tflite': CARD}, [ENTRY], 'top1')
    assert table.splitlines()[-1].startswith('| a&#124;b.tflite | 84.0%')


def test_a_tool_that_tells_no_percentiles_leaves_them_out():
    entry = {**ENTRY, 'p5_ms': None, 'p95_ms': None}
    assert '| 1.500 |' in run_report.results_table({'a.tflite': CARD}, [entry], 'top1')


@pytest.mark.parametrize('order', [1, -1])
def test_of_a_file_measured_twice_the_turns_with_xnnpack_count(order):
    entries = [ENTRY, {**ENTRY, 'xnnpack': False, 'median_ms': 9.0}][::order]
    assert '| 1.500 (' in run_report.results_table({'a.tflite': CARD}, entries, 'top1')


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
    text = run_report._markdown(results, card, measured, 'TABLE')
    assert '# small on folder:a&#124;b' in text
    assert 'host (cpu a &lt;cpu&gt;): 1 thread' in text
    assert '10 rounds of 20 runs' in text
    assert 'Evaluated on 100 images, every one once' in text
    assert 'top-1\n50.0% with averaged weights, 25.0% with the raw ones' in text


def test_a_file_that_nobody_evaluated_is_as_fast_as_it_is():
    cards = {'a.tflite': {**CARD, 'evaluation': None}, 'b.tflite': CARD}
    _, _, *lines = run_report.results_table(cards, [ENTRY], 'top1').splitlines()
    assert lines[0] == '| a.tflite | – | – | – | 3.00 | 1.500 (1.250–2.000) | 1 |'
    assert lines[1].startswith('| b.tflite | 84.0% |')


def test_loss_is_of_smoothed_labels_where_they_are(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(run_report, 'save_figure', lambda figure, path: drawn.append(figure))
    line = {'step': 1, 'train/loss': 2.0, 'eval/averaged/miou': 0.5}
    (tmp_path / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    for smoothing, label in ((0.1, 'training (smoothed labels)'), (0.0, 'training')):
        config = {'train': {'label_smoothing': smoothing}}
        card = {'evaluation': {'goal': 'miou'}, 'config': config}
        run_report._plot_curves(tmp_path, card)
        left, right = drawn.pop().axes
        assert [text.get_text() for text in left.get_legend().get_texts()] == [label]
        assert right.get_ylabel() == 'mIoU'
        assert [line.get_label() for line in right.lines] == ['averaged weights']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'outputs', 'metric'),
    [
        ('tiny_run', '', 'top-1'),
        ('tiny_detection_run', 'raw', 'mAP'),
        ('tiny_segmentation_run', 'labels', 'mIoU'),
    ],
)
def test_a_run_of_each_task_has_a_report(request, tiny_recipe, tmp_path, kind, outputs, metric):
    workdir = tmp_path / 'run'
    shutil.copytree(request.getfixturevalue(kind), workdir)
    options = Options(str(workdir / 'exported'), outputs=outputs)
    export(from_run(str(workdir)), options, tiny_recipe())
    device = {'name': 'host', 'facts': {}, 'warnings': [], 'models': [], 'ratios': []}
    protocol = {'threads': 1, 'rounds': 10, 'runs_per_round': 20}
    latency = tmp_path / 'latency.json'
    latency.write_text(json.dumps({'protocol': protocol, 'devices': [device]}))
    told = run_report.write_report(workdir, workdir / 'exported', latency)
    assert f'| file | {metric} | Keras {metric} |' in told
    report = (workdir / 'report.md').read_text()
    assert 'Evaluated on 7 images' in report
    assert f'of 4 images: {metric}\n' in report
    for picture in ('curves.png', 'examples.png'):
        assert np.asarray(Image.open(workdir / picture)).std() > 5
    assert (workdir / 'report.html').read_text().count('data:image/png') == 2
