"""The loss of pixels, those to be ignored left out."""

from collections.abc import Sequence

import tensorflow as tf

from train.data.mask_file import IGNORED


def pixel_losses(
    logits: tf.Tensor, masks: tf.Tensor, class_weights: Sequence[float] = ()
) -> tf.Tensor:
    """Cross-entropy of each pixel, 0 where it is ignored.

    The logits are resized to the mask, not the mask to the logits: a post of two pixels is in none
    of the cells of a map at stride 8. At 360×480 with 11 classes that is a sixth of a training step
    of V3-Small on a CPU.

    Args:
      logits: [N, h, w, K], of any height and width.
      masks: [N, H, W] of classes or IGNORED.
      class_weights: one a class; none: all alike.

    Returns:
      [N, H, W] float32.
    """
    logits = resize_logits(tf.cast(logits, tf.float32), tf.shape(masks)[1:3])
    counted = masks != IGNORED
    targets = tf.where(counted, tf.cast(masks, tf.int32), 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    if class_weights:
        losses *= tf.gather(tf.constant(class_weights, tf.float32), targets)
    return tf.where(counted, losses, 0.0)


def count_pixels(masks: tf.Tensor) -> tf.Tensor:
    """How many pixels of masks [N, H, W] are not to be ignored, [N] float32."""
    return tf.reduce_sum(tf.cast(masks != IGNORED, tf.float32), axis=[1, 2])


def resize_logits(logits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Logits [N, h, w, K] at (height, width), bilinearly with half-pixel centres, as in a network."""
    return tf.image.resize(logits, size)
