import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import base
from mobilenet_v3.tables import get_spec
from train.tasks.classification import Classification


def make_task(
    *,
    resolution=32,
    input_channels=3,
    label_smoothing=0.1,
    class_weights=(),
    num_classes=4,
    **augment,
):
    config = base.get_config()
    with config.unlocked(), config.ignore_type():
        config.model.resolution = resolution
    config.model.input_channels = input_channels
    config.train.label_smoothing = label_smoothing
    config.train.class_weights = class_weights
    config.augment.update({'area': (0.3, 1.0), **augment})
    labels = tuple(f'class {i}' for i in range(num_classes))
    return Classification(config, get_spec('small_minimalistic'), labels)


@pytest.fixture(scope='module')
def raw():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG')
    return {'image': tf.constant(buffer.getvalue()), 'label': tf.constant(2, tf.int64)}


def train_batch(task, raw, seeds=((1, 2), (3, 4))):
    examples = [task.train_example(raw, tf.constant(seed)) for seed in seeds]
    return task.train_batch({k: tf.stack([e[k] for e in examples]) for k in examples[0]})


def eval_batch(task, raw):
    example = task.eval_example(raw)
    return task.eval_batch({**{k: v[None] for k, v in example.items()}, 'weight': tf.ones([1])})


@pytest.mark.parametrize('color', ['none', 'fast', 'full'])
@pytest.mark.parametrize(('resolution', 'size'), [(32, (32, 32)), ((32, 48), (32, 48))])
@pytest.mark.parametrize('input_channels', [1, 3])
def test_training_images_have_the_networks_shape_and_range(
    raw, color, resolution, size, input_channels
):
    task = make_task(resolution=resolution, color=color, input_channels=input_channels)
    batch = train_batch(task, raw)
    assert batch.keys() == {'image', 'label'}
    images = batch['image'].numpy()
    assert images.shape == (2, *size, input_channels)
    assert images.dtype == np.float32
    assert images.min() >= -1.0
    assert images.max() <= 1.0
    assert images.min() < -0.3
    assert images.max() > 0.3
    assert (images[0] != images[1]).any()
    assert batch['label'].numpy().tolist() == [2, 2]


@pytest.mark.parametrize('input_channels', [1, 3])
def test_evaluation_images_have_the_same_form_and_keep_the_weight(raw, input_channels):
    batch = eval_batch(make_task(input_channels=input_channels), raw)
    assert batch['image'].shape == (1, 32, 32, input_channels)
    assert batch['image'].numpy().min() >= -1.0
    assert batch['image'].numpy().max() <= 1.0
    assert batch['weight'].numpy().tolist() == [1.0]
    assert batch['label'].numpy().tolist() == [2]


def test_grey_images_weigh_the_colours():
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[..., 0] = 255
    batch = {'image': tf.constant(pixels), 'label': tf.constant([0], tf.int64)}
    image = make_task(input_channels=1).eval_batch(batch)['image'].numpy()
    # Luma weighs red with 0.299: 2 · 0.299 - 1.
    np.testing.assert_allclose(image, -0.402, atol=1e-3)


def test_an_unknown_colour_is_refused():
    with pytest.raises(ValueError, match=r"color is 'bright'; expected one of none, fast, full"):
        make_task(color='bright')


@pytest.mark.parametrize('label_smoothing', [0.0, 0.1])
def test_the_loss_equals_smoothed_cross_entropy_by_hand(label_smoothing):
    logits = np.array([[2.0, 1.0, 0.0, -1.0], [0.0, 0.0, 3.0, 0.0]], np.float32)
    labels = np.array([0, 1])
    loss = make_task(label_smoothing=label_smoothing).loss(
        tf.constant(logits), {'label': tf.constant(labels, tf.int64)}
    )
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = (1 - label_smoothing) * np.eye(4)[labels] + label_smoothing / 4
    np.testing.assert_allclose(loss, -(targets * log_p).sum(axis=1), rtol=1e-5)


def test_the_loss_of_evaluation_is_not_smoothed():
    logits, batch = tf.constant([[50.0, 0.0, 0.0, 0.0]]), {'label': tf.constant([0], tf.int64)}
    task = make_task()
    assert float(task.statistics(logits, batch)['loss'][0]) == pytest.approx(0.0, abs=1e-6)
    assert float(task.loss(logits, batch)[0]) == pytest.approx(0.1 * 50 * 3 / 4, rel=1e-5)


def test_top_one_and_top_five_count_the_rank_of_the_label():
    logits = tf.constant([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]] * 3)
    labels = {'label': tf.constant([0, 4, 5], tf.int64)}
    kept = make_task(num_classes=7).statistics(logits, labels)
    assert kept['top1'].numpy().tolist() == [1, 0, 0]
    assert kept['top5'].numpy().tolist() == [1, 1, 0]
    assert kept['prediction'].numpy().tolist() == [0, 0, 0]


def test_metrics_are_plain_means():
    statistics = {
        'top1': np.array([1.0, 0.0, 0.0, 0.0]),
        'top5': np.array([1.0, 1.0, 1.0, 0.0]),
        'loss': np.array([1.0, 2.0, 3.0, 4.0]),
        'prediction': np.array([0, 1, 2, 3]),
    }
    assert make_task().metrics(statistics) == {'top1': 0.25, 'top5': 0.75, 'loss': 2.5}


# ---------------------------------------------------------------------------- fine-tuning


def test_mixup_blends_images_and_the_loss_asks_for_both_labels(raw):
    task = make_task(mixup=1.0, color='none', label_smoothing=0.0)
    plain = train_batch(make_task(color='none'), raw)['image']
    batch = train_batch(task, raw)
    share = batch['target'][:, 2]
    np.testing.assert_allclose(share, 1.0)  # both are of class 2
    assert not np.allclose(batch['image'], plain)
    logits = tf.constant([[0.0, 1.0, 2.0, 3.0]] * 2)
    half = {**batch, 'target': tf.constant([[0.0, 0.5, 0.0, 0.5]] * 2)}
    expected = -np.mean(tf.nn.log_softmax(logits[0]).numpy()[[1, 3]])
    np.testing.assert_allclose(task.loss(logits, half), [expected] * 2, rtol=1e-6)


def test_randaugment_changes_what_the_crop_gave(raw):
    plain = train_batch(make_task(color='none'), raw)['image']
    changed = train_batch(make_task(color='none', randaugment_layers=2), raw)
    assert changed.keys() == {'image', 'label'}
    assert changed['image'].shape == plain.shape
    assert not np.allclose(changed['image'], plain)


def test_a_class_counts_by_its_weight():
    logits, batch = tf.random.stateless_normal([4, 4], [0, 0]), {'label': tf.range(4)}
    plain = make_task().loss(logits, batch)
    weighted = make_task(class_weights=(1.0, 2.0, 0.0, 0.5)).loss(logits, batch)
    np.testing.assert_allclose(weighted, plain * [1.0, 2.0, 0.0, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'class_weights': (1.0, 2.0)}, 'class_weights holds 2 numbers; expected none, or one of'),
        ({'class_weights': (1.0, -2.0, 1.0, 1.0)}, 'of at least 0 for each of the 4 classes'),
        ({'mixup': -0.1}, r'config.augment.mixup is -0.1; expected in \[0, 10\]'),
        ({'randaugment_layers': 9}, r'randaugment_layers is 9; expected in \[0, 5\]'),
        ({'randaugment_magnitude': 11.0}, r'randaugment_magnitude is 11.0; expected in \[0, 10\]'),
    ],
)
def test_a_wrong_recipe_of_fine_tuning_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        make_task(**values)
