import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import base
from train.data import box_augment

SIZE = (64, 80)  # height and width of what comes out
HEIGHT, WIDTH = 120, 160  # of the image
BOX = (30, 40, 75, 100)  # ymin, xmin, ymax, xmax of the green object, in pixels
MAX_BOXES = 5


def config(**boxes):
    augment = base.get_config().augment
    augment.boxes.update(boxes)
    return augment


def encode(pixels, image_format='PNG'):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, image_format, **({'quality': 95} if 'J' in image_format else {})
    )
    return buffer.getvalue()


def picture():
    """A green object on a red ground that grows brighter to the right."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0] = np.linspace(100, 250, WIDTH)
    ymin, xmin, ymax, xmax = BOX
    pixels[ymin:ymax, xmin:xmax] = (0, 255, 0)
    return pixels


def example(boxes=(BOX,), labels=None, crowd=None, areas=None, image_format='PNG'):
    count = len(boxes)
    scale = [HEIGHT, WIDTH, HEIGHT, WIDTH]
    return {
        'image': tf.constant(encode(picture(), image_format)),
        'boxes': tf.constant(np.reshape(boxes, (count, 4)) / scale, tf.float32),
        'box_labels': tf.constant(labels or range(count), tf.int64, (count,)),
        'crowd': tf.constant(crowd or [False] * count, tf.bool, (count,)),
        'areas': tf.constant(areas or [0] * count, tf.float32, (count,)),
    }


@pytest.fixture(scope='module')
def draw():
    """Draws of one example under many seeds, as the pipeline makes them: in a graph."""

    def draw(raw, settings, count=60, max_boxes=MAX_BOXES):
        def augmented(number):
            seed = tf.stack([tf.constant(7), tf.cast(number, tf.int32)])
            return box_augment.train_example(raw, seed, SIZE, settings, max_boxes)

        return list(tf.data.Dataset.range(count).map(augmented).as_numpy_iterator())

    return draw


def green(image):
    """The box around green pixels, in [0, 1], or None."""
    rows, columns = np.nonzero((image[..., 1] > 127) & (image[..., 0] < 90))
    if not len(rows):
        return None
    corners = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return np.array(corners) / [*SIZE, *SIZE]


# -------------------------------------------------------------------------- image and boxes


@pytest.mark.parametrize('image_format', ['PNG', 'JPEG'])
@pytest.mark.parametrize('settings', [{}, {'expand': 3.0}, {'crop': 1.0, 'covered': (0.0,)}])
def test_boxes_stay_around_their_objects(draw, settings, image_format):
    seen = 0
    for drawn in draw(example(image_format=image_format), config(**settings)):
        found = green(drawn['image'])
        if drawn['valid'][0]:
            # A pixel and a half of the 64 × 80: edges are blurred.
            np.testing.assert_allclose(drawn['boxes'][0], found, atol=1.6 / 64)
            seen += 1
        elif found is not None:  # dropped, since its centre is cut off
            assert (np.minimum(found[:2], 1 - found[2:]) < 1 / 64).any()
    assert seen > 30


def test_what_comes_out_has_fixed_shapes(draw):
    (drawn,) = draw(example(), config(crop=0.0), count=1)
    assert drawn['image'].shape == (*SIZE, 3)
    assert drawn['image'].dtype == np.uint8
    shapes = {name: (values.shape, values.dtype) for name, values in drawn.items()}
    del shapes['image']
    assert shapes == {
        'boxes': ((MAX_BOXES, 4), np.float32),
        'box_labels': ((MAX_BOXES,), np.int64),
        'crowd': ((MAX_BOXES,), bool),
        'valid': ((MAX_BOXES,), bool),
        'draws': ((4,), np.float32),
    }
    assert drawn['valid'].tolist() == [True, False, False, False, False]
    assert not drawn['boxes'][1:].any()


def test_a_seed_gives_one_example_and_another_seed_another(draw):
    one, again = (draw(example(), config(expand=2.0), count=20) for _ in range(2))
    for first, second in zip(one, again, strict=True):
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name])
    assert len({drawn['image'].tobytes() for drawn in one}) > 15


def test_every_second_image_is_flipped(draw):
    # Bright to the right as it was, bright to the left when flipped.
    drawn = draw(example(), config(crop=0.0), count=60)
    flipped = [d['image'][0, 0, 0] > d['image'][0, -1, 0] for d in drawn]
    assert 15 < sum(flipped) < 45
    still = config(crop=0.0)
    still.flip = False
    assert len({d['image'].tobytes() for d in draw(example(), still, count=8)}) == 1


def test_an_image_without_boxes_stays(draw):
    drawn = draw(example(boxes=()), config(), count=20)
    assert not any(d['valid'].any() for d in drawn)
    assert len({d['image'].tobytes() for d in drawn}) > 10  # and is cropped


# ------------------------------------------------------------------------------------ crops


@pytest.mark.parametrize('covered', [0.0, 1.0])
def test_a_crop_covers_the_share_of_an_object_that_was_drawn(draw, covered):
    drawn = draw(example(), config(crop=1.0, covered=(covered,), area=(0.2, 0.5)))
    lost = [not d['valid'][0] for d in drawn]
    pixels = [np.count_nonzero(d['image'][..., 1] > 127) for d in drawn]
    if covered:
        # All of the object, which is 14 % of the image, and larger for being cropped.
        assert not any(lost)
        assert min(pixels) > 0.14 / 0.5 * SIZE[0] * SIZE[1] * 0.9
    else:
        assert sum(lost) > 10


def test_the_share_of_crops_is_the_one_asked_for(draw):
    whole = BOX[0] / HEIGHT
    drawn = draw(example(), config(crop=0.5, covered=(1.0,), area=(0.3, 0.6)), count=120)
    uncropped = [abs(d['boxes'][0, 0] - whole) < 1e-6 for d in drawn]
    assert 40 < sum(uncropped) < 80


def test_a_crowd_stays_while_a_part_of_it_does(draw):
    everything = (0, 0, HEIGHT, WIDTH)
    settings = config(crop=1.0, covered=(0.9,), area=(0.1, 0.2))
    dropped = 0
    for drawn in draw(example([BOX, everything], crowd=[False, True]), settings):
        kept = {int(label) for label in drawn['box_labels'][drawn['valid']]}
        assert 1 in kept
        assert drawn['crowd'][drawn['valid']].sum() == 1
    corner = (0, 0, 60, 60)
    for drawn in draw(example([corner]), config(crop=1.0, covered=(0.0,), area=(0.1, 0.2))):
        dropped += not drawn['valid'].any()
    assert dropped > 10  # which tells that the crops were small enough


def test_boxes_too_small_to_be_seen_are_dropped(draw):
    # 3 × 4 pixels of 120 × 160 are 1.6 × 2 of 64 × 80.
    raw = example([BOX, (10, 10, 13, 14)])
    (kept,) = draw(raw, config(crop=0.0, min_side=1.5), count=1)
    (dropped,) = draw(raw, config(crop=0.0, min_side=1.7), count=1)
    assert (kept['valid'].sum(), dropped['valid'].sum()) == (2, 1)
    assert dropped['box_labels'][0] == 0


def test_boxes_that_are_none_do_no_harm(draw):
    # Prepared datasets hold some: points, inverted ones, such as reach out of their image.
    boxes = [(50, 50, 50, 60), (70, 70, 60, 90), BOX, (-10, -10, 40, 200)]
    for drawn in draw(example(boxes), config()):
        assert set(drawn['box_labels'][drawn['valid']]) <= {2, 3}
        valid = drawn['boxes'][drawn['valid']]
        assert ((valid >= 0) & (valid <= 1)).all()


def test_a_canvas_holds_the_whole_image(draw):
    settings = config(crop=0.0, expand=4.0)
    sides = []
    for drawn in draw(example([(0, 0, HEIGHT, WIDTH)]), settings):
        ymin, xmin, ymax, xmax = drawn['boxes'][0]
        ground = np.ones(SIZE, bool)
        ground[round(ymin * 64) : round(ymax * 64), round(xmin * 80) : round(xmax * 80)] = False
        assert (drawn['image'][ground] == box_augment.CANVAS).all()
        sides.append(ymax - ymin)
    assert 15 < sum(side > 0.999 for side in sides) < 45
    assert 0.24 < min(sides) < 0.4


# ------------------------------------------------------------------------------- evaluation


def test_evaluation_sees_the_whole_image_and_all_boxes():
    boxes = [BOX, (1, 1, 2, 2)]
    raw = example(boxes, labels=[3, 1], crowd=[False, True], areas=[70, 0])
    kept = {k: v.numpy() for k, v in box_augment.eval_example(raw, SIZE, MAX_BOXES).items()}
    assert kept['image'].shape == (*SIZE, 3)
    np.testing.assert_allclose(kept['boxes'][0], green(kept['image']), atol=1.1 / 64)
    np.testing.assert_array_equal(kept['boxes'][:2], raw['boxes'])
    assert kept['valid'].tolist() == [True, True, False, False, False]
    assert kept['box_labels'].tolist() == [3, 1, 0, 0, 0]
    assert kept['crowd'].tolist() == [False, True, False, False, False]
    assert kept['areas'].tolist() == [70, 0, 0, 0, 0]
    assert kept['image_size'].tolist() == [HEIGHT, WIDTH]
    assert kept['image_size'].dtype == np.int32
    image = box_augment.eval_image(raw['image'], SIZE)
    np.testing.assert_array_equal(image, kept['image'])


def test_more_boxes_than_fit_stop():
    raw = example([BOX] * 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'max_boxes = 2; raise it'):
        box_augment.eval_example(raw, SIZE, 2)
    dataset = tf.data.Dataset.range(1).map(lambda _: box_augment.eval_example(raw, SIZE, 2))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'max_boxes = 2; raise it'):
        list(dataset)


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'crop': 1.5}, r'boxes\.crop is 1\.5; expected a share in \[0, 1\]'),
        ({'covered': ()}, r'boxes\.covered is \(\); expected shares in \[0, 1\], at least one'),
        ({'covered': (0.5, 2.0)}, r'boxes\.covered is \(0\.5, 2\.0\); expected shares'),
        ({'area': (0.0, 1.0)}, r'boxes\.area is \(0\.0, 1\.0\); expected 0 < lowest <= highest <='),
        ({'aspect': (2.0, 0.5)}, r'boxes\.aspect is \(2\.0, 0\.5\); expected 0 < lowest <= hi'),
        ({'expand': 0.5}, r'boxes\.expand is 0\.5; expected 1 or more'),
        ({'min_side': float('nan')}, r'boxes\.min_side is nan; expected 0 or more'),
    ],
)
def test_a_recipe_that_cannot_be_drawn_is_refused(settings, message):
    with pytest.raises(ValueError, match=rf'config\.augment\.{message}'):
        box_augment.check(config(**settings))


def test_the_recipes_of_the_base_can_be_drawn():
    box_augment.check(config())


def test_an_unknown_colour_is_refused():
    settings = config()
    settings.color = 'bright'
    with pytest.raises(ValueError, match=r"color is 'bright'; expected one of none, fast, full"):
        box_augment.check(settings)
