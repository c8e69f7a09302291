import numpy as np
import tensorflow as tf

from train.detection.losses import box_loss, focal_loss, matches

CLASSES = np.array([[0, 2, -1, 1], [0, 0, 0, 3]])  # of K = 3; -1 is ignored
LOGITS = np.random.default_rng(0).normal(-1, 2, (2, 4, 4)).astype(np.float32)


def test_the_focal_loss_by_hand():
    # Sigmoids for four columns, of which the background's is asked of no anchor.
    target = np.eye(4)[np.maximum(CLASSES, 0)] * (CLASSES > 0)[..., None]
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    entropy = -np.log(np.where(target == 1, p, 1 - p))
    weight = np.where(target == 1, 0.75, 0.25)
    losses = weight * (1 - np.where(target == 1, p, 1 - p)) ** 2 * entropy
    expected = (losses.sum(-1) * (CLASSES >= 0)).sum(-1)
    found = focal_loss(tf.constant(LOGITS), tf.constant(CLASSES), alpha=0.75, gamma=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_gradient_is_finite_where_scores_are_sure():
    logits = tf.Variable([[[60.0, -60.0], [-60.0, 60.0]]])
    with tf.GradientTape() as tape:
        loss = focal_loss(logits, tf.constant([[1, 0]]), alpha=0.75, gamma=2.0)
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[0, 0, 1] < -0.7  # sure that there is nothing, and wrong
    assert gradient[0, 1, 1] > 0.2


def test_an_ignored_anchor_teaches_nothing():
    logits, codes = tf.Variable(LOGITS), tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = focal_loss(logits, tf.constant(CLASSES), alpha=0.75, gamma=2.0)
        loss += box_loss(codes, tf.zeros_like(codes), tf.constant(CLASSES))
    of_logits, of_codes = tape.gradient(loss, [logits, codes])
    assert not of_logits.numpy()[0, 2].any()
    assert of_logits.numpy()[0, 0].all()
    # Boxes are learned where there is an object alone.
    learned = of_codes.numpy().any(-1)
    np.testing.assert_array_equal(learned, CLASSES > 0)


def test_the_box_loss_is_smooth_l1_by_hand():
    codes = tf.constant([[[0.5, -0.5, 3.0, 0.0], [9.0, 9.0, 9.0, 9.0]]])
    found = box_loss(codes, tf.zeros_like(codes), tf.constant([[1, 0]]))
    np.testing.assert_allclose(found, [(0.125 + 0.125 + 2.5 + 0.0) / 4])


def test_matches_are_the_anchors_with_an_object():
    assert float(matches(tf.constant(CLASSES))) == 3
    assert float(matches(tf.zeros([2, 4], tf.int32))) == 0
