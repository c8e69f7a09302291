"""A detector from its images to its report: trained, continued, asked, evaluated."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import detection_small_data
from train import loop
from train.data.source import open_source
from train.evaluate import measure
from train.evaluator import Evaluator
from train.predictor import open_predictor
from train.prepare import prepare
from train.run import load_trained
from train.testing import assert_same_variables, at_step, send, variables, write_tflite

REAL = Path(__file__).parents[2] / 'shared' / 'data'
COLORS = ('blue', 'green', 'red')


@pytest.fixture(scope='module')
def folder(tiny_detection_run, box_folder, tmp_path_factory):
    """A folder for command lines, with the run, two files of its network and the images."""
    folder = tmp_path_factory.mktemp('detector')
    (folder / 'run').symlink_to(tiny_detection_run)
    (folder / 'images').symlink_to(box_folder / 'JPEGImages')
    aside = folder / 'aside'  # data kept aside, with one list
    (aside / 'ImageSets').mkdir(parents=True)
    (aside / 'ImageSets/test.txt').write_text('test0\ntest1.jpg\n')
    (aside / 'JPEGImages').symlink_to(box_folder / 'JPEGImages')
    (aside / 'Annotations').symlink_to(box_folder / 'Annotations')
    run, model, _ = load_trained(str(tiny_detection_run))
    write_tflite(folder / 'raw.tflite', model, run)
    write_tflite(folder / 'bare.tflite', model)
    return folder


@pytest.fixture(scope='module')
def evaluated(folder, run_commands):
    cases = {
        'run': ['--model=run', '--output=of_run'],
        'test': ['--model=run', '--output=of_test', '--split=test'],
        'file': ['--model=raw.tflite', '--output=of_file'],
        'aside': ['--model=run', '--output=of_aside', '--split=test', '--dataset=voc:aside'],
        'no card': ['--model=bare.tflite', '--output=x'],
        'labels': ['--model=run', '--output=x', '--labels=two.txt'],
    }
    (folder / 'two.txt').write_text('a\nb\n')
    return run_commands('train.evaluate', cases, folder, imports='tensorflow_datasets')


@pytest.fixture(scope='module')
def predicted(folder, run_commands, tmp_path_factory):
    folder = shutil.copytree(folder, tmp_path_factory.mktemp('predicted') / 'x', symlinks=True)
    cases = {
        'table': ['images', '--model=run', '--score=0', '--top=2', '--sheet=sheet.png'],
        'json': ['images', '--model=run', '--format=json', '--score=0.001'],
        'nothing': ['images/val0.jpg', '--model=run', '--score=1'],
    }
    return folder, run_commands('train.predict', cases, folder, imports='tensorflow_datasets')


def read(folder):
    return json.loads((folder / 'results.json').read_text())


# -------------------------------------------------------------------------------- training


def test_a_run_leaves_all_figures(tiny_detection_run):
    figures = read(tiny_detection_run)['averaged']
    assert len(figures) == 13
    assert 0 <= figures['map'] <= figures['map50'] <= 1
    assert np.isfinite(figures['loss'])


def test_room_is_made_for_more_boxes_than_expected(tiny_detection_config, capsys):
    config = tiny_detection_config()
    config.data.max_boxes = 1
    prepared = prepare(config, None)
    assert prepared.run.config.data.max_boxes == 2
    assert prepare(config, prepared.run.to_state()).run.config.data.max_boxes == 2
    batch = prepared.make_task(prepared.run).eval_example(
        next(iter(prepared.source.val.examples()))
    )
    assert batch['valid'].numpy().tolist() == [True, True]
    assert 'an image has 2 boxes: config.data.max_boxes is raised' in capsys.readouterr().err


def test_a_detector_learns(tiny_detection_config, tmp_path):
    config = tiny_detection_config()
    config.train.epochs, config.augment.boxes.crop = 16.0, 0.0
    config.schedule.kind, config.schedule.learning_rate = 'cosine', 0.05
    loop.run(config, str(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    losses = [line['train/loss'] for line in lines if 'train/loss' in line]
    assert losses[-1] < 0.5 * losses[0]


def test_a_stopped_run_ends_as_if_undisturbed(
    tiny_detection_run, tiny_detection_config, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        at_step(patched, 3, send(signal.SIGTERM))
        assert loop.run(tiny_detection_config(), str(tmp_path)) is None
    assert loop.run(tiny_detection_config(), str(tmp_path)) is not None
    assert_same_variables(tmp_path, variables(tiny_detection_run))
    assert read(tmp_path)['averaged'] == read(tiny_detection_run)['averaged']


def test_a_classifiers_weights_are_a_start(tiny_detection_config, tiny_run, tmp_path, capsys):
    config = tiny_detection_config()
    config.init.source = str(tiny_run)
    config.train.epochs, config.schedule.learning_rate = 0.4, 1e-12
    config.train.weight_decay = 0.0
    loop.run(config, str(tmp_path))
    assert 'layers carried; fresh: ssd; the source has another head' in capsys.readouterr().out
    _, model, _ = load_trained(str(tmp_path))
    _, source, _ = load_trained(str(tiny_run))
    for name in ('stem/conv', 'bneck_4/se/excite', 'last/conv'):
        ours, theirs = (m.get_layer(name).get_weights()[0] for m in (model, source))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


# ---------------------------------------------------------------------------- asked by files


@pytest.mark.parametrize('name', ['run', 'raw.tflite'])
def test_what_is_asked_answers_as_in_training(folder, tiny_detection_run, name):
    run, model, _ = load_trained(str(tiny_detection_run))
    task, val = run.make_task(), open_source(run.config.data, 'detection').val
    expected = Evaluator(task, val, tf.distribute.get_strategy(), 4).statistics(model)
    predictor = open_predictor(str(folder / name))
    assert predictor.task.labels == COLORS
    assert predictor.notes == ()
    found = measure(predictor, val)
    assert found.keys() == expected.keys()
    for part in ('scores', 'loss', 'matches', 'true_boxes', 'size'):
        np.testing.assert_allclose(found[part], expected[part], rtol=1e-3, atol=1e-4, err_msg=part)


def test_the_figures_are_those_of_the_run(evaluated, folder, tiny_detection_run):
    code, out, _ = evaluated['run']
    assert code == 0
    expected = read(tiny_detection_run)['averaged']
    for name in ('of_run', 'of_file'):
        assert read(folder / name)['metrics'] == pytest.approx(expected, abs=2e-3)
    assert out.startswith(f'mAP {expected["map"]:.1%}, AP50 ')
    assert out.endswith('on 7 images with 14 objects\nreport: of_run/report.md\n')


def test_the_test_split_can_be_asked_for(evaluated, folder):
    assert evaluated['test'][0] == 0
    found = read(folder / 'of_test')
    assert (found['split'], found['examples'], found['objects']) == ('test', 4, 8)
    assert 'box' in (folder / 'of_test' / 'report.md').read_text()
    assert Image.open(folder / 'of_test' / 'precision_recall.png').size[0] > 400


def test_data_kept_aside_needs_one_list_only(evaluated, folder):
    assert evaluated['aside'][0] == 0, evaluated['aside'][2]
    assert (read(folder / 'of_aside')['examples'], read(folder / 'of_aside')['split']) == (
        2,
        'test',
    )


def test_a_detector_needs_its_card(evaluated, assert_refused):
    assert_refused(evaluated['no card'], 'bare.tflite is no classifier of images')
    assert_refused(evaluated['labels'], '--labels names 2 classes, run has 3')


def test_a_table_holds_a_line_a_box(predicted):
    folder, results = predicted
    code, out, err = results['table']
    assert code == 0
    head, *lines = out.splitlines()
    assert head.split() == ['file', 'label', 'score', 'ymin', 'xmin', 'ymax', 'xmax']
    assert len(lines) == 2 * 21
    assert lines[0].split()[0] == 'images/test0.jpg'
    box = [float(x) for x in lines[0].split()[-4:]]
    assert 0 <= box[0] < box[2] <= 1
    assert err == 'sheet: sheet.png\n'
    assert Image.open(folder / 'sheet.png').size[0] > 1200


def test_json_holds_boxes(predicted):
    found = json.loads(predicted[1]['json'][1])
    assert len(found) == 21
    for image in found:
        scores = [p['score'] for p in image['predictions']]
        assert scores == sorted(scores, reverse=True)
        assert all(score >= 0.001 for score in scores)
        for prediction in image['predictions']:
            assert prediction['label'] in COLORS
            assert len(prediction['box']) == 4


def test_an_image_without_detections_says_so(predicted):
    assert predicted[1]['nothing'][1].splitlines()[1].split() == ['images/val0.jpg', 'nothing']


# ---------------------------------------------------------------------------------- real data


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason='needs the shared data folder beside the repository')
def test_released_weights_and_real_boxes_take_a_step(tmp_path, capsys):
    config = detection_small_data.get_config()
    config.model.name = 'small_1024'
    config.data.dataset = f'voc:{REAL / "bccd"}'
    config.init.source = str(REAL / 'released' / 'v3-small_224_1.0_uint8.tflite')
    config.train.batch_size, config.train.epochs = 4, 4 / 205
    loop.run(config, str(tmp_path))
    assert '86 layers carried; fresh: ssd; ' in capsys.readouterr().out
    run, _, _ = load_trained(str(tmp_path))
    assert run.labels == ('Platelets', 'RBC', 'WBC')
    assert read(tmp_path)['examples'] == 87
