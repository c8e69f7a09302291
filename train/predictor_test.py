import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.card_file import card_path
from train.predictor import open_predictor
from train.run import Run, load_trained, resolve_spec
from train.testing import rewrite_states, write_tflite

COLORS = ('blue', 'green', 'red')


@pytest.fixture(scope='module')
def run(tiny_config):
    config = tiny_config()
    config.augment.eval_crop = 0.75
    return Run(config, resolve_spec(config), COLORS)


@pytest.fixture(scope='module')
def files(tiny_model, run, soft_images, tmp_path_factory):
    """Files of one network: float and int8, with and without a card."""
    folder = tmp_path_factory.mktemp('files')
    calibration = soft_images(32)
    return {
        'float': write_tflite(folder / 'float.tflite', tiny_model, run),
        'int8': write_tflite(folder / 'int8.tflite', tiny_model, run, images=calibration),
        'softmax': write_tflite(folder / 'softmax.tflite', tiny_model, run, probabilities=True),
        'bare': write_tflite(folder / 'bare.tflite', tiny_model),
        'bare softmax': write_tflite(
            folder / 'bare_softmax.tflite', tiny_model, images=calibration, probabilities=True
        ),
    }


@pytest.fixture
def copied(files, tmp_path):
    """A file with its card, to be damaged."""
    path = tmp_path / 'x.tflite'
    shutil.copy(files['float'], path)
    shutil.copy(card_path(files['float']), card_path(path))
    return path


def test_a_run_answers_with_its_averaged_weights(tiny_run, soft_images):
    predictor = open_predictor(str(tiny_run))
    _, model, _ = load_trained(str(tiny_run))
    images = soft_images(5)
    expected = model(images, training=False)
    np.testing.assert_allclose(predictor.outputs(images), expected, atol=1e-5)
    assert predictor.task.labels == COLORS
    assert predictor.notes == ()


@pytest.mark.parametrize(
    ('name', 'tolerance'),
    [('float', 1e-5), ('int8', 0.2), ('softmax', 1e-5), ('bare', 1e-5), ('bare softmax', 0.2)],
)
def test_files_answer_as_their_network(files, tiny_model, soft_images, name, tolerance):
    predictor = open_predictor(str(files[name]))
    images = soft_images(9, seed=1)
    expected = tf.nn.softmax(tiny_model(images, training=False)).numpy()
    logits = predictor.outputs(images)
    scores = predictor.answers(logits)
    np.testing.assert_allclose(scores, expected, atol=tolerance)
    assert np.mean(logits.argmax(1) == expected.argmax(1)) >= (1 if tolerance < 0.1 else 8 / 9)


def test_a_card_tells_how_images_are_prepared(files):
    predictor = open_predictor(str(files['int8']))
    assert predictor.config.augment.eval_crop == 0.75
    assert predictor.task.labels == COLORS
    assert predictor.notes == ()


def test_what_is_assumed_without_a_card_is_said(files):
    predictor = open_predictor(str(files['bare softmax']))
    assert predictor.config.augment.eval_crop == 0.875
    assert predictor.task.labels == ('0', '1', '2')
    assert predictor.task.resolution == (32, 32)
    assert predictor.config.data.dataset == ''
    preprocessing, names, gives = predictor.notes
    assert 'has no card with its preprocessing: a central crop of 0.875' in preprocessing
    assert 'numbers stand for them; --labels=FILE names them' in names
    assert gives.endswith('gives probabilities')


@pytest.mark.parametrize('name', ['float', 'bare', 'run'])
def test_labels_take_the_place_of_a_models_own(files, tiny_run, name):
    model = str(tiny_run if name == 'run' else files[name])
    assert open_predictor(model, ('a', 'b', 'c')).task.labels == ('a', 'b', 'c')
    with pytest.raises(ValueError, match=r'--labels names 2 classes, .* has 3'):
        open_predictor(model, ('a', 'b'))


def damage(card, **values):
    card_path(card).write_text(json.dumps({**json.loads(card_path(card).read_text()), **values}))


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'sha256': 'x'}, 'card .*x.json is of another file than .*x.tflite'),
        ({'labels': ['a', 'b']}, 'names 2 classes, .*x.tflite has 3 outputs; export again'),
        ({'spec': 3}, 'card .*x.json is not as the export writes it'),
        ({'labels': None}, 'card .*x.json is not as the export writes it'),
    ],
)
def test_a_card_that_does_not_fit_is_refused(copied, values, words):
    damage(copied, **values)
    with pytest.raises(ValueError, match=words):
        open_predictor(str(copied))


def test_a_task_that_is_unknown_is_refused(copied, run):
    damage(copied, config={**run.to_state()['config'], 'task': 'poetry'})
    with pytest.raises(ValueError, match="is of the task 'poetry'; expected classification"):
        open_predictor(str(copied))


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r'there is no .*gone; expected a \.tflite file or the --w'
    ):
        open_predictor(str(tmp_path / 'gone'))
    with pytest.raises(ValueError, match='has no checkpoint; expected the --workdir of a run'):
        open_predictor(str(tmp_path))
    (tmp_path / 'x').write_text('hello, there')
    with pytest.raises(ValueError, match='x is not a TFLite file'):
        open_predictor(str(tmp_path / 'x'))


def test_a_file_that_is_no_classifier_is_refused(tmp_path):
    image = tf_keras.Input((32, 32, 3))
    model = tf_keras.Model(image, tf_keras.layers.MaxPool2D()(image))
    path = write_tflite(tmp_path / 'x.tflite', model)
    with pytest.raises(ValueError, match=r'x.tflite is no classifier of images: its inputs are'):
        open_predictor(str(path))


def test_the_training_of_an_export_is_refused(tiny_run, tmp_path):
    workdir = tmp_path / 'qat'
    shutil.copytree(tiny_run, workdir)
    rewrite_states(workdir, lambda state: state['config']['quantize'].update(source='abc'))
    with pytest.raises(ValueError, match='is the quantization-aware training of an export; give'):
        open_predictor(str(workdir))


def test_answers_that_are_no_numbers_are_refused(files, soft_images):
    predictor = open_predictor(str(files['float']))
    broken = dataclasses.replace(predictor, network=lambda images: np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match='answers with NaN or infinity'):
        broken.outputs(soft_images(1))
