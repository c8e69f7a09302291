import numpy as np
import tensorflow as tf

from train.detection.box_coder import corners, decode, encode

ANCHORS = np.array([[0.5, 0.5, 0.2, 0.4], [0.25, 0.75, 0.5, 0.1]], np.float32)


def test_a_code_is_the_way_from_the_anchor_in_its_own_sides():
    # Half a height down, a quarter of a width left, twice as high, as wide.
    box = tf.constant([0.4, 0.2, 0.8, 0.6])
    codes = encode(box, tf.constant(ANCHORS[0]))
    np.testing.assert_allclose(codes, [10 * 0.5, 10 * -0.25, 5 * np.log(2), 0], atol=1e-5)


def test_an_anchors_own_box_has_the_code_zero():
    np.testing.assert_allclose(encode(corners(ANCHORS), ANCHORS), np.zeros((2, 4)), atol=1e-5)


def test_decoding_undoes_encoding():
    low = np.random.default_rng(0).uniform(0, 0.5, (7, 2, 2))
    boxes = np.concatenate([low, low + 0.3], -1).astype(np.float32)
    np.testing.assert_allclose(decode(encode(boxes, ANCHORS), ANCHORS), boxes, atol=1e-6)


def test_a_box_without_height_has_a_finite_code():
    assert np.isfinite(encode(tf.zeros([1, 4]), ANCHORS)).all()
