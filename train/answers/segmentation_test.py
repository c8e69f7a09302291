import json

import numpy as np
import tensorflow as tf
from PIL import Image
from pycocotools import mask as run_lengths

from train.answers import segmentation
from train.answers.drawn_masks import color_of, draw_classes

LABELS = ('road', 'sky', 'car')
CLASSES = np.uint8([[1, 1, 1, 1], [0, 0, 0, 2]])


def test_classes_come_with_their_shares_and_regions():
    (told,) = segmentation.predictions(None, CLASSES[None], LABELS, top=255)
    assert [(p['label'], p['share']) for p in told] == [
        ('sky', 0.5),
        ('road', 0.375),
        ('car', 0.125),
    ]
    assert segmentation.rows(told)[1] == ('road', '37.5%')
    for prediction in json.loads(json.dumps(told)):
        region = run_lengths.decode(prediction['region'])
        np.testing.assert_array_equal(region, LABELS.index(prediction['label']) == CLASSES)


def test_only_the_largest_classes_are_told():
    several = np.stack([CLASSES, np.zeros_like(CLASSES)])
    first, second = segmentation.predictions(None, several, LABELS, top=2)
    assert [p['label'] for p in first] == ['sky', 'road']
    assert [(p['label'], p['share']) for p in second] == [('road', 1.0)]


def test_a_tile_lays_colours_over_the_image():
    pixels = np.full((20, 40, 3), 100, np.uint8)
    (told,) = segmentation.predictions(None, CLASSES[None], LABELS, top=2)
    tile = segmentation.tile(pixels, 'x.jpg', told, LABELS)
    assert [(line.text, line.right) for line in tile.lines] == [
        ('sky', '50.0%'),
        ('road', '37.5%'),
        ('x.jpg', ''),
    ]
    assert tile.lines[0].swatch == '#{:02x}{:02x}{:02x}'.format(*color_of(1))
    drawn = np.asarray(tile.picture)
    assert drawn.shape == (200, 400, 3)
    expected = np.round(0.4 * 100 + 0.6 * np.array(color_of(1)))
    np.testing.assert_array_equal(drawn[50, 200], expected)
    np.testing.assert_array_equal(drawn[150, 390], (100, 100, 100))  # the car was left out


def test_classes_at_the_size_of_an_image_are_those_of_resized_logits(monkeypatch):
    logits = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    for most in (2**24, 100):  # as a whole, and two rows at a time
        monkeypatch.setattr(segmentation, '_MOST_LOGITS', most)
        for size in ((17, 16), (4, 3), (6, 5)):
            expected = np.argmax(tf.image.resize(logits, size), axis=-1)
            np.testing.assert_array_equal(segmentation.classes_at(logits, size), expected)


def test_a_whole_image_keeps_its_size_and_pixels_of_classes_that_are_not_told():
    pixels = np.full((900, 1000, 3), 100, np.uint8)
    logits = np.zeros((3, 2, 3), np.float32)
    logits[:2, :, 1], logits[2, :, 0] = 1, 1
    (told,) = segmentation.predictions(None, np.argmax(logits, axis=-1)[None], LABELS, top=1)
    for output in (logits, np.argmax(logits, axis=-1)):
        tile = segmentation.whole(pixels, 'x.jpg', told, LABELS, output)
        assert [line.text for line in tile.lines] == ['sky', 'x.jpg']
        drawn = np.asarray(tile.picture)
        assert drawn.shape == pixels.shape
        expected = np.round(0.4 * 100 + 0.6 * np.array(color_of(1)))
        np.testing.assert_array_equal(drawn[:600], np.broadcast_to(expected, (600, 1000, 3)))
        np.testing.assert_array_equal(drawn[600:], pixels[600:])


def test_nothing_is_drawn_where_nothing_is_told():
    pixels = np.full((20, 40, 3), 100, np.uint8)
    tile = segmentation.tile(pixels, 'x.jpg', [], LABELS)
    assert [line.text for line in tile.lines] == ['nothing', 'x.jpg']
    assert (np.asarray(tile.picture) == 100).all()


def test_a_legend_of_many_classes_is_cut_off():
    several = np.arange(40, dtype=np.uint8).reshape(1, 5, 8)
    (told,) = segmentation.predictions(None, several, [str(n) for n in range(40)], top=255)
    tile = segmentation.tile(np.zeros((5, 8, 3), np.uint8), 'x', told, [str(n) for n in range(40)])
    assert [line.text for line in tile.lines[-2:]] == ['and 28 more', 'x']


def test_every_class_has_a_colour_of_its_own():
    assert len({color_of(number) for number in range(255)}) == 255
    everything = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert isinstance(draw_classes(np.zeros((16, 16, 3), np.uint8), everything), Image.Image)


def test_answers_are_kept_as_pictures():
    kept = segmentation.details(lambda: np.stack([CLASSES, 1 - CLASSES // 2]), {})
    found = [tf.io.decode_png(png)[..., 0].numpy() for png in kept['found'].numpy()]
    np.testing.assert_array_equal(found, [CLASSES, 1 - CLASSES // 2])
