import itertools
import json
import re

import numpy as np
import pytest

from benchmark import keras_peer
from configs import base


@pytest.fixture
def source(image_folder):
    from train.data.source import open_source

    config = base.get_config()
    config.data.dataset = f'folder:{image_folder}'
    return open_source(config.data)


# Images


def test_evaluation_sees_every_whole_image_once_in_order(source):
    batches = list(keras_peer.whole_images(source.val, 32, batch_size=4))
    assert [images.shape for images, _ in batches] == [(4, 32, 32, 3), (3, 32, 32, 3)]
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1, 2, 2])
    images = np.concatenate([images for images, _ in batches])
    assert -1.0 <= images.min() < -0.9
    assert 0.5 < images.max() <= 1.0
    # The images of the fixture have the colour of their class: blue, green, red.
    np.testing.assert_array_equal(images.mean(axis=(1, 2)).argmax(axis=-1), 2 - labels)


@pytest.mark.parametrize('kind', ['folder', 'stream'])
def test_an_epoch_has_every_example_once_in_another_order_each_time(source, kind, tmp_path):
    if kind == 'stream':
        source = as_shards(source, tmp_path)
    batches = keras_peer.train_batches(source.train, 32, batch_size=4, seed=0)
    labels = [label.numpy().tolist() for _, label in batches.take(4 * 3)]
    assert [len(batch) for batch in labels] == [4, 4, 2] * 4
    epochs = [[*itertools.chain(*labels[i : i + 3])] for i in range(0, len(labels), 3)]
    assert all(sorted(epoch) == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


def as_shards(source, folder):
    """The same images as a stream, whose order is a function of seed and epoch."""
    from train.data.shards import write_shards
    from train.data.source import open_source

    write_shards(source, str(folder), num_shards=2, writers=1)
    config = base.get_config()
    config.data.dataset = f'tfrecord:{folder}'
    return open_source(config.data)


def test_training_goes_on_with_the_next_epoch(source, tmp_path, monkeypatch):
    import tensorflow as tf
    import tf_keras

    from train.data import source as sources

    seen = []

    class Model(tf_keras.Sequential):
        def train_step(self, batch):
            tf.py_function(lambda labels: seen.append(labels.numpy().tolist()), [batch[1]], [])
            return super().train_step(batch)

    stream = as_shards(source, tmp_path)
    monkeypatch.setattr(sources, 'open_source', lambda _: stream)
    layers = [tf_keras.layers.Flatten(), tf_keras.layers.Dense(3)]
    monkeypatch.setattr(keras_peer, 'make_peer', lambda *_: Model(layers))
    keras_peer.fit('of the test', resolution=32, epochs=3, batch_size=10)
    assert [sorted(labels) for labels in seen] == [[0, 0, 0, 0, 1, 1, 1, 2, 2, 2]] * 3
    assert len(set(map(tuple, seen))) > 1


def test_an_epoch_flips_about_half_of_the_images(source):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    whole = [image for batch, _ in keras_peer.whole_images(source.train, 32, 10) for image in batch]
    flipped = 0
    for batch, _ in keras_peer.train_batches(source.train, 32, batch_size=10, seed=0).take(4):
        for image in batch.numpy():
            near = [np.abs(image - other).max() < 1e-5 for other in whole]
            mirrored = [np.abs(image[:, ::-1] - other).max() < 1e-5 for other in whole]
            assert sum(near) + sum(mirrored) == 1
            flipped += sum(mirrored)
    assert 8 <= flipped <= 32  # of 40


def test_plain_batches_are_in_range_and_endless(source):
    config = base.get_config()
    config.model.resolution, config.train.batch_size = (32, 32), 4
    batches = list(keras_peer.plain_batches(source.train, config).take(5))  # 20 of 10 images
    for images, labels in batches:
        assert images.shape == (4, 32, 32, 3)
        assert labels.shape == (4,)
        assert -1.0 <= images.numpy().min() < images.numpy().max() <= 1.0


# Training


def test_a_step_lowers_the_loss_of_its_batch():
    plain, recipe = (_losses(steps=30, decay=decay) for decay in (None, 0.0))
    assert plain[-1] < plain[0]
    assert recipe[-1] < recipe[0]


def test_a_step_of_a_recipe_adds_weight_decay_to_the_loss():
    without, with_decay = (_losses(steps=1, decay=decay)[0] for decay in (0.0, 0.5))
    assert with_decay == pytest.approx(without + 0.5 * 0.5 * 6 * 0.3**2)  # ½·Σw² of six kernels


def test_a_step_of_a_recipe_smooths_labels():
    import tensorflow as tf

    plain, recipe = (_losses(steps=1, decay=decay)[0] for decay in (None, 0.0))
    images = tf.random.stateless_uniform((8, 4, 4, 3), seed=(0, 0))
    logits = _model()(images)
    shares = tf.one_hot([0, 1] * 4, 2) * 0.9 + 0.1 / 2  # of two classes
    smoothed = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(shares, logits))
    assert recipe == pytest.approx(float(smoothed), rel=1e-5)
    assert abs(recipe - plain) > 1e-4


def test_a_step_of_a_recipe_averages_weights_and_leaves_them_alone(monkeypatch):
    import tf_keras

    made, make = [], tf_keras.optimizers.RMSprop

    def remember(*arguments, **options):
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(tf_keras.optimizers, 'RMSprop', remember)
    model = _model()
    _losses(steps=100, decay=0.0, model=model)
    (optimizer,) = made
    averages = optimizer._model_variables_moving_average
    assert len(averages) == len(model.trainable_variables) == 4
    for average, weights in zip(averages, model.trainable_variables, strict=True):
        assert np.abs(average.numpy()).max() > 0
        assert np.abs(average.numpy() - weights.numpy()).max() > 1e-3


def _losses(steps, decay, model=None):
    """Of a plain step, or of the recipe's with a weight decay, on a batch of two classes."""
    import tensorflow as tf

    config = base.get_config()
    images = tf.random.stateless_uniform((8, 4, 4, 3), seed=(0, 0))
    step = (model or _model(), images, tf.constant([0, 1] * 4, tf.int64))
    if decay is None:
        take = keras_peer.plain_step(*step)
    else:
        config.train.weight_decay = decay
        take = keras_peer.recipe_step(*step, config)
    return [take() for _ in range(steps)]


def _model():
    """Always the same weights."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    layers = [
        tf_keras.Input((4, 4, 3)),
        tf_keras.layers.Conv2D(2, 1, kernel_initializer=tf_keras.initializers.Constant(0.3)),
        tf_keras.layers.Flatten(),
        tf_keras.layers.Dense(2),
    ]
    return tf_keras.Sequential(layers)


@pytest.mark.slow
def test_the_command_trains_and_writes_its_results(run_python, image_folder, tmp_path):
    result = run_python(
        *('-m', 'benchmark.keras_peer', f'--dataset=folder:{image_folder}', '--resolution=32'),
        *('--epochs=2', '--batch_size=4', '--batch_norm_momentum=0.99'),
        '--output=new/results.json',
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / 'new' / 'results.json').read_text())
    assert 0 <= results.pop('top1') <= 1
    assert results.pop('loss') > 0
    assert results.pop('seconds') > 0
    assert results == {
        'model': 'tf_keras.applications.MobileNetV3Small',
        'dataset': f'folder:{image_folder}',
        'resolution': 32,
        'epochs': 2,
        'batch_size': 4,
        'seed': 0,
        'batch_norm_momentum': 0.99,
        'images_seen': 20,
        'examples': 7,
    }


# Command line


def test_help_needs_no_tensorflow(run_python, tmp_path):
    slow = "{'tensorflow', 'tf_keras'}"
    code = f'import sys, benchmark.keras_peer; print(sys.modules.keys() & {slow})'
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'
    result = run_python('-m', 'benchmark.keras_peer', '--help', cwd=tmp_path)
    for flag in (
        'dataset',
        'resolution',
        'epochs',
        'batch_size',
        'batch_norm_momentum',
        'seed',
        'output',
    ):
        assert re.search(rf'^ *--{flag}:', result.stdout, re.MULTILINE)


@pytest.mark.parametrize('argument', ['--resolution=16', '--dataset=folder:none', '--output=.'])
def test_a_wrong_flag_is_one_line_and_exit_code_2(run_python, tmp_path, argument):
    result = run_python('-m', 'benchmark.keras_peer', '--dataset=x', argument, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1
