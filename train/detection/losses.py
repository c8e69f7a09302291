"""What an SSD is punished for: wrong classes and wrong boxes."""

import tensorflow as tf

from train.detection.matcher import BACKGROUND, IGNORED


def focal_loss(logits: tf.Tensor, classes: tf.Tensor, *, alpha: float, gamma: float) -> tf.Tensor:
    """The focal loss of sigmoids (arXiv:1708.02002), summed over anchors and classes, [N].

    The background's column is a class that no anchor has: an anchor without an object is to have a
    low score everywhere. Source: `encode_background_as_zeros` of the released SSDLite.

    Args:
      logits: [N, A, K + 1], the background's first.
      classes: [N, A], as of `matcher.match`.
      alpha: weight of what is to be found; the rest weighs 1 - alpha.
      gamma: power with which easy decisions lose their weight.
    """
    # The same as a one-hot target in every term, but in fewer passes over [N, A, K + 1]: all of it
    # as if there were no object, and the differences at the few places where there is one.
    every = (1.0 - alpha) * tf.sigmoid(logits) ** gamma * tf.nn.softplus(logits)
    found = tf.maximum(classes, 0)
    right = tf.gather(logits, found, batch_dims=2)  # [N, A]; of no use without an object
    as_object = alpha * tf.sigmoid(-right) ** gamma * tf.nn.softplus(-right)
    as_nothing = (1.0 - alpha) * tf.sigmoid(right) ** gamma * tf.nn.softplus(right)
    losses = tf.reduce_sum(every, axis=2)
    losses += tf.where(classes > BACKGROUND, as_object - as_nothing, 0.0)
    return tf.reduce_sum(tf.where(classes == IGNORED, 0.0, losses), axis=1)


def box_loss(codes: tf.Tensor, targets: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Smooth L1 of the codes of anchors with an object, the mean over the four, summed, [N].

    Args:
      codes: [N, A, 4] that were answered.
      targets: [N, A, 4].
      classes: [N, A], as of `matcher.match`.
    """
    distance = tf.abs(codes - targets)
    smooth = tf.where(distance < 1.0, 0.5 * distance**2, distance - 0.5)
    losses = tf.reduce_mean(smooth, axis=2)
    return tf.reduce_sum(tf.where(classes > BACKGROUND, losses, 0.0), axis=1)


def matches(classes: tf.Tensor) -> tf.Tensor:
    """How many anchors of a batch have an object, a scalar."""
    return tf.reduce_sum(tf.cast(classes > BACKGROUND, tf.float32))
