import hashlib
import json

import pytest

from benchmark import report, results
from benchmark.device import Case
from benchmark.latency import summarize, turn_of
from benchmark.paper import figures_ablations, report_tables
from benchmark.paper.grid import ENTRIES, Entry
from benchmark.paper.measured import Accuracy, DeviceResults, MeasuredGrid
from benchmark.paper.paper_tables import TABLE_3, TABLE_5, TABLE_7, TABLE_8
from benchmark.session import Protocol
from mobilenet_v3.spec_file import to_dict

LARGE, V2 = 'large_1_224_float32', 'v2_1_224_float32'
PICTURES = {f'figure_{n}.png' for n in (1, 2, 6, 7, 8, 9)}
NASTY = 'x|<script>alert(1)</script>$'


def latency_of(key, ms, sha256=''):
    # 2 % of noise that is the same for every key
    turns = [turn_of([ms * (1 + 0.02 * (i % 3 - 1))]) for i in range(6)]
    fixed = {'size_bytes': 12, 'threads': 1, 'xnnpack': True}
    return summarize(turns, model=key, sha256=sha256 or key, **fixed)


def device(latencies_ms, name='host'):
    latencies = {key: latency_of(key, ms) for key, ms in latencies_ms.items()}
    return DeviceResults(name, {}, (), (), latencies, ())


def row(text, name):
    return next(line for line in text.splitlines() if line.startswith(f'| {name} |'))


@pytest.fixture
def measured_files(tmp_path):
    """Files of V3-Large, V2 and one that is no row, with cards, measured by two devices."""

    def add(name, entry, **changes):
        content = b'1234TFL3' + name.encode()
        sha256 = hashlib.sha256(content).hexdigest()
        (tmp_path / f'{name}.tflite').write_bytes(content)
        card = {
            'name': name,
            'sha256': sha256,
            'scheme': entry.scheme,
            'hard_swish': entry.hard_swish,
            'spec': to_dict(entry.spec),
            'input': {'shape': [1, 224, 224, 3]},
            'output': {'shape': [1, 1000]},
            **changes,
        }
        (tmp_path / f'{name}.json').write_text(json.dumps(card))
        return Case(f'{name}.tflite', tmp_path / f'{name}.tflite', sha256, 12)

    evaluation = {'examples': 400, 'file': {'top1': 0.801}}
    config = {'data': {'dataset': 'folder:' + NASTY}}
    cases = [
        add('a', ENTRIES[LARGE], evaluation=evaluation, config=config),
        add('b', ENTRIES[V2], evaluation=None),
        add('c', ENTRIES[V2], evaluation=None, scheme='float16'),
    ]
    entries = []
    for name, ms in (('host', (3.0, 3.6, 9.0)), (NASTY, (40.0, 50.0, 9.0))):
        latencies = [
            latency_of(case.name, one, case.sha256) for case, one in zip(cases, ms, strict=True)
        ]
        facts = {'cpu': NASTY}
        entries.append(results.device_entry(name, facts, [NASTY], cases, latencies))
    results.write_results(tmp_path / 'results.json', Protocol(), entries)
    return tmp_path


def test_the_report_is_one_page_of_tables_figures_and_claims(measured_files, tmp_path):
    output = tmp_path / 'new' / 'report'
    told = report.write_report(
        [str(measured_files)], [str(measured_files / 'results.json')], output
    )
    assert {path.name for path in output.iterdir()} == {'report.md', 'report.html', *PICTURES}
    assert told.startswith(
        'host: 2 of the paper’s files measured; claims about latency: 0 borne out; '
        '1 direction borne out, effect smaller; 0 not borne out; 42 not measured\n'
    )
    assert 'not decided: resolution against multiplier' in told
    markdown = (output / 'report.md').read_text()
    large = row(markdown, 'V3-Large 1.0')
    assert '| 80.1 ‡ (75.2) | 216.6 (219) | 5.48 (5.4) | 3.00 | 40.00 | 51 | 61 | 44 |' in large
    assert '| missing (65.4) | 43.8 (44) | 2.41 (2.4) | missing | missing |' in markdown
    claim = row(markdown, 'V3-Large is faster than V2, by 20 %')
    assert (
        'P-1 0.797, P-2 0.803, P-3 0.786 | 0.833 [0.833, 0.833] | −16.7 % '
        '| direction borne out, effect smaller |' in claim
    )
    assert row(markdown, 'V3-Large is faster than MnasNet-A1').endswith('| not measured |')
    assert (
        '## The paper’s claims\n\nNot decided: resolution against multiplier (§6.2, Fig. 7): '
        'accuracies on ImageNet are known here of 0 of the 10 files at other resolutions'
    ) in markdown
    assert 'c.tflite: no row or figure of the paper is this network' in markdown
    html = (output / 'report.html').read_text()
    assert html.count('src="data:image/png;base64,') == len(PICTURES)
    assert 'href=' not in html
    assert '&lt;script&gt;alert(1)' in html


def test_an_interruption_leaves_the_report_that_is_there(measured_files, tmp_path, monkeypatch):
    output = tmp_path / 'report'
    arguments = ([str(measured_files)], [str(measured_files / 'results.json')], output)
    report.write_report(*arguments)
    for path in output.iterdir():
        path.write_text('the old one')

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(figures_ablations, 'figure_9', interrupt)  # the last that is drawn
    with pytest.raises(KeyboardInterrupt):
        report.write_report(*arguments)
    assert {path.name for path in output.iterdir()} == {'report.md', 'report.html', *PICTURES}
    assert {path.read_text() for path in output.iterdir()} == {'the old one'}


def test_names_of_others_stay_text(measured_files, tmp_path):
    report.write_report([str(measured_files)], [str(measured_files / 'results.json')], tmp_path)
    for name in ('report.md', 'report.html'):
        assert '<script' not in (tmp_path / name).read_text()
    markdown = (tmp_path / 'report.md').read_text()
    tables = [line for line in markdown.splitlines() if line.startswith('| V3-Large 1.0 |')]
    assert [line.count('|') for line in tables] == [10, 8, 9]  # Tables 3, 4, 5 with two devices


def test_figures_can_be_drawn_of_nothing_and_of_everything(tmp_path):
    everything = {key: 1.0 + i / 10 for i, key in enumerate(ENTRIES)}
    for measured in (
        MeasuredGrid((device({}),), {}, ()),
        MeasuredGrid((device(everything), device(everything, 'pixel_3')), {}, ()),
    ):
        blocks = report._figures(measured, tmp_path)
        assert len(blocks) == 3 * len(PICTURES)
        for name in PICTURES:
            assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')
            (tmp_path / name).unlink()


def test_a_caption_names_what_is_not_drawn(tmp_path):
    resolutions = {
        Entry(network, resolution=r).key: Accuracy(0.7, 50_000, 'imagenet2012', True)
        for network in ('large', 'small')
        for r in (96, 128, 160, 192)
    }
    caption = report._figures(MeasuredGrid((device({}),), resolutions, ()), tmp_path)[11]
    assert caption.endswith('No accuracy is known of: Large 256², Small 256².')


def test_each_form_and_each_device_has_its_column():
    decomposed = f'{LARGE}_decomposed'
    measured = MeasuredGrid(
        (device({LARGE: 1.0, decomposed: 2.0}), device({decomposed: 3.0}, 'b')), {}, ()
    )
    text = report_tables.render(TABLE_5, measured)
    assert '| host ms | host (no-opt) ms | b ms | b (no-opt) ms | paper P-1 ms |' in text
    assert row(text, 'V3-Large 1.0') == (
        '| V3-Large 1.0 | missing (75.2) | 1.00 | 2.00 | missing | 3.00 | 51.4 | 57.5 |'
    )


def test_an_accuracy_on_imagenet_has_no_mark():
    accuracies = {LARGE: Accuracy(0.7521, 50_000, 'imagenet2012', True)}
    text = report_tables.render(TABLE_3, MeasuredGrid((device({}),), accuracies, ()))
    assert '| V3-Large 1.0 | 75.2 (75.2) |' in text
    assert '‡' not in text


def test_a_table_that_nothing_fills_says_so():
    text = report_tables.render(TABLE_7, MeasuredGrid((device({}),), {}, ()))
    assert (
        '| 8 | V3 | yes | LR-ASPP | 128 | missing (72.36) | 1.51 (1.51) | 9.47 (9.74) '
        '| missing | missing | missing | 2470 | 657 |'
    ) in text
    assert '||' not in text
    assert '|  |' not in text


def test_an_accuracy_of_test_images_cannot_be_ours():
    full = TABLE_7.rows[7].keys[0]
    accuracies = {full: Accuracy(0.712, 500, 'cityscapes', True)}
    measured = MeasuredGrid((device({}),), accuracies, ())
    assert '| 8 | V3 | yes | LR-ASPP | 128 | 71.20 (72.36) |' in report_tables.render(
        TABLE_7, measured
    )
    text = report_tables.render(TABLE_8, measured)
    assert '| V3 | 16 | 71.2 ‡ (72.6) |' in text
    assert text.endswith(
        '‡ not comparable, not Cityscapes’s test images: V3 OS 16: cityscapes, 500 images.'
    )


def test_the_command_tells_what_is_wrong_in_a_line(measured_files, run_python, tmp_path):
    def run(*arguments):
        return run_python('-m', 'benchmark.report', *arguments, cwd=tmp_path)

    good = (f'--models={measured_files}', f'--results={measured_files / "results.json"}')
    for arguments, said in (
        (good[:1], 'Flag --output must have a value'),
        ((good[0], '--output=out'), '--results is empty'),
        ((good[1], '--output=out'), '--models is empty'),
        ((*good, '--output=results.json/out'), 'results.json'),
    ):
        ended = run(*arguments)
        assert ended.returncode == 2
        assert ended.stderr.startswith('error: ')
        assert ended.stderr.count('\n') == 1
        assert said in ended.stderr


def test_help_needs_neither_tensorflow_nor_matplotlib(run_python, tmp_path):
    code = (
        'import sys, benchmark.report; '
        'print({"tensorflow", "matplotlib", "ai_edge_litert"} & set(sys.modules))'
    )
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'


@pytest.mark.slow  # about 20 s: builds a file
def test_a_file_of_the_grid_finds_its_rows(tmp_path):
    from benchmark import main, session
    from benchmark.host import HostDevice
    from benchmark.paper.grid_files import Job, build

    entry = ENTRIES['small_0.75_224_float32']
    build(Job(entry, str(tmp_path)))
    cases = session.cases_of([tmp_path / f'{entry.key}.tflite'])
    main.report([HostDevice()], cases, Protocol(1, 1, 6, 2), tmp_path / 'results.json')
    told = report.write_report(
        [str(tmp_path)], [str(tmp_path / 'results.json')], tmp_path / 'report'
    )
    assert told.startswith('host: 1 of the paper’s files measured')
    text = (tmp_path / 'report' / 'report.md').read_text()
    small = row(text, 'V3-Small 0.75').split(' | ')
    assert small[1] == 'missing (65.4)'
    assert float(small[4]) > 0
    assert 'Left aside' not in text
