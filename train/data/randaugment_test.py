import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from train.data import randaugment as ra

FULL, PLUS = tf.constant(1.0), tf.constant(1.0)


@pytest.fixture(scope='module')
def image():
    spots = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(spots).resize((40, 48), Image.Resampling.BICUBIC))


def change(name, image, strength=1.0, sign=1.0):
    return ra.CHANGES[name](tf.constant(image), tf.constant(strength), tf.constant(sign)).numpy()


@pytest.mark.parametrize('name', ra.CHANGES)
@pytest.mark.parametrize('sign', [-1.0, 1.0])
def test_a_change_keeps_shape_and_type_and_changes_something(name, image, sign):
    changed = change(name, image, sign=sign)
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert (name == 'identity') == np.array_equal(changed, image)


def moved(image, x, y):
    matrix = (1, 0, x, 0, 1, y)
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(128,) * 3
    )


KEEPING = ('color', 'contrast', 'brightness', 'sharpness', 'rotate', 'shear_x', 'shear_y')


@pytest.mark.parametrize('name', [*KEEPING, 'translate_x', 'translate_y', 'posterize', 'solarize'])
def test_no_strength_is_no_change(name, image):
    np.testing.assert_array_equal(change(name, image, strength=0.0), image)


@pytest.mark.parametrize(
    ('name', 'peer', 'tolerance'),
    [
        ('auto_contrast', ImageOps.autocontrast, 1),
        ('posterize', lambda i: ImageOps.posterize(i, 4), 0),
        ('color', lambda i: ImageEnhance.Color(i).enhance(1.9), 2),
        ('contrast', lambda i: ImageEnhance.Contrast(i).enhance(1.9), 2),
        ('brightness', lambda i: ImageEnhance.Brightness(i).enhance(1.9), 1),
        ('translate_x', lambda i: moved(i, 12.0, 0.0), 0),
        ('translate_y', lambda i: moved(i, 0.0, 14.4), None),
    ],
)
def test_changes_are_those_of_pillow(image, name, peer, tolerance):
    ours, theirs = change(name, image).astype(int), np.asarray(peer(Image.fromarray(image)), int)
    if tolerance is None:  # half pixels: the borders are filled otherwise
        ours, theirs, tolerance = ours[:32], theirs[:32], 2
    assert np.abs(ours - theirs).max() <= tolerance


def test_solarize_inverts_everything_at_full_strength(image):
    np.testing.assert_array_equal(change('solarize', image), 255 - image)


def test_equalize_spreads_the_histogram(image):
    dull = (image // 4 + 90).astype(np.uint8)
    spread = change('equalize', dull)
    assert spread.std() > 2 * dull.std()
    order = np.argsort(dull[..., 0], axis=None)
    assert np.all(np.diff(spread[..., 0].ravel()[order].astype(int)) >= 0)


def test_a_rotation_turns_about_the_centre():
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 36] = 250
    y, x = np.argwhere(change('rotate', image)[..., 0] > 140)[-1]  # 128 fills the corners
    assert np.hypot(y - 20, x - 20) == pytest.approx(16, abs=1.5)
    assert abs(np.degrees(np.arctan2(y - 20, x - 20))) == pytest.approx(30, abs=4)


def test_the_same_seed_gives_the_same_image_and_another_one_another(image):
    results = [ra.randaugment(tf.constant(image), [0, seed], 2, 9.0).numpy() for seed in range(20)]
    again = ra.randaugment(tf.constant(image), [0, 7], 2, 9.0).numpy()
    np.testing.assert_array_equal(again, results[7])
    assert len({result.tobytes() for result in results}) > 10


def test_it_runs_in_a_pipeline_with_a_static_shape(image):
    data = tf.data.Dataset.range(3).map(
        lambda n: ra.randaugment(tf.constant(image), tf.stack([0, tf.cast(n, tf.int32)]), 2, 9.0)
    )
    assert data.element_spec.shape == image.shape
    assert len(list(data)) == 3
