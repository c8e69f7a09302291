import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.data.source import open_source
from train.evaluate import measure
from train.evaluator import Evaluator
from train.predictor import open_predictor
from train.run import load_trained
from train.testing import write_tflite

# Command lines and what the last line of the error says.
BAD = {
    'no output': (['--model=run'], 'Flag --output must have a value other than None'),
    'positional': (['--model=run', '--output=x', 'val'], "unexpected argument 'val'"),
    'no such model': (['--model=gone', '--output=x'], 'there is no gone; expected a .tflite file'),
    'no such split': (['--model=run', '--output=x', '--split=tests'], '--split=tests'),
    'other classes': (
        ['--model=run', '--output=x', '--dataset=folder:two'],
        'folder:two has other classes than run: 2 there, 3 here; give data of its classes',
    ),
    'other names': (
        ['--model=run', '--output=x', '--labels=names.txt'],
        "class 0 is 'blue' there, 'sky' here; give data of its classes",
    ),
    'no dataset': (
        ['--model=bare.tflite', '--output=x'],
        'bare.tflite does not tell its dataset; give it by --dataset',
    ),
    'file for a folder': (['--model=run', '--output=bare.tflite'], 'bare.tflite'),
}


@pytest.fixture(scope='module')
def folder(tiny_run, image_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp('evaluate')
    run, model, _ = load_trained(str(tiny_run))
    (folder / 'run').symlink_to(tiny_run)
    write_tflite(folder / 'bare.tflite', model)
    write_tflite(folder / 'carded.tflite', model, run)
    (folder / 'names.txt').write_text('sky\ngrass\nfire\n')
    for color in ('blue', 'green'):
        for split in ('train', 'val'):
            shutil.copytree(image_folder / split / color, folder / 'two' / split / color)
    return folder


@pytest.fixture(scope='module')
def results(folder, image_folder, run_commands):
    """(exit code, standard output, standard error) of command lines."""
    dataset = f'--dataset=folder:{image_folder}'
    cases = {name: arguments for name, (arguments, _) in BAD.items()}
    cases['run'] = ['--model=run', '--output=of_run']
    cases['train'] = ['--model=run', '--output=of_train', '--split=train']
    cases['carded'] = ['--model=carded.tflite', '--output=of_carded']
    cases['bare'] = ['--model=bare.tflite', '--output=of/bare', dataset]
    return run_commands('train.evaluate', cases, folder, imports='tensorflow_datasets')


@pytest.mark.parametrize('name', BAD)
def test_a_bad_command_line_is_a_clear_line_and_exit_code_2(results, assert_refused, name):
    assert_refused(results[name], BAD[name][1])


def read(folder):
    return json.loads((folder / 'results.json').read_text())


def test_the_figures_are_those_of_the_run(results, folder, tiny_run):
    code, out, _ = results['run']
    assert code == 0
    found = read(folder / 'of_run')
    expected = read(tiny_run)['averaged']
    assert found['metrics'] == pytest.approx(expected, rel=1e-5)
    assert (found['examples'], found['split'], found['notes']) == (7, 'val', [])
    assert out.startswith(f'top-1 {expected["top1"]:.2%}, loss ')
    assert out.endswith(' on 7 examples\nreport: of_run/report.md\n')


def test_the_other_split_can_be_asked_for(results, folder):
    assert results['train'][0] == 0
    assert (read(folder / 'of_train')['examples'], read(folder / 'of_train')['split']) == (
        10,
        'train',
    )


@pytest.mark.parametrize('name', ['of_carded', 'of/bare'])
def test_a_file_has_the_figures_of_its_run(results, folder, name):
    assert results['carded'][0] == results['bare'][0] == 0
    expected, found = read(folder / 'of_run'), read(folder / name)
    assert found['metrics'] == pytest.approx(expected['metrics'], abs=1e-4)
    # The names of the bare file's classes are those of the data.
    assert found['classes'] == expected['classes']
    assert len(found['notes']) == (0 if name == 'of_carded' else 3)


def test_results_add_up(results, folder):
    found = read(folder / 'of_run')
    right = sum(entry['right'] for entry in found['classes'])
    assert right / 7 == pytest.approx(found['metrics']['top1'])
    assert [entry['examples'] for entry in found['classes']] == [3, 2, 2]
    assert sum(entry['examples'] for entry in found['confusions']) == 7 - right
    assert len(found['mistakes']) == 7 - right
    losses = [entry['loss'] for entry in found['mistakes']]
    assert losses == sorted(losses, reverse=True)


def test_the_report_shows_its_pictures(results, folder):
    for name in ('of_run', 'of/bare'):
        report = (folder / name / 'report.md').read_text()
        assert '| class | examples | found |' in report
        pictures = {'confusion.png', 'mistakes.png'}
        assert {p.name for p in (folder / name).glob('*.png')} == pictures
        for picture in pictures:
            assert f']({picture})' in report
            assert Image.open(folder / name / picture).size[0] > 400
    assert 'Assumed: bare.tflite has no card' in report


@pytest.mark.parametrize('size', [1, 4, 7])
def test_every_example_counts_once(tiny_run, size, monkeypatch):
    monkeypatch.setattr('train.evaluate.BATCH_SIZE', size)
    predictor = open_predictor(str(tiny_run))
    run, model, _ = load_trained(str(tiny_run))
    split = open_source(run.config.data).val
    expected = Evaluator(run.make_task(), split, tf.distribute.get_strategy(), 4).statistics(model)
    found = measure(predictor, split)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)
    assert found['label'].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert found['score'].shape == (7,)
