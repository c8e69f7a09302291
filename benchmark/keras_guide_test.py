import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from benchmark import keras_guide
from benchmark.keras_peer import make_peer
from configs import base
from mobilenet_v3 import build_model
from train.data.source import open_source
from train.testing import released_arrays


@pytest.fixture
def config(image_folder):
    config = base.get_config()
    config.model.name, config.model.resolution = 'small', (32, 32)
    config.data.dataset = f'folder:{image_folder}'
    return config


@pytest.fixture
def source(config):
    return open_source(config.data)


@pytest.fixture(scope='module')
def tiny_base():
    """A base [N, 8, 8, 3] to [N, 4] with a normalisation."""
    images = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.Conv2D(4, 3)(images)
    x = tf_keras.layers.BatchNormalization()(x)
    return tf_keras.Model(images, tf_keras.layers.GlobalAveragePooling2D()(x))


def batches(size=4):
    images = np.random.default_rng(0).integers(0, 256, (size, 8, 8, 3), np.uint8)
    return tf.data.Dataset.from_tensors((images, np.arange(size) % 2)).repeat()


# The network


def keras_weights(path, soft_images):
    """Random ones of tf_keras.applications, with statistics that keep activations of order one."""
    tf_keras.utils.set_random_seed(0)
    model = make_peer('MobileNetV3Small', 32, 3)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the last batch
    model(soft_images(16), training=True)
    model.save_weights(path)
    pooled = tf_keras.Model(model.input, model.get_layer('Conv_2').input)
    return np.squeeze(pooled(soft_images(4)), (1, 2))


def test_the_base_has_the_features_of_the_weights(config, source, soft_images, tmp_path):
    config.init.source = str(tmp_path / 'keras.weights.h5')
    expected = keras_weights(config.init.source, soft_images)
    made, weights = keras_guide.make_base(config, source)
    found = made(soft_images(4), training=False).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert weights['feature_difference'] < 1e-4
    assert weights['init'] == config.init.source
    # Those of a run that stands beside it must be what it started from.
    config.init.sha256 = 'other'
    with pytest.raises(ValueError, match=r'has changed since the run started .* expected other'):
        keras_guide.make_base(config, source)


def test_folded_weights_get_statistics_and_keep_their_features(config, source, tmp_path):
    model = build_model('small_1024', resolution=32, num_classes=3)
    arrays = released_arrays(model)
    np.savez(tmp_path / 'released.npz', **arrays)
    config.init.source = str(tmp_path / 'released.npz')
    made, weights = keras_guide.make_base(config, source)
    assert weights['feature_difference'] < 1e-4
    # Scale, offset, mean and variance of the stem: the scale undoes the variance.
    gamma, beta, mean, variance = made.get_layer('Conv/BatchNorm').get_weights()
    np.testing.assert_allclose(gamma, np.sqrt(variance + 1e-3), rtol=1e-5)
    np.testing.assert_allclose(beta - mean, arrays['00_CONV_2D_b'], atol=1e-5)
    assert np.abs(mean).max() > 0.01


def test_another_definition_is_refused(config, source, soft_images, tmp_path):
    config.init.source = str(tmp_path / 'keras.weights.h5')
    keras_weights(config.init.source, soft_images)
    config.init.mean, config.init.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    with pytest.raises(ValueError, match=r'features of Keras differ .* normalize Normalize\(mean'):
        keras_guide.make_base(config, source)


def test_the_head_takes_pixels_and_changes_them_in_training_only(tiny_base):
    tf_keras.utils.set_random_seed(0)
    model = keras_guide.add_head(tiny_base, 5)
    images, _ = next(iter(batches()))
    pooled = tiny_base(tf.cast(images, tf.float32) / 127.5 - 1, training=False)
    expected = model.layers[-1](pooled)
    np.testing.assert_allclose(model(images, training=False), expected, atol=1e-5)
    answers = [model(images, training=True).numpy() for _ in range(2)]
    assert np.abs(answers[0] - answers[1]).max() > 0.01


# The training


class Clock:
    """Moves by a second each time it is asked."""

    def __init__(self):
        self.now = -1

    def __call__(self):
        self.now += 1
        return self.now


def test_training_ends_with_the_clock(tiny_base):
    model = keras_guide.add_head(tiny_base, 2)
    steps, seconds = keras_guide.train(
        model, batches(), epoch=1000, rate=1e-3, seconds=6.0, clock=Clock()
    )
    assert (steps, seconds) == (
        6,
        8,
    )  # asked at the start, after each step, for the line, at the end
    steps, _ = keras_guide.train(
        model, batches(), epoch=1000, rate=1e-3, seconds=0.0, clock=Clock()
    )
    assert steps == 1


@pytest.mark.parametrize('trainable', [False, True])
def test_a_frozen_base_stays_and_statistics_always_do(tiny_base, trainable):
    model = keras_guide.add_head(tiny_base, 2)
    tiny_base.trainable = trainable
    before = [w.numpy() for w in (*tiny_base.weights, model.layers[-1].kernel)]
    keras_guide.train(model, batches(), epoch=2, rate=0.01, seconds=5, clock=Clock())
    after = [w.numpy() for w in (*tiny_base.weights, model.layers[-1].kernel)]
    kernel, _, gamma, beta, mean, variance, head = (
        np.abs(b - a).max() > 0 for a, b in zip(before, after, strict=True)
    )
    assert (kernel, gamma, beta) == (trainable,) * 3
    assert (mean, variance, head) == (False, False, True)


def test_whole_images_come_in_order(source):
    images, labels = zip(*keras_guide.whole_images(source.val, (32, 40)), strict=True)
    assert [int(label) for label in labels] == [0, 0, 0, 1, 1, 2, 2]
    assert images[0].shape == (32, 40, 3)
    assert images[0].dtype == tf.uint8
    # The images of the fixture have the colour of their class: blue, green, red.
    assert [int(np.mean(image, (0, 1)).argmax()) for image in images] == [2, 2, 2, 1, 1, 0, 0]


def test_an_epoch_has_every_image_once_in_another_order(source):
    drawn = keras_guide.train_batches(source.train, (32, 32), batch_size=5, seed=0)
    labels = np.concatenate([label for _, label in drawn.take(8)]).reshape(4, 10)
    assert all(sorted(epoch) == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2] for epoch in labels)
    assert len({tuple(epoch) for epoch in labels}) > 1
