import io

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from configs import segmentation as recipe
from mobilenet_v3.head_tables import SEGMENTERS
from mobilenet_v3.spec_file import load_model_spec
from mobilenet_v3.tables import get_spec
from mobilenet_v3.transforms import with_output_stride
from train.data.mask_file import class_tables
from train.tasks.segmentation import Segmentation

LABELS = ('road', 'sky', 'car')


def make_task(spec=None, *, resolution=(64, 96), input_channels=3, **changes):
    config = recipe.get_config()
    config.model.resolution = resolution
    config.model.input_channels = input_channels
    config.segmentation.crop = (32, 48)
    config.segmentation.filters = 16
    for name, value in changes.items():
        section, _, field = name.partition('__')
        config[section][field] = value
    spec = with_output_stride(spec or get_spec('small_minimalistic'), 16)
    return Segmentation(config, spec, LABELS)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return buffer.getvalue()


def raw_example(height=40, width=60):
    """Road below, sky above, a car between them, and a column that is to be ignored."""
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 1
    mask[15:25, 20:40] = 2
    mask[:, -1] = 255
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return {
        'image': tf.constant(png(pixels)),
        'mask': tf.constant(png(mask)),
        'mask_classes': tf.constant(class_tables([0, 1, 2])[-1]),
    }


def train_batch(task, seeds=((1, 2), (3, 4))):
    examples = [task.train_example(raw_example(), tf.constant(seed)) for seed in seeds]
    return task.train_batch({k: tf.stack([e[k] for e in examples]) for k in examples[0]})


def eval_batch(task, *raws):
    """Masks padded to the largest, as in the pipeline."""
    examples = [task.eval_example(raw) for raw in raws]
    high, wide = (max(int(e['size'][i]) for e in examples) for i in (0, 1))
    for e in examples:
        height, width = e['size'].numpy()
        e['mask'] = tf.pad(e['mask'], [[0, high - height], [0, wide - width]])
    return task.eval_batch({k: tf.stack([e[k] for e in examples]) for k in examples[0]})


def right_logits(batch):
    """Logits at the size of the masks that are sure of every pixel."""
    return 20.0 * tf.one_hot(batch['mask'], len(LABELS))


def numpy(kept):
    return {name: value.numpy() for name, value in kept.items()}


# ------------------------------------------------------------------------- batches and networks


@pytest.mark.parametrize('color', ['none', 'fast'])
@pytest.mark.parametrize('input_channels', [1, 3])
def test_training_sees_crops_and_evaluation_whole_images(color, input_channels):
    task = make_task(input_channels=input_channels, augment__color=color)
    batch = train_batch(task)
    assert batch['image'].shape == (2, 32, 48, input_channels)
    assert -1 <= batch['image'].numpy().min() < batch['image'].numpy().max() <= 1
    assert batch['mask'].shape == (2, 32, 48)
    assert set(np.unique(batch['mask'])) <= {0, 1, 2, 255}
    model = task.build_for_training()
    assert model(batch['image']).shape == (2, 4, 6, 3)
    whole = eval_batch(task, raw_example())
    assert whole['image'].shape == (1, 64, 96, input_channels)
    assert whole['mask'].shape == (1, 40, 60)
    assert task.build()(whole['image']).shape == (1, 64, 96, 3)


def test_both_networks_hold_the_same_weights():
    task = make_task()
    ours, theirs = task.build_for_training().weights, task.build().weights
    assert [(w.name, w.shape) for w in ours] == [(w.name, w.shape) for w in theirs]


def test_without_a_crop_training_sees_the_size_of_evaluation():
    assert make_task(segmentation__crop=()).crop == (64, 96)


def test_an_image_is_prepared_as_in_evaluation():
    task, raw = make_task(), raw_example()
    answered = task.eval_batch({'image': task.eval_image(raw['image'])[None]})
    np.testing.assert_array_equal(answered['image'], eval_batch(task, raw)['image'])


@pytest.mark.parametrize('name', SEGMENTERS)
def test_every_row_of_the_tables_has_a_config(name):
    from train.run import resolve_spec

    config = recipe.get_config(name)
    row, spec = SEGMENTERS[name], resolve_spec(config)
    assert spec == row.backbone
    assert Segmentation(config, spec, LABELS).head == row.head


# --------------------------------------------------------------------------- loss and metrics


def test_right_answers_have_no_loss_and_all_figures():
    task = make_task()
    batch = eval_batch(task, raw_example(), raw_example())
    outputs = right_logits(batch)
    assert task.loss(outputs, batch).numpy().max() < 1e-6
    kept = numpy(task.statistics(outputs, batch))
    assert kept['confusion'].sum(axis=(1, 2)).tolist() == [40 * 59] * 2
    figures = task.metrics(kept)
    assert figures.pop('loss') == pytest.approx(0.0, abs=1e-6)
    assert figures == {'miou': 1.0, 'pixel_accuracy': 1.0}


def test_the_loss_is_a_mean_over_the_pixels_that_count():
    task = make_task()
    whole, part = np.zeros((2, 8, 8), np.uint8)
    part[1:] = 255
    batch = {'mask': tf.constant(np.stack([whole, part]))}
    logits = tf.stack([tf.zeros([1, 1, 3]), tf.constant([[[3.0, 0.0, 0.0]]])])
    low, high = -np.log(1 / (1 + 2 * np.exp(-3))), np.log(3)
    losses = task.loss(logits, batch).numpy()
    np.testing.assert_allclose(losses, [2 * 64 * high / 72, 2 * 8 * low / 72], rtol=1e-4)
    weighted = make_task(train__class_weights=(2.0, 1.0, 1.0))
    np.testing.assert_allclose(weighted.loss(logits, batch), 2 * losses, rtol=1e-6)


def test_images_of_different_sizes_count_by_their_own_pixels():
    task = make_task()
    raws = raw_example(), raw_example(60, 50)
    together = eval_batch(task, *raws)
    outputs = tf.random.stateless_normal([2, 16, 24, 3], [1, 2])
    kept = numpy(task.statistics(outputs, together))
    assert kept['confusion'].sum(axis=(1, 2)).tolist() == [40 * 59, 60 * 49]
    for i, raw in enumerate(raws):
        alone = numpy(task.statistics(outputs[i : i + 1], eval_batch(task, raw)))
        np.testing.assert_array_equal(alone['confusion'][0], kept['confusion'][i])
        np.testing.assert_allclose(alone['loss'][0], kept['loss'][i], rtol=1e-6)


def test_labels_of_a_file_are_judged_without_a_loss():
    task = make_task()
    batch = eval_batch(task, raw_example())
    logits = tf.random.stateless_normal([1, 40, 60, 3], [1, 2])
    labels = tf.argmax(logits, axis=-1, output_type=tf.int32)
    expected, kept = task.statistics(logits, batch), task.statistics(labels, batch)
    np.testing.assert_array_equal(kept['confusion'], expected['confusion'])
    assert set(task.metrics(numpy(kept))) == {'miou', 'pixel_accuracy'}


def test_a_network_learns_the_pixels(tiny_spec):
    task = make_task(load_model_spec(str(tiny_spec)), segmentation__crop=(40, 60))
    batch = train_batch(task, seeds=((1, 1),) * 4)
    model = task.build_for_training()
    optimizer = tf_keras.optimizers.legacy.Adam(0.02)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(task.loss(model(batch['image'], training=True), batch))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses = [float(step()) for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('augment__color', 'bright', "color is 'bright'; expected one of none, fast, full"),
        ('segmentation__kind', 'aspp', "kind is 'aspp'; expected 'lr_aspp' or 'r_aspp'"),
        ('segmentation__pooling', 'mean', "pooling is 'mean'; expected 'paper' or 'global'"),
        ('segmentation__crop', (31, 31), r'resolution is \(31, 31\); expected one number or'),
        ('train__class_weights', (1.0, 2.0), 'class_weights holds 2 numbers; expected none, or on'),
        ('train__label_smoothing', 0.1, 'train.label_smoothing is 0.1; segmentation has none of'),
        ('augment__mixup', 0.2, 'augment.mixup is 0.2; segmentation has none of it'),
        ('distill__teacher', 'runs/x', "distill.teacher is 'runs/x'; segmentation has none of it"),
    ],
)
def test_a_wrong_recipe_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        make_task(**{field: value})
