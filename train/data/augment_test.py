import io

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from PIL import Image

from train.data import augment

SIZE = (24, 32)
INCEPTION = {'area': (0.05, 1.0), 'aspect': (3 / 4, 4 / 3), 'flip': True, 'color': 'fast'}


def encode(pixels, kind='JPEG', mode=None, **options):
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    if kind == 'JPEG':
        options = {'quality': 95, 'subsampling': 0, **options}
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(height=60, width=80):
    """A colour gradient [height, width, 3]; what JPEG keeps nearly as it is."""
    y, x = np.mgrid[:height, :width]
    channels = [255 * y / height, 255 * x / width, 127 + 0 * x]
    return np.stack(channels, axis=-1).astype(np.uint8)


def noise(height, width, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def random_crop(encoded, seed=(1, 2), size=SIZE, **changes):
    config = ConfigDict({**INCEPTION, **changes})
    return augment.random_crop(encoded, tf.constant(seed), size, config).numpy()


def center_crop(encoded, size=SIZE, fraction=0.875):
    return augment.center_crop(encoded, size, fraction).numpy()


def resized(pixels, size):
    """Bilinear with half-pixel centres, without anti-aliasing, as TFLite does it."""

    def taps(count, wanted):
        where = (np.arange(wanted) + 0.5) * count / wanted - 0.5
        low = np.floor(where).astype(int)
        return low.clip(0, count - 1), (low + 1).clip(0, count - 1), where - low

    top, bottom, fy = taps(pixels.shape[0], size[0])
    left, right, fx = taps(pixels.shape[1], size[1])
    fy, fx = fy[:, None, None], fx[None, :, None]
    p = pixels.astype(np.float64)
    upper = p[top][:, left] * (1 - fx) + p[top][:, right] * fx
    lower = p[bottom][:, left] * (1 - fx) + p[bottom][:, right] * fx
    return upper * (1 - fy) + lower * fy


# ------------------------------------------------------------------------- central crop


@pytest.mark.parametrize(('height', 'width'), [(64, 80), (80, 64), (128, 128)])
def test_the_central_crop_is_seven_eighths_of_each_side(height, width):
    pixels = noise(height, width)
    y, x = height // 16, width // 16
    expected = resized(pixels[y : height - y, x : width - x], SIZE)
    np.testing.assert_allclose(center_crop(encode(pixels, 'PNG')), expected, atol=0.51)


def test_the_whole_image_is_a_fraction_of_one():
    pixels = noise(24, 32)
    np.testing.assert_array_equal(center_crop(encode(pixels, 'PNG'), fraction=1.0), pixels)


@pytest.mark.parametrize('fraction', [0.875, 0.5, 1.0])
def test_jpeg_and_png_are_cropped_alike(fraction):
    jpeg, png = (center_crop(encode(smooth(), kind), fraction=fraction) for kind in ('JPEG', 'PNG'))
    np.testing.assert_allclose(jpeg.astype(int), png.astype(int), atol=6)


# -------------------------------------------------------------------------- random crop


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_a_crop_is_a_function_of_its_seed(kind):
    encoded = encode(noise(60, 80), kind)
    first = random_crop(encoded)
    np.testing.assert_array_equal(random_crop(encoded), first)
    assert (random_crop(encoded, seed=(1, 3)) != first).any()
    assert first.shape == (*SIZE, 3)
    assert first.dtype == np.uint8


def test_jpeg_and_png_get_the_same_window():
    for number in range(5):
        jpeg, png = (random_crop(encode(smooth(), k), seed=(number, 7)) for k in ('JPEG', 'PNG'))
        np.testing.assert_allclose(jpeg.astype(int), png.astype(int), atol=8)


def windows(count, **changes):
    """Areas and aspect ratios (width / height) of crops, read off an image of coordinates."""
    y, x = np.mgrid[:256, :256]
    encoded = encode(np.stack([y, x, 0 * x], axis=-1).astype(np.uint8), 'PNG')
    found = []
    for number in range(count):
        crop = random_crop(encoded, seed=(number, 0), size=(64, 64), flip=False, **changes)
        height, width = (np.ptp(crop[..., c].astype(float)) * 64 / 63 for c in (0, 1))
        found.append((height * width / 256**2, width / height))
    return np.array(found)


def test_crops_fill_the_area_and_the_aspect_of_inception():
    areas, aspects = windows(200).T
    assert areas.min() >= 0.045
    assert areas.max() <= 1.0
    assert areas.min() < 0.2
    assert areas.max() > 0.8
    assert aspects.min() >= 0.72
    assert aspects.max() <= 1.38
    assert aspects.min() < 0.85
    assert aspects.max() > 1.15


def test_a_config_of_small_crops_gives_small_crops():
    areas, _ = windows(20, area=(0.05, 0.08)).T
    assert areas.max() <= 0.09
    assert areas.min() >= 0.04


def test_every_second_image_or_none_is_flipped():
    encoded = encode(smooth(), 'PNG')
    whole = {'area': (0.99, 1.0), 'aspect': (80 / 60 - 0.01, 80 / 60 + 0.01)}
    crops = [random_crop(encoded, seed=(n, 5), **whole).astype(int) for n in range(60)]
    flipped = sum(crop[:, 0, 1].mean() > crop[:, -1, 1].mean() for crop in crops)
    assert 18 <= flipped <= 42
    for n in range(10):
        crop = random_crop(encoded, seed=(n, 5), **whole, flip=False).astype(int)
        assert crop[:, 0, 1].mean() < crop[:, -1, 1].mean()


# ------------------------------------------------------------------------- odd encodings


def grey_jpeg():
    return encode(smooth()[..., 0])


def grey_png():
    return encode(smooth()[..., 0], 'PNG')


def cmyk_jpeg():
    return encode(smooth(), mode='CMYK')


def png_of_16_bits():
    return encode(smooth()[..., 0].astype(np.uint16) * 257, 'PNG')


def png_with_alpha():
    return encode(smooth(), 'PNG', mode='RGBA')


def png_with_palette():
    return encode(smooth(), 'PNG', mode='P')


def gif_of_two_frames():
    frames = [Image.fromarray(f) for f in (smooth()[..., 0], 255 - smooth()[..., 0])]
    buffer = io.BytesIO()
    frames[0].save(buffer, 'GIF', save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def bmp():
    return encode(smooth(), 'BMP')


def progressive_jpeg():
    return encode(smooth(), progressive=True)


COLORED = (cmyk_jpeg, png_with_alpha, png_with_palette, bmp, progressive_jpeg)
GREY = (grey_jpeg, grey_png, png_of_16_bits, gif_of_two_frames)


@pytest.mark.parametrize('encoded', [*COLORED, *GREY])
def test_other_encodings_look_like_the_plain_one(encoded):
    pixels = smooth()
    if encoded in GREY:
        pixels = np.repeat(pixels[..., :1], 3, axis=-1)
    expected = center_crop(encode(pixels, 'PNG')).astype(int)
    difference = np.abs(center_crop(encoded()).astype(int) - expected)
    assert difference.mean() < 12  # a palette of 256 colours is coarse
    assert random_crop(encoded()).shape == (*SIZE, 3)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
@pytest.mark.parametrize(('height', 'width'), [(1, 1), (1, 300), (400, 2), (2, 3)])
def test_extreme_shapes_come_out_whole(kind, height, width):
    encoded = encode(np.full((height, width, 3), 200, np.uint8), kind)
    for crop in (center_crop(encoded), random_crop(encoded)):
        np.testing.assert_allclose(crop, np.full((*SIZE, 3), 200), atol=3)


# ------------------------------------------------------------------------------- colours


def draws(brightness=0.5, saturation=0.5, hue=0.5, contrast=0.5):
    """One image's draws; 0.5 changes nothing."""
    return np.array([[brightness, saturation, hue, contrast]], np.float32)


def distorted(images, draws, color='fast'):
    """In [0, 1], as tf.image has it."""
    return (augment.distort_colors(images, draws, color).numpy() + 1) / 2


@pytest.fixture(scope='module')
def images():
    return noise(8 * 16, 16).reshape(8, 16, 16, 3)


def test_scale_maps_the_bytes_onto_minus_one_to_one():
    values = augment.scale(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)).numpy().ravel()
    assert values[0] == -1.0
    assert values[255] == 1.0
    np.testing.assert_allclose(np.diff(values), 2 / 255, rtol=1e-4)


def test_the_middle_of_every_draw_changes_nothing(images):
    expected = augment.scale(images)
    for color, tolerance in (('fast', 1e-5), ('full', 1e-4)):
        result = augment.distort_colors(images, np.repeat(draws(), 8, axis=0), color)
        np.testing.assert_allclose(result, expected, atol=tolerance)


@pytest.mark.parametrize('color', ['fast', 'full'])
def test_colours_stay_in_range_at_the_ends_of_every_draw(images, color):
    corners = np.array(np.meshgrid(*[[0.0, 0.999]] * 4)).reshape(4, 16).T.astype(np.float32)
    for corner in corners:
        result = augment.distort_colors(images, np.repeat(corner[None], 8, axis=0), color).numpy()
        assert result.shape == images.shape
        assert result.dtype == np.float32
        assert result.min() >= -1.0
        assert result.max() <= 1.0


@pytest.mark.parametrize('draw', [0.0, 0.25, 0.75, 0.999])
def test_saturation_equals_tf_image(images, draw):
    result = distorted(images, np.repeat(draws(saturation=draw), 8, axis=0))
    floats = tf.cast(images, tf.float32) / 255
    expected = tf.clip_by_value(tf.image.adjust_saturation(floats, 0.5 + draw), 0, 1)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_brightness_reaches_thirty_two_of_255_and_no_further():
    grey = np.full((1, 4, 4, 3), 128, np.uint8)
    for draw, shift in ((0.0, -32), (0.5, 0), (1.0, 32), (0.75, 16)):
        result = distorted(grey, draws(brightness=draw))
        np.testing.assert_allclose(result * 255, 128 + shift, atol=1e-3)


@pytest.mark.parametrize('draw', [0.0, 0.3, 0.9])
def test_hue_equals_tf_image(images, draw):
    result = distorted(images, np.repeat(draws(hue=draw), 8, axis=0), 'full')
    expected = tf.image.adjust_hue(tf.cast(images, tf.float32) / 255, (2 * draw - 1) * 0.2)
    np.testing.assert_allclose(result, expected, atol=2e-3)


@pytest.mark.parametrize('draw', [0.0, 0.3, 0.9])
def test_contrast_equals_tf_image(images, draw):
    result = distorted(images, np.repeat(draws(contrast=draw), 8, axis=0), 'full')
    expected = tf.image.adjust_contrast(tf.cast(images, tf.float32) / 255, 0.5 + draw)
    np.testing.assert_allclose(result, tf.clip_by_value(expected, 0, 1), atol=1e-3)


def test_fast_leaves_hue_and_contrast_alone(images):
    few = images[:1]
    np.testing.assert_array_equal(
        distorted(few, draws()), distorted(few, draws(hue=0.0, contrast=0.0))
    )


def test_brightness_and_saturation_follow_one_after_the_other(images):
    result = distorted(images, np.repeat(draws(brightness=0.9, saturation=0.1), 8, axis=0))
    brighter = tf.image.adjust_brightness(tf.cast(images, tf.float32) / 255, 0.8 * 32 / 255)
    expected = tf.clip_by_value(tf.image.adjust_saturation(brighter, 0.6), 0, 1)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_each_image_has_its_own_draws(images):
    both = np.concatenate([draws(brightness=0.0), draws(saturation=0.9)])
    together = distorted(images[:2], both)
    for i in range(2):
        alone = distorted(images[i : i + 1], both[i : i + 1])
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-6)


def test_draws_are_uniform_and_a_function_of_the_seed():
    values = np.array([augment.color_draws(tf.constant([n, 0])).numpy() for n in range(200)])
    np.testing.assert_array_equal(values[3], augment.color_draws(tf.constant([3, 0])))
    assert values.shape == (200, augment.NUM_DRAWS)
    assert values.min() >= 0
    assert values.max() < 1
    np.testing.assert_allclose(values.mean(axis=0), 0.5, atol=0.1)
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.3


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('area', (), r'area is \(\); expected the least and the most of an image'),
        ('area', (0.5, 1.5), r'area is \(0\.5, 1\.5\); expected'),
        ('area', (np.nan, 1.0), r'area is \(nan, 1\.0\); expected'),
        ('aspect', (2.0, 0.5), r'aspect is \(2\.0, 0\.5\); expected the least and the most width'),
        ('aspect', (0.0, 0.5), r'aspect is \(0\.0, 0\.5\); expected'),
        ('eval_crop', 1.1, r'eval_crop is 1\.1; expected a fraction'),
    ],
)
def test_crops_that_cannot_be_drawn_are_refused(field, value, message):
    config = ConfigDict({**INCEPTION, 'eval_crop': 0.875, field: value})
    with pytest.raises(ValueError, match=rf'config\.augment\.{message}'):
        augment.check_crops(config)
