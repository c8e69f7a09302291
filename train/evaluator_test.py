import io

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from train.data.source import Split, open_source
from train.evaluator import Evaluator, collect
from train.run import Run, resolve_spec

NUM_CLASSES = 7


def make_images(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    return pixels, np.arange(count) * 3 % NUM_CLASSES


def make_split(pixels, labels):
    encoded = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, 'PNG')
        encoded.append(buffer.getvalue())
    examples = {'image': encoded, 'label': labels.astype(np.int64)}
    return Split(
        len(labels), lambda: tf.data.Dataset.from_tensor_slices(examples), lambda seed, skip: None
    )


def make_model(seed):
    """Logits that are linear in the pixels, so that numpy can follow."""
    initializer = tf_keras.initializers.RandomNormal(0.1, seed=seed)
    dense = tf_keras.layers.Dense(NUM_CLASSES, kernel_initializer=initializer)
    return tf_keras.Sequential([tf_keras.Input((32, 32, 3)), tf_keras.layers.Flatten(), dense])


def make_task(config, num_classes=NUM_CLASSES):
    config.augment.eval_crop = 1.0
    labels = tuple(f'class {i}' for i in range(num_classes))
    return Run(config, resolve_spec(config), labels).make_task()


def make_evaluator(config, pixels, labels, batch_size=4):
    task = make_task(config)
    return Evaluator(task, make_split(pixels, labels), tf.distribute.get_strategy(), batch_size)


def expected_metrics(model, pixels, labels):
    """Plain numpy over all images at once."""
    kernel, bias = model.get_weights()
    x = pixels.reshape(len(pixels), -1) / 127.5 - 1
    logits = x @ kernel.astype(np.float64) + bias
    own = logits[np.arange(len(labels)), labels]
    rank = (logits > own[:, None]).sum(axis=1)
    loss = np.log(np.exp(logits).sum(axis=1)) - own
    return {'top1': (rank < 1).mean(), 'top5': (rank < 5).mean(), 'loss': loss.mean()}


@pytest.mark.parametrize('count', [1, 3, 8, 13])
def test_metrics_equal_numpy_over_every_example(tiny_config, count):
    images, model = make_images(count), make_model(seed=1)
    metrics = make_evaluator(tiny_config(), *images).run(model)
    assert metrics == pytest.approx(expected_metrics(model, *images), rel=1e-5)


def test_metrics_do_not_hang_on_the_batch_size(tiny_config):
    images, model = make_images(13), make_model(seed=1)
    found = [make_evaluator(tiny_config(), *images, size).run(model) for size in (1, 4, 13)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0] == pytest.approx(found[2], rel=1e-6)


def test_one_evaluator_tells_models_apart(tiny_config):
    images = make_images(13)
    evaluator = make_evaluator(tiny_config(), *images)
    models = [make_model(seed=1), make_model(seed=2)]
    found = [evaluator.run(model) for model in models]
    assert found[0] != found[1]
    for metrics, model in zip(found, models, strict=True):
        assert metrics == pytest.approx(expected_metrics(model, *images), rel=1e-5)


def test_weights_that_change_are_seen(tiny_config):
    images, model = make_images(5), make_model(seed=1)
    evaluator = make_evaluator(tiny_config(), *images)
    evaluator.run(model)
    model.set_weights(make_model(seed=2).get_weights())
    assert evaluator.run(model) == pytest.approx(expected_metrics(model, *images), rel=1e-5)


def test_predictions_stand_in_the_order_of_the_examples(tiny_config):
    pixels, labels = make_images(5)
    model = make_model(seed=1)
    kept = make_evaluator(tiny_config(), pixels, labels).statistics(model)
    logits = model.predict(pixels / 127.5 - 1, verbose=0)
    np.testing.assert_array_equal(kept['prediction'], logits.argmax(axis=1))
    np.testing.assert_array_equal(kept['top1'], logits.argmax(axis=1) == labels)


def test_batch_norm_and_dropout_are_at_inference(tiny_config):
    pixels, labels = make_images(5)
    task = make_task(tiny_config())
    model = task.build()
    before = model.get_weights()
    evaluator = Evaluator(task, make_split(pixels, labels), tf.distribute.get_strategy(), 4)
    assert evaluator.run(model) == evaluator.run(model)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_fewer_than_five_classes_are_all_in_the_top_five(tiny_config):
    task = make_task(tiny_config(), num_classes=3)
    logits = tf.constant([[1.0, 3.0, 2.0], [5.0, 1.0, 0.0]])
    kept = task.statistics(logits, {'label': tf.constant([2, 0], tf.int64)})
    assert kept['top5'].numpy().tolist() == [1, 1]
    assert kept['top1'].numpy().tolist() == [0, 1]


def test_copies_that_fill_a_batch_are_left_out():
    batches = [
        {'weight': tf.constant([1.0, 1.0]), 'top1': tf.constant([1.0, 0.0])},
        {'weight': tf.constant([1.0, 0.0]), 'top1': tf.constant([0.5, 9.0])},
    ]
    kept = collect(batches)
    assert kept.keys() == {'top1'}
    assert kept['top1'].tolist() == [1.0, 0.0, 0.5]


def test_masks_of_many_sizes_are_not_a_trace_each(tiny_segmentation_config):
    config = tiny_segmentation_config()
    source = open_source(config.data, config.task)
    task = Run(config, resolve_spec(config), source.labels).make_task()
    model, sizes = task.build(), []
    evaluator = Evaluator(task, source.val, tf.distribute.get_strategy(), batch_size=1)
    statistics = task.statistics

    def noted(outputs, batch):
        sizes.append(tuple(batch['mask'].shape))
        return statistics(outputs, batch)

    task.statistics = noted
    assert len(evaluator.statistics(model)['confusion']) == source.val.num_examples
    # Of the first, and of what differs from it.
    assert len(sizes) <= 3
    assert None in sizes[-1]
