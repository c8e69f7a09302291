"""From raw answers to detections: decoded boxes, of which overlapping ones are left out."""

import tensorflow as tf

from train.detection.box_coder import decode

MOST = 100  # detections of an image, as COCO counts them


def detections(
    outputs: dict[str, tf.Tensor],
    anchors: tf.Tensor,
    *,
    score_threshold: float,
    iou_threshold: float,
    most: int = MOST,
) -> dict[str, tf.Tensor]:
    """The best boxes of each image, class by class without those that overlap a better one.

    Args:
      outputs: of `mobilenet_v3.ssdlite`: 'boxes' [N, A, 4], 'scores' [N, A, K + 1], logits.
      anchors: [A, 4].
      score_threshold: of the probability that a box needs.
      iou_threshold: intersection over union above which the worse one of two is left out.
      most: detections of an image, and of each of its classes.

    Returns:
      'boxes' [N, most, 4] as ymin, xmin, ymax, xmax in [0, 1], 'scores' [N, most] in [0, 1] and
      'classes' [N, most] int32 from 0 on, without the background; the best come first, what is left
      free has score 0.
    """
    found = tf.image.combined_non_max_suppression(
        decode(outputs['boxes'], anchors)[:, :, None],
        tf.sigmoid(outputs['scores'][:, :, 1:]),
        max_output_size_per_class=most,
        max_total_size=most,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
    )
    return {
        'boxes': found.nmsed_boxes,
        'scores': found.nmsed_scores,
        'classes': tf.cast(found.nmsed_classes, tf.int32),
    }
