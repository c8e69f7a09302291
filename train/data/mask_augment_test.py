import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import base
from train.data import mask_augment
from train.data.mask_file import IGNORED

HEIGHT, WIDTH = 60, 80  # of the image
SIZE = (48, 64)  # of what comes out
LEVELS = np.uint8([20, 60, 100, 140, 180, 220])  # of grey in the image, by class


def config(**masks):
    augment = base.get_config().augment
    augment.masks.update(masks)
    return augment


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return buffer.getvalue()


def numbers():
    """Tiles of 20 × 20 of the classes 0 to 5, none like its neighbours."""
    rows, columns = np.indices((HEIGHT, WIDTH)) // 20
    return ((rows * 4 + columns) % 6).astype(np.uint8)


@pytest.fixture(scope='module')
def raw():
    """Each class is of one grey and numbered from 10 on in the mask; class 3 is to be ignored."""
    table = np.full(256, IGNORED, np.uint8)
    table[10:16] = [0, 1, 2, IGNORED, 4, 5]
    image = np.repeat(LEVELS[numbers()][..., None], 3, axis=2)
    return {
        'image': tf.constant(png(image)),
        'mask': tf.constant(png(numbers() + 10)),
        'mask_classes': tf.constant(table),
    }


def draw(raw, settings, count=40, size=SIZE, whole=SIZE):
    def augmented(number):
        seed = tf.stack([tf.constant(3), tf.cast(number, tf.int32)])
        return mask_augment.train_example(raw, seed, size, whole, settings)

    return list(tf.data.Dataset.range(count).map(augmented).as_numpy_iterator())


# --------------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ('settings', 'whole'),
    [
        ({}, SIZE),
        ({'scale_step': 0.0}, SIZE),
        ({}, (HEIGHT, WIDTH)),
        ({}, (70, 50)),
        ({'scale': (0.1, 0.2)}, SIZE),
        ({'scale': (5.0, 9.0), 'scale_step': 0.0}, SIZE),
    ],
)
def test_every_pixel_keeps_its_class(raw, settings, whole):
    # Away from edges, which are blurred in the image, the grey tells the class.
    compared = 0
    for drawn in draw(raw, config(**settings), whole=whole):
        grey = drawn['image'][..., 0].astype(int)
        around = np.lib.stride_tricks.sliding_window_view(np.pad(grey, 1, mode='edge'), (3, 3))
        clear = around.min(axis=(2, 3)) == around.max(axis=(2, 3))
        expected = np.full(SIZE, IGNORED)  # as are the margin and class 3
        for number in (0, 1, 2, 4, 5):
            expected[grey == LEVELS[number]] = number
        np.testing.assert_array_equal(drawn['mask'][clear], expected[clear])
        compared += clear.sum()
    assert compared > 3000


def test_edges_lie_at_the_same_place_in_image_and_mask(raw):
    # Half of the pixels to be blurred on either side: a shift would show as a bias.
    settings = config(scale=(1.5, 1.5))
    settings.flip = False
    left, right = 0, 0
    for drawn in draw(raw, settings):
        grey = drawn['image'][..., 0].astype(int)
        nearest = np.abs(grey[..., None] - LEVELS).argmin(axis=-1)
        nearest[nearest == 3] = IGNORED
        moved = nearest[:, 1:-1] != drawn['mask'][:, 1:-1]
        left += (moved & (nearest[:, 1:-1] == drawn['mask'][:, :-2])).sum()
        right += (moved & (nearest[:, 1:-1] == drawn['mask'][:, 2:])).sum()
    assert abs(left - right) < 0.01 * 40 * SIZE[0] * SIZE[1]


def test_what_comes_out_has_fixed_shapes(raw):
    (drawn,) = draw(raw, config(), count=1)
    assert {name: (x.shape, x.dtype) for name, x in drawn.items()} == {
        'image': ((*SIZE, 3), np.uint8),
        'mask': (SIZE, np.uint8),
        'draws': ((4,), np.float32),
    }
    assert set(np.unique(drawn['mask'])) <= {0, 1, 2, 4, 5, IGNORED}


def extent(drawn):
    """Height and width of what is not margin, as shares."""
    rows, columns = np.nonzero(drawn['image'][..., 0] != mask_augment.MARGIN)
    return np.ptp(rows) + 1, np.ptp(columns) + 1


def test_scales_come_in_steps(raw):
    found = {extent(drawn) for drawn in draw(raw, config(scale=(0.5, 1.0)), count=40)}
    assert found == {(24, 32), (36, 48), (48, 64)}


def test_scales_may_be_any_between(raw):
    settings = config(scale=(0.5, 1.0), scale_step=0.0)
    heights = [extent(drawn)[0] for drawn in draw(raw, settings, count=40)]
    assert len(set(heights)) > 12
    assert min(heights) >= 24


def test_scale_one_is_the_whole_image_as_evaluation_sees_it(raw):
    settings = config(scale=(1.0, 1.0))
    settings.flip = False
    seen = mask_augment.eval_example(raw, SIZE)
    for drawn in draw(raw, settings, count=3):
        np.testing.assert_array_equal(drawn['image'], seen['image'])


def test_a_seed_gives_one_example_and_another_seed_another(raw):
    one, again = draw(raw, config(), count=12), draw(raw, config(), count=12)
    for first, second in zip(one, again, strict=True):
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name])
    assert len({drawn['image'].tobytes() for drawn in one}) > 10


def test_every_second_image_is_flipped(raw):
    flat = config(scale=(1.0, 1.0))
    drawn = draw(raw, flat, count=60)
    assert 15 < sum(d['image'][0, 0, 0] == LEVELS[0] for d in drawn) < 45
    flat.flip = False
    assert all(d['image'][0, 0, 0] == LEVELS[0] for d in draw(raw, flat, count=5))


# ------------------------------------------------------------------------------- evaluation


def test_evaluation_sees_the_whole_image_and_the_mask_as_it_is(raw):
    seen = mask_augment.eval_example(raw, SIZE)
    assert seen.keys() == {'image', 'mask'}
    assert seen['image'].shape == (*SIZE, 3)
    expected = numbers()
    expected[expected == 3] = IGNORED
    np.testing.assert_array_equal(seen['mask'], expected)
    assert seen['mask'].dtype == tf.uint8


def test_a_mask_of_another_size_stops(raw):
    other = {**raw, 'mask': tf.constant(png(numbers()[:, 1:]))}
    with pytest.raises(
        tf.errors.InvalidArgumentError, match='a mask has another size than its image'
    ):
        mask_augment.eval_example(other, SIZE)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match='a mask has another size than its image'
    ):
        draw(other, config(), count=1)


# ----------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'scale': (0.0, 1.0)}, r'masks\.scale is \(0\.0, 1\.0\); expected 0 < lowest <= highest'),
        ({'scale': (2.0, 0.5)}, r'masks\.scale is \(2\.0, 0\.5\); expected 0 < lowest'),
        ({'scale': (0.5,)}, r'masks\.scale is \(0\.5,\); expected 0 < lowest'),
        ({'scale_step': -0.1}, r'masks\.scale_step is -0\.1; expected 0 or more'),
        ({'scale_step': np.inf}, r'masks\.scale_step is inf; expected 0 or more'),
    ],
)
def test_a_recipe_that_cannot_be_drawn_is_refused(settings, message):
    with pytest.raises(ValueError, match=rf'config\.augment\.{message}'):
        mask_augment.check(config(**settings))


def test_an_unknown_colour_is_refused():
    settings = config()
    mask_augment.check(settings)
    settings.color = 'bright'
    with pytest.raises(ValueError, match=r"color is 'bright'; expected one of none, fast, full"):
        mask_augment.check(settings)
