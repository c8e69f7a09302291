import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import detection as recipe
from mobilenet_v3.spec_file import load_model_spec
from mobilenet_v3.tables import get_spec
from train.detection.coco import FIGURES
from train.tasks.detection import Detection

LABELS = ('cat', 'dog', 'bird')


def make_task(spec=None, *, resolution=(64, 96), input_channels=3, **changes):
    config = recipe.get_config()
    config.model.resolution = resolution
    config.model.input_channels = input_channels
    config.data.max_boxes = 5
    for name, value in changes.items():
        section, _, field = name.partition('__')
        config[section][field] = value
    return Detection(config, spec or get_spec('small_minimalistic'), LABELS)


@pytest.fixture(scope='module')
def raw():
    """A photo with a cat at the top left, a dog at the bottom right and a crowd of birds."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG')
    return {
        'image': tf.constant(buffer.getvalue()),
        'boxes': tf.constant([[0.0, 0.0, 0.5, 0.5], [0.4, 0.5, 1.0, 1.0], [0.0, 0.6, 0.3, 0.9]]),
        'box_labels': tf.constant([0, 1, 2], tf.int64),
        'crowd': tf.constant([False, False, True]),
        'areas': tf.constant([0.0, 300.0, 0.0]),
    }


def train_batch(task, raw, seeds=((1, 2), (3, 4))):
    examples = [task.train_example(raw, tf.constant(seed)) for seed in seeds]
    return task.train_batch({k: tf.stack([e[k] for e in examples]) for k in examples[0]})


def eval_batch(task, raw, images=1):
    example = task.eval_example(raw)
    stacked = {k: tf.stack([v] * images) for k, v in example.items()}
    return task.eval_batch({**stacked, 'weight': tf.ones([images])})


def right_answers(task, batch):
    """Outputs that are sure of every target."""
    columns = tf.one_hot(tf.maximum(batch['classes'], 0), 1 + len(LABELS))
    wanted = columns * tf.cast(batch['classes'] > 0, tf.float32)[..., None]
    return {'boxes': batch['codes'], 'scores': 30.0 * wanted - 15.0}


@pytest.mark.parametrize('color', ['none', 'fast'])
@pytest.mark.parametrize('input_channels', [1, 3])
def test_a_training_batch_asks_every_anchor(raw, color, input_channels):
    task = make_task(input_channels=input_channels, augment__color=color)
    batch = train_batch(task, raw)
    anchors = len(task.anchors)
    assert batch['image'].shape == (2, 64, 96, input_channels)
    assert -1 <= batch['image'].numpy().min() < batch['image'].numpy().max() <= 1
    assert batch['codes'].shape == (2, anchors, 4)
    assert batch['classes'].shape == (2, anchors)
    assert (batch['classes'].numpy() > 0).any(axis=1).all()
    outputs = task.build().output
    assert outputs['boxes'].shape[1:] == (anchors, 4)
    assert outputs['scores'].shape[1:] == (anchors, 4)


def test_the_whole_image_is_evaluated(raw):
    task = make_task()
    batch = eval_batch(task, raw)
    assert batch['image'].shape == (1, 64, 96, 3)
    assert batch['image_size'].numpy().tolist() == [[40, 60]]
    answered = task.eval_batch({'image': task.eval_image(raw['image'])[None]})
    np.testing.assert_array_equal(answered['image'], batch['image'])


def test_right_answers_have_no_loss_and_all_figures(raw):
    task = make_task()
    batch = eval_batch(task, raw, images=2)
    outputs = right_answers(task, batch)
    assert task.loss(outputs, batch).numpy().max() < 1e-3
    kept = {k: v.numpy() for k, v in task.statistics(outputs, batch).items()}
    figures = task.metrics(kept)
    assert set(figures) == {*FIGURES, 'loss'}
    assert figures['map'] == pytest.approx(1.0)
    assert figures['loss'] == pytest.approx(0.0, abs=1e-3)
    # Of a file with its own suppression.
    found = {name: tf.constant(kept[name]) for name in ('boxes', 'scores', 'classes')}
    again = {k: v.numpy() for k, v in task.statistics(found, batch).items()}
    assert task.metrics(again) == {name: figures[name] for name in FIGURES}


def test_the_loss_is_a_mean_over_the_anchors_with_an_object(raw):
    task = make_task(detection__box_weight=2.0)
    batch = eval_batch(task, raw, images=3)
    anchors, matched = len(task.anchors), int((batch['classes'][0] > 0).numpy().sum())
    outputs = {'boxes': batch['codes'] + 0.5, 'scores': tf.fill([3, anchors, 4], -2.0)}
    p = 1 / (1 + np.exp(2.0))
    low, high = 0.25 * p**2 * -np.log(1 - p), 0.75 * (1 - p) ** 2 * -np.log(p)
    asked = int((batch['classes'][0] >= 0).numpy().sum())  # not those in the crowd
    assert asked < anchors
    classes = (4 * asked - matched) * low + matched * high
    expected = (classes + 2.0 * matched * 0.125) / matched
    np.testing.assert_allclose(task.loss(outputs, batch), [expected] * 3, rtol=1e-5)
    kept = {k: v.numpy() for k, v in task.statistics(outputs, batch).items()}
    assert task.metrics(kept)['loss'] == pytest.approx(expected, rel=1e-5)


def test_an_image_without_objects_is_learned_from(raw):
    empty = {name: value[:0] if name != 'image' else value for name, value in raw.items()}
    task = make_task()
    for batch in (train_batch(task, empty), eval_batch(task, empty)):
        outputs = {
            'boxes': tf.zeros_like(batch['codes']),
            'scores': tf.zeros([*batch['classes'].shape, 4]),
        }
        loss = task.loss(outputs, batch).numpy()
        assert (loss > 0).all()
        assert np.isfinite(loss).all()


def test_the_head_is_as_wide_as_its_network(tiny_spec):
    spec = load_model_spec(str(tiny_spec))
    assert make_task(spec, model__multiplier=0.5).head.extras == (256, 128, 128, 64)
    fine = make_task(spec, detection__min_scale=0.1, detection__aspect_ratios=(1.0, 2.0))
    assert len(fine.anchors) < len(make_task(spec).anchors)
    assert fine.build().output['boxes'].shape[1] == len(fine.anchors)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('augment__color', 'bright', "color is 'bright'; expected one of none, fast, full"),
        ('detection__match_iou', 1.0, r'detection.match_iou is 1.0; expected in \(0, 1\)'),
        ('detection__nms_iou', 0.0, r'detection.nms_iou is 0.0; expected in \(0, 1\)'),
        ('detection__focal_gamma', -1.0, 'detection.focal_gamma is -1.0; expected at least 0'),
        ('detection__min_scale', 0.0, 'scales of anchors are'),
        (
            'train__label_smoothing',
            0.1,
            'train.label_smoothing is 0.1; detection has none of it, leave it as configs/detection.py',
        ),
        ('train__balanced', True, 'train.balanced is True; detection has none of it'),
        ('augment__mixup', 0.2, 'augment.mixup is 0.2; detection has none of it'),
        ('distill__teacher', 'runs/x', "distill.teacher is 'runs/x'; detection has none of it"),
    ],
)
def test_a_wrong_recipe_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        make_task(**{field: value})
