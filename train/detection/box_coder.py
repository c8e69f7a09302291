"""Boxes as corrections of anchors, the code that an SSD answers in."""

import tensorflow as tf

# Paper: released code. Corrections of the centre and of the size are of about one size then.
SCALES = (10.0, 10.0, 5.0, 5.0)  # of ty, tx, th, tw
_LEAST_SIDE = 1e-8  # of which a logarithm is taken


def encode(boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """The codes ty, tx, th, tw of boxes.

    Args:
      boxes: [..., 4] as ymin, xmin, ymax, xmax.
      anchors: [..., 4] of a shape that broadcasts, as ycenter, xcenter, height, width.

    Returns:
      [..., 4]: the centre's distance in sides of the anchor, × 10, and the logarithm of the ratio of
      the sides, × 5.
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    sides = tf.maximum(high - low, _LEAST_SIDE)
    offset = ((low + high) / 2.0 - anchors[..., :2]) / anchors[..., 2:]
    growth = tf.math.log(sides / anchors[..., 2:])
    return tf.concat([offset, growth], axis=-1) * SCALES


def decode(codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """The boxes of codes, [..., 4] as ymin, xmin, ymax, xmax; they may reach out of the image.

    Args:
      codes: [..., 4], as `encode` gives them.
      anchors: as of `encode`.
    """
    codes = codes / SCALES
    centers = codes[..., :2] * anchors[..., 2:] + anchors[..., :2]
    halves = tf.exp(codes[..., 2:]) * anchors[..., 2:] / 2.0
    return tf.concat([centers - halves, centers + halves], axis=-1)


def corners(anchors: tf.Tensor) -> tf.Tensor:
    """Anchors as boxes: ymin, xmin, ymax, xmax, [..., 4]."""
    centers, halves = anchors[..., :2], anchors[..., 2:] / 2.0
    return tf.concat([centers - halves, centers + halves], axis=-1)
