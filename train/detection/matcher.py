"""Which anchor learns which object."""

import tensorflow as tf

from train.detection.box_coder import corners, encode

BACKGROUND, IGNORED = 0, -1  # classes of anchors without an object; real classes count from 1


def match(
    truth: dict[str, tf.Tensor], anchors: tf.Tensor, threshold: float
) -> dict[str, tf.Tensor]:
    """The targets of every anchor of a batch.

    An anchor takes the object that it overlaps most, where that is by `threshold` at least, and every
    object has the anchor that overlaps it most, however little that is. An anchor that lies in a
    crowd by as much of its own area, and takes no object, is neither target nor mistake. Source:
    §6.3 by way of the released SSDLite: matched and unmatched threshold 0.5, every row forced.

    Args:
      truth: 'boxes' [N, B, 4] as ymin, xmin, ymax, xmax, 'box_labels' [N, B] from 0 on, 'valid'
        [N, B] and 'crowd' [N, B] bool; padding stands behind all valid boxes.
      anchors: [A, 4] as ycenter, xcenter, height, width.
      threshold: of the intersection over union.

    Returns:
      'codes' [N, A, 4] float32, 0 but for anchors with an object, and 'classes' [N, A] int32: of the
      object, from 1 on, BACKGROUND or IGNORED.
    """
    # Most images have a few boxes, and padding for a hundred: only what the fullest has is compared.
    fullest = tf.reduce_max(tf.reduce_sum(tf.cast(truth['valid'], tf.int32), axis=1))
    # At least one: an index into nothing would be none.
    boxes, labels, valid, crowd = (
        truth[name][:, : tf.maximum(fullest, 1)]
        for name in ('boxes', 'box_labels', 'valid', 'crowd')
    )
    areas = anchors[:, 2] * anchors[:, 3]  # [A]
    common = _intersections(boxes, corners(anchors))  # [N, B, A]
    overlap = common / (_areas(boxes)[..., None] + areas - common)
    overlap = tf.where((valid & ~crowd)[..., None], overlap, 0.0)
    # Lifted above every overlap, so that the object it is best for gets the anchor; of two that
    # want the same the one that overlaps more.
    best_for_object = tf.argmax(overlap, axis=2, output_type=tf.int32)  # [N, B]
    forced = (tf.range(tf.shape(anchors)[0]) == best_for_object[..., None]) & (overlap > 0.0)
    wanted = overlap + tf.cast(forced, tf.float32)
    index = tf.argmax(wanted, axis=1, output_type=tf.int32)  # [N, A]
    positive = tf.reduce_max(wanted, axis=1) >= threshold
    crowds = valid & crowd
    ignored = tf.cond(  # few batches have any
        tf.reduce_any(crowds),
        lambda: tf.reduce_any(crowds[..., None] & (common >= threshold * areas), axis=1),
        lambda: tf.zeros_like(positive),
    )
    codes = encode(tf.gather(boxes, index, batch_dims=1), anchors)
    classes = tf.cast(tf.gather(labels, index, batch_dims=1), tf.int32) + 1
    other = tf.where(ignored, IGNORED, BACKGROUND)
    return {
        'codes': tf.where(positive[..., None], codes, 0.0),
        'classes': tf.where(positive, classes, other),
    }


def _areas(boxes: tf.Tensor) -> tf.Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _intersections(boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """What boxes [N, B, 4] and anchors [A, 4] have in common: areas [N, B, A]."""
    ymin, xmin, ymax, xmax = (boxes[..., i, None] for i in range(4))  # [N, B, 1]
    top, left, bottom, right = tf.unstack(anchors, axis=1)  # [A]
    height = tf.nn.relu(tf.minimum(ymax, bottom) - tf.maximum(ymin, top))
    width = tf.nn.relu(tf.minimum(xmax, right) - tf.maximum(xmin, left))
    return height * width
