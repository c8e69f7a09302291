import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train import distill, loop
from train.data.source import open_source
from train.evaluator import Evaluator
from train.run import Run, load_trained, resolve_spec

LOGITS = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], np.float32)
TAUGHT = np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 1.0]], np.float32)
LABELS = np.array([1, 2])


def make_task(config):
    return Run(config, resolve_spec(config), ('blue', 'green', 'red')).make_task()


def taught_task(config, teacher):
    return distill.TaughtTask(make_task(config), distill.Teacher(teacher, 'sum'))


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize('weight', [0.0, 0.25, 1.0])
@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_the_loss_weighs_labels_and_teacher(tiny_config, weight, temperature):
    config = tiny_config()
    config.train.label_smoothing = 0.0
    config.distill.weight, config.distill.temperature = weight, temperature
    batch = {'label': tf.constant(LABELS)}
    found = distill.taught_loss(make_task(config), tf.constant(LOGITS), batch, TAUGHT)
    labels = -log_softmax(LOGITS)[range(2), LABELS]
    shares = np.exp(log_softmax(TAUGHT / temperature))
    teacher = -(shares * log_softmax(LOGITS / temperature)).sum(axis=1)
    expected = (1 - weight) * labels + weight * temperature**2 * teacher
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('width', [4, 9])
def test_similarity_by_hand(width):
    rng = np.random.default_rng(0)
    ours, taught = rng.normal(size=(3, 1, 1, 5)), rng.normal(size=(3, 1, 1, width))

    def alike(features):
        flat = features.reshape(3, -1)
        gram = flat @ flat.T
        return gram / np.linalg.norm(gram, axis=1, keepdims=True)

    expected = distill.FEATURES_SCALE * ((alike(ours) - alike(taught)) ** 2).mean(axis=1)
    np.testing.assert_allclose(distill.similarity_loss(ours, taught), expected, rtol=1e-4)
    np.testing.assert_allclose(distill.similarity_loss(ours, ours), 0, atol=1e-6)


@pytest.mark.parametrize('on', distill.KINDS)
def test_a_network_taught_by_itself_has_nothing_to_learn(tiny_config, tiny_model, soft_images, on):
    config = tiny_config()
    config.distill.weight, config.distill.on = 1.0, on
    task = taught_task(config, tiny_model)
    student = task.build()
    student.set_weights(tiny_model.get_weights())
    images = tf.constant(soft_images(4))
    batch = {'image': images, 'label': tf.constant([0, 1, 2, 0])}
    with tf.GradientTape() as tape:
        loss = task.loss(student(images, training=False), batch)
    gradients = tape.gradient(loss, student.trainable_variables)
    largest = max(float(tf.reduce_max(tf.abs(g))) for g in gradients if g is not None)
    assert largest < 1e-3
    other = task.build()
    assert np.mean(task.loss(other(images, training=False), batch)) > np.mean(loss)


def test_the_teacher_sees_the_images_in_its_own_size(tiny_config, tiny_model, soft_images):
    config = tiny_config()
    config.model.resolution = (48, 40)
    config.distill.weight = 1.0
    task = taught_task(config, tiny_model)  # of 32×32
    images = tf.image.resize(soft_images(2), (48, 40))
    outputs = task.build()(images, training=False)
    assert np.all(np.isfinite(task.loss(outputs, {'image': images, 'label': tf.constant([0, 1])})))


def test_a_run_learns_from_a_run(tiny_config, tiny_run, tmp_path):
    config = tiny_config()
    config.seed = 1
    config.distill.weight, config.distill.teacher = 0.5, str(tiny_run)
    loop.run(config, str(tmp_path))
    run, model, state = load_trained(str(tmp_path))
    assert state['step'] == 8
    assert run.config.distill.source == distill.checksum(load_trained(str(tiny_run))[1])
    metrics = json.loads((tmp_path / 'results.json').read_text())
    assert 0 <= metrics['averaged']['top1'] <= 1
    # The weights that were loaded are those that were evaluated.
    source = open_source(config.data)
    evaluator = Evaluator(run.make_task(), source.val, tf.distribute.get_strategy(), 4)
    assert evaluator.run(model)['loss'] == pytest.approx(metrics['averaged']['loss'], rel=1e-5)


def test_another_teacher_is_another_run(tiny_config, tiny_run, tmp_path):
    config = tiny_config()
    config.train.epochs = 0.4
    config.distill.weight, config.distill.teacher = 0.5, str(tiny_run)
    loop.run(config, str(tmp_path / 'a'))
    config.distill.teacher = str(tmp_path / 'a')
    with pytest.raises(ValueError, match=r'holds another run; .* config.distill.source: '):
        loop.run(config, str(tmp_path / 'a'))


def test_the_checksum_is_of_the_weights(tiny_model):
    again = tf_keras.models.clone_model(tiny_model)
    again.set_weights(tiny_model.get_weights())
    assert distill.checksum(again) == distill.checksum(tiny_model)
    again.layers[1].kernel.assign(again.layers[1].kernel + 1e-6)
    assert distill.checksum(again) != distill.checksum(tiny_model)


@pytest.mark.parametrize(
    ('field', 'value'),
    [('weight', -0.1), ('weight', 1.1), ('temperature', 0.0)],
)
def test_a_distillation_out_of_range_is_refused(tiny_config, tiny_model, field, value):
    config = tiny_config()
    config.distill[field] = value
    message = r'config\.distill has weight .* and temperature .*; expected a weight in \[0, 1\]'
    with pytest.raises(ValueError, match=message):
        taught_task(config, tiny_model)


def test_an_unknown_kind_is_refused(tiny_config, tiny_model):
    config = tiny_config()
    config.distill.on = 'logit'
    with pytest.raises(
        ValueError, match=r"distill.on is 'logit'; expected one of logits, features"
    ):
        taught_task(config, tiny_model)


def test_a_teacher_of_other_classes_is_refused(tiny_config, tiny_run):
    config = tiny_config()
    config.distill.teacher = str(tiny_run)
    with pytest.raises(ValueError, match='tells 3 classes of classification apart, expected the 2'):
        distill.read_teacher(config, ('a', 'b'))


def test_a_teacher_that_is_gone_is_named(tiny_config, tmp_path):
    config = tiny_config()
    config.distill.weight, config.distill.teacher = 0.5, str(tmp_path / 'gone')
    with pytest.raises(ValueError, match='gone has no checkpoint'):
        loop.run(config, str(tmp_path / 'run'))
