import json
import re

import numpy as np
import pytest

import mobilenet_v3
from benchmark import keras_peer, peers
from benchmark.peer_row import make_row

TINY = peers.Setting('small_1024', 'MobileNetV3Small', resolution=32, batch_size=2)


# Command line


@pytest.mark.parametrize('names', [['steps', 'speed'], []])
def test_an_unknown_part_is_refused(names):
    with pytest.raises(
        ValueError, match=r'expected one or more of steps, pipeline, latency, litert'
    ):
        peers.check_parts(names)


def test_help_needs_no_tensorflow(run_python, tmp_path):
    slow = "{'tensorflow', 'tf_keras', 'ai_edge_litert'}"
    code = f'import sys, benchmark.peers; print(sys.modules.keys() & {slow})'
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'
    result = run_python('-m', 'benchmark.peers', '--help', cwd=tmp_path)
    for flag in (
        'only',
        'output',
        'released',
        'dataset',
        'rounds',
        'steps',
        'batches',
        'photos',
        'runs',
    ):
        assert re.search(rf'^ *--{flag}:', result.stdout, re.MULTILINE)


@pytest.mark.parametrize('argument', ['--rounds=0', '--only=speed', '--output=.'])
def test_a_wrong_flag_is_one_line_and_exit_code_2(run_python, tmp_path, argument):
    result = run_python('-m', 'benchmark.peers', argument, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1


@pytest.mark.slow
def test_the_command_measures_prints_and_writes(run_python, tmp_path):
    result = run_python(
        *('-m', 'benchmark.peers', '--only=pipeline', '--output=new/bench.json'),
        *('--rounds=1', '--batches=1', '--photos=66'),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    document = json.loads((tmp_path / 'new' / 'bench.json').read_text())
    assert document['protocol']['rounds'] == 1
    rows = document['pipeline']
    assert [row['what'] for row in rows] == [
        'pipeline 224², batch 32',
        'pipeline 96², batch 64',
    ]
    assert all(row['what'] in result.stdout and row['ratio'] > 0 for row in rows)


def test_a_row_is_on_the_disk_before_the_next_is_measured(tmp_path, capsys):
    def rows():
        yield make_row('first', np.ones((2, 3)), 2 * np.ones((2, 3)), 1)
        raise ValueError('no memory')

    output, document = tmp_path / 'bench.json', {'host': 'of the test', 'steps': [1]}
    with pytest.raises(ValueError, match='no memory'):
        peers.keep(output, document, 'pipeline', rows())
    written = json.loads(output.read_text())
    assert (written['host'], written['steps']) == ('of the test', [1])
    assert [(row['what'], row['ratio']) for row in written['pipeline']] == [('first', 2.0)]
    assert 'first' in capsys.readouterr().out


# What is compared


@pytest.mark.parametrize('setting', peers.SETTINGS, ids=lambda setting: setting.model)
def test_both_networks_have_as_many_parameters(setting):
    theirs = keras_peer.make_peer(setting.peer, setting.resolution, peers.NUM_CLASSES)
    ours = mobilenet_v3.count(setting.model, num_classes=peers.NUM_CLASSES)
    assert theirs.count_params() == ours.total_params


@pytest.mark.slow
def test_both_files_compute_the_same_on_activations_of_ordinary_size(tmp_path):
    from train.tflite_file import open_interpreter

    outputs = []
    for file in peers.export_both(TINY, 32, str(tmp_path)):
        interpreter = open_interpreter(file)
        peers.host.set_inputs(interpreter)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]['index']))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)
    assert 1e-3 < np.abs(outputs[0]).max() < 1e3


@pytest.mark.slow
def test_steps_give_a_row_for_the_network_and_two_for_the_whole_step():
    rows = peers.compare_steps(TINY, rounds=1, steps=1)
    assert [row.what for row in rows] == [
        'V3Small, 32², batch 2: network only',
        'V3Small, 32², batch 2: same maths',
        'V3Small, 32², batch 2: against a plain step',
    ]
    # One measurement of a side serves every row that it is in.
    assert rows[0].peer == rows[2].peer
    assert rows[1].ours == rows[2].ours
