import json
import re
from pathlib import Path

import pytest

from benchmark import host, main

PROTOCOL = {'threads': 1, 'warmup_runs': 1, 'rounds': 2, 'runs_per_round': 3}


@pytest.fixture
def measured(monkeypatch):
    """Replaces the measuring; the list of calls that reached it."""
    calls = []

    def measure(files, *, progress, **protocol):
        calls.append((list(files), protocol))
        return [
            host.Latency(file.name, 'ab', 2_000_000, 1, 6, 2.0, 1.0, 3.0, 1.0, 2.0, (2.0, 2.0))
            for file in files
        ]

    monkeypatch.setattr(host, 'measure', measure)
    return calls


def test_a_directory_stands_for_its_tflite_files_by_name(tmp_path):
    for name in ('b.tflite', 'a.tflite', 'a.json', 'notes.txt'):
        (tmp_path / name).touch()
    files = main.find_models(['z.tflite', str(tmp_path)])
    assert files == [Path('z.tflite'), tmp_path / 'a.tflite', tmp_path / 'b.tflite']


def test_a_directory_without_models_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'holds no .tflite file, expected at least one; export'):
        main.find_models([str(tmp_path)])


def test_no_model_is_refused():
    with pytest.raises(ValueError, match=r'--model is empty, expected .tflite files or direct'):
        main.find_models([])


def test_report_prints_the_table_and_writes_the_figures(measured, tmp_path, capsys):
    files = [tmp_path / 'a.tflite', tmp_path / 'b.tflite']
    (tmp_path / 'b.json').write_text('{"name": "Small, int8", "accuracy": 0.5}')
    output = tmp_path / 'new' / 'results.json'
    main.report(files, output, **PROTOCOL)
    assert measured == [(files, PROTOCOL)]
    printed = capsys.readouterr().out
    assert '| b.tflite |' in printed
    assert f'written to {output}' in printed
    document = json.loads(output.read_text())
    assert document['protocol'] == {**PROTOCOL, 'batch': 1}
    assert document['host']['runtime'].startswith('ai-edge-litert ')
    assert document['time'].endswith('+00:00')
    assert [entry['name'] for entry in document['models']] == [None, 'Small, int8']
    assert 'accuracy' not in document['models'][1]
    assert document['ratios'][0]['median'] == 1.0
    assert [file.name for file in output.parent.iterdir()] == ['results.json']


@pytest.mark.parametrize('content', ['{}', '{"name": 3}'])
def test_a_card_without_a_name_gives_none(tmp_path, content):
    (tmp_path / 'a.json').write_text(content)
    assert main.card_name(tmp_path / 'a.tflite') is None


@pytest.mark.parametrize('content', [b'{"name": ', b'\xff\xfe\x00'])
def test_a_card_that_is_not_json_is_refused(tmp_path, content):
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'a.json is not JSON: .*; export again or remove it'):
        main.card_name(tmp_path / 'a.tflite')


@pytest.mark.parametrize('name', ['a.tflite', 'a.json'])
def test_output_over_a_model_or_its_card_is_refused(measured, tmp_path, name):
    (tmp_path / 'a.json').write_text('{}')
    with pytest.raises(ValueError, match=r'is the place of a.tflite or of its card, expected a fi'):
        main.report([tmp_path / 'a.tflite'], tmp_path / name, **PROTOCOL)
    assert not measured


def test_output_that_is_a_directory_is_refused(measured, tmp_path):
    with pytest.raises(ValueError, match='is a directory, expected a file; add a file name'):
        main.report([tmp_path / 'a.tflite'], tmp_path, **PROTOCOL)
    assert not measured


def test_help_names_the_flags(run_python, tmp_path):
    result = run_python('-m', 'benchmark.main', '--help', cwd=tmp_path)
    for flag in ('model', 'threads', 'warmup', 'rounds', 'runs', 'output'):
        assert re.search(rf'^ *--{flag}:', result.stdout, re.MULTILINE)


def test_import_leaves_the_slow_modules_alone(run_python, tmp_path):
    slow = "{'tensorflow', 'tf_keras', 'ai_edge_litert'}"
    code = f'import sys, benchmark.main; print(sys.modules.keys() & {slow})'
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'


def test_a_wrong_file_is_one_line_and_exit_code_2(run_python, tmp_path):
    (tmp_path / 'a.tflite').write_text('not a model')
    result = run_python('-m', 'benchmark.main', '--model=a.tflite', cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith('error: a.tflite is not a TFLite file')
    assert result.stderr.count('\n') == 1
    assert not (tmp_path / 'results.json').exists()
