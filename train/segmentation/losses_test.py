import numpy as np
import pytest
import tensorflow as tf

from train.segmentation.losses import count_pixels, pixel_losses

LOGITS = np.float32([[[[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]]])  # [1, 1, 2, 3]


def cross_entropy(logits, target):
    return np.log(np.exp(logits).sum()) - logits[target]


def test_each_pixel_that_counts_has_its_loss():
    masks = tf.constant([[[0, 255]], [[2, 1]]], tf.uint8)
    losses = pixel_losses(np.concatenate([LOGITS] * 2), masks)
    expected = [
        [[cross_entropy(LOGITS[0, 0, 0], 0), 0.0]],
        [[cross_entropy(LOGITS[0, 0, 0], 2), cross_entropy(LOGITS[0, 0, 1], 1)]],
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert count_pixels(masks).numpy().tolist() == [1, 2]


def test_classes_have_weights():
    masks = tf.constant([[[0, 1]]], tf.uint8)
    plain, weighted = pixel_losses(LOGITS, masks), pixel_losses(LOGITS, masks, (0.5, 3.0, 1.0))
    np.testing.assert_allclose(weighted, plain * [0.5, 3.0], rtol=1e-6)


def test_logits_are_resized_to_the_mask_and_learn_from_all_of_it():
    masks = np.zeros((1, 8, 16), np.uint8)
    masks[0, 5, 9] = 1  # one pixel of 128
    logits = tf.Variable(np.zeros((1, 2, 4, 2), np.float32))
    with tf.GradientTape() as tape:
        losses = pixel_losses(logits, masks)
        total = tf.reduce_sum(losses)
    assert losses.shape == (1, 8, 16)
    assert float(total) == pytest.approx(128 * np.log(2), rel=1e-5)
    gradient = tape.gradient(total, logits)[0, ..., 1]
    assert np.unravel_index(np.argmin(gradient), (2, 4)) == (1, 2)


def test_nothing_but_ignored_pixels_gives_no_loss_and_finite_gradients():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(pixel_losses(logits, tf.fill([1, 4, 4], 255)))
    assert float(total) == 0
    assert not tape.gradient(total, logits).numpy().any()
