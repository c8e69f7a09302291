import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from benchmark import paper_grid
from benchmark.paper import grid, head_grid
from benchmark.paper.grid import ENTRIES, Entry
from benchmark.paper.grid_files import Job
from benchmark.paper.head_grid import HeadEntry
from benchmark.paper_grid import build_all, choose, find_runs, run_key
from mobilenet_v3.head_tables import Detector
from mobilenet_v3.heads import DetectionHead
from mobilenet_v3.spec_file import load_model_spec
from train.card_file import card_path, read_card

# Which files


def test_without_a_pattern_all_files_are_chosen_in_their_order():
    assert choose([]) == list(ENTRIES.values())


def test_names_and_patterns_choose_in_the_order_of_the_grid():
    patterns = ['v2_0.35_*', 'large_1_224_int8', 'v2_0.35_224_int8']
    keys = [entry.key for entry in choose(patterns)]
    assert keys == ['large_1_224_int8', 'v2_0.35_224_float32', 'v2_0.35_224_int8']


def test_a_pattern_that_names_nothing_is_refused():
    with pytest.raises(
        ValueError, match=r'--only=larg_1 names no file of the grid; expected .*lar'
    ):
        choose(['v2_*', 'larg_1'])


# Whose weights


@pytest.fixture
def tiny_entry(tiny_spec, monkeypatch):
    monkeypatch.setitem(grid.NETWORKS, 'other_name', load_model_spec(str(tiny_spec)))
    entry = Entry('other_name', resolution=32)
    monkeypatch.setitem(ENTRIES, entry.key, entry)
    return entry


@pytest.fixture
def copied_run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / 'copied')


def test_a_run_is_found_by_its_network_whatever_its_name(tiny_entry, tiny_run):
    run = find_runs([str(tiny_run)])[run_key(tiny_entry)]
    results = json.loads((tiny_run / 'results.json').read_text())
    assert (run.workdir, run.step, run.examples) == (str(tiny_run), 8, 7)
    assert run.metrics == results['averaged'] != results['raw']
    assert len(run.checkpoint) == 64


def test_another_resolution_is_another_network(tiny_entry):
    larger = Entry(tiny_entry.network, resolution=64)
    wider = Entry(tiny_entry.network, 1.25, 32)
    assert len({run_key(entry) for entry in (tiny_entry, larger, wider)}) == 3


def test_a_run_of_a_detector_is_found_by_its_head_too(tiny_spec, tiny_detection_run, monkeypatch):
    spec = load_model_spec(str(tiny_spec))
    entries = []
    for name, extras in (('trained', (32, 16, 16, 16)), ('other', (16, 16, 16, 16))):
        row = Detector(spec, DetectionHead(extras))
        monkeypatch.setitem(head_grid.DETECTORS, name, row)
        entries.append(HeadEntry(name, (64, 64)))
        monkeypatch.setitem(ENTRIES, name, entries[-1])
    runs = find_runs([str(tiny_detection_run)])
    assert [run_key(entry) in runs for entry in entries] == [True, False]
    assert 'map' in runs[run_key(entries[0])].metrics


@pytest.mark.parametrize('results', [None, {'step': 4}])
def test_a_run_that_has_not_ended_has_no_accuracy(tiny_entry, copied_run, capsys, results):
    (copied_run / 'results.json').unlink()
    if results:
        (copied_run / 'results.json').write_text(json.dumps(results))
    run = find_runs([str(copied_run)])[run_key(tiny_entry)]
    assert (run.examples, run.metrics) == (None, None)
    assert 'copied has not ended: its files have no accuracy' in capsys.readouterr().out


def test_a_run_of_a_network_that_the_grid_has_not_is_refused(tiny_run):
    with pytest.raises(ValueError, match=r'is tiny × 1 at 32×32 with 3 channels, which no file'):
        find_runs([str(tiny_run)])


def test_two_runs_of_one_network_are_refused(tiny_entry, tiny_run, copied_run):
    with pytest.raises(ValueError, match=r'tiny_run.* and .*copied trained the same network'):
        find_runs([str(tiny_run), str(copied_run)])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match='has no checkpoint; expected the --workdir of a run'):
        find_runs([str(tmp_path)])


# Building


@pytest.fixture
def jobs(tmp_path):
    return [Job(Entry('small', 0.35, 32 * i), str(tmp_path)) for i in range(1, 7)]


@pytest.mark.parametrize(
    ('failing', 'message'),
    [
        ((2,), r'^1 of 6 files could not be built: small_0.35_96_float32: out of luck. The others'),
        (
            (0, 1, 2, 4, 5),
            r'5 of 6 files .*_32_float32: out of luck; small_0.35_64_.*; small_0.35_96_float32: out'
            r' of luck; and small_0.35_160_float32, small_0.35_192_float32. The others are there; '
            'the same command tries these again',
        ),
    ],
)
def test_failures_are_named_at_the_end(monkeypatch, jobs, capsys, failing, message):
    def run_apart(function, items, *, processes, environment):
        for i, item in enumerate(items):
            yield item, 'out of luck' if i in failing else None

    monkeypatch.setattr(paper_grid, 'run_apart', run_apart)
    with pytest.raises(ValueError, match=message):
        build_all(jobs, processes=3)
    output = capsys.readouterr()
    assert f'{6 - len(failing)} files built in' in output.out
    assert output.err.count('out of luck') == len(failing)


@pytest.mark.slow
def test_what_is_there_is_not_built_again(jobs, monkeypatch, capsys):
    (job,) = jobs[:1]
    build_all([job], processes=1)
    (name, content), built_at = (job.path.name, job.path.read_bytes()), job.path.stat().st_mtime_ns
    assert name == 'small_0.35_32_float32.tflite'
    assert '1 files built in' in capsys.readouterr().out
    build_all([job], processes=1)
    assert job.path.stat().st_mtime_ns == built_at
    assert '0 files built in 0 s, 1 were there' in capsys.readouterr().out
    job.path.write_bytes(content[:1000])
    build_all([job], processes=1)
    assert job.path.read_bytes() == content


def start(output, environment):
    return subprocess.Popen(
        [
            sys.executable,
            '-m',
            'benchmark.paper_grid',
            f'--output={output}',
            '--only=small_0.35_96_float32,small_0.35_128_float32,small_0.5_96_float32',
            '--processes=1',
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_goes_on(tmp_path, python_environment, number):
    first = start(tmp_path / 'new', python_environment)
    while first.poll() is None and not list(tmp_path.glob('new/*.json')):
        time.sleep(0.05)
    if number == signal.SIGINT:  # as a terminal does
        os.killpg(first.pid, number)
    else:
        first.kill()
    _, errors = first.communicate(timeout=60)
    if number == signal.SIGINT:
        assert first.returncode == 2
        assert errors.splitlines()[-1] == 'error: interrupted'
        assert 'Traceback' not in errors
    (early, *_) = tmp_path.glob('new/*.json')
    written_at = early.stat().st_mtime_ns
    again = start(tmp_path / 'new', python_environment)
    output, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert 'were there' in output
    assert early.stat().st_mtime_ns == written_at
    files = sorted(tmp_path.glob('new/*.tflite'))
    assert len(files) == 3
    for file in files:
        assert read_card(file)['weights'] == 'random, normalised'
        assert card_path(file).is_file()


# Command line


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--processes=0'], r'--processes is 0; expected at least 1'),
        (['--only=larg'], r'--only=larg names no file'),
        (['--output=file/models'], r'cannot make --output=file/models'),
    ],
)
def test_a_wrong_flag_is_one_line(run_python, tmp_path, flags, message):
    (tmp_path / 'file').touch()
    done = run_python('-m', 'benchmark.paper_grid', '--output=models', *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: {message}')
    assert done.stderr.count('\n') == 1


def test_help_comes_without_tensorflow(run_python, tmp_path):
    code = (
        'import sys, benchmark.paper_grid\n'
        "assert not {'tensorflow', 'ai_edge_litert'} & set(sys.modules)"
    )
    done = run_python('-c', code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
