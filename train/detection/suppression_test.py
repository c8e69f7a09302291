import numpy as np
import pytest
import tensorflow as tf

from train.detection.box_coder import corners
from train.detection.suppression import detections

# Two that overlap by 0.82, one apart, one that reaches out of the image.
ANCHORS = tf.constant(
    [[0.3, 0.3, 0.2, 0.2], [0.3, 0.32, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2], [0.0, 0.5, 0.4, 0.4]]
)


def found(*scores, iou_threshold=0.6, score_threshold=1e-8, most=5):
    """Detections where the anchors have these probabilities of two classes and codes of zero."""
    p = np.concatenate([np.full((4, 1), 0.5), np.array(scores)], axis=1)
    outputs = {
        'boxes': tf.zeros([1, 4, 4]),
        'scores': tf.constant(np.log(p / (1 - p))[None], tf.float32),
    }
    answer = detections(
        outputs, ANCHORS, iou_threshold=iou_threshold, score_threshold=score_threshold, most=most
    )
    return {name: value.numpy()[0] for name, value in answer.items()}


SCORES = ((0.9, 0.1), (0.8, 0.2), (0.3, 0.7), (0.05, 0.01))


def test_the_worse_of_two_that_overlap_is_left_out_class_by_class():
    answer = found(*SCORES, score_threshold=0.06)
    np.testing.assert_allclose(answer['scores'], [0.9, 0.7, 0.3, 0.2, 0.0], atol=1e-6)
    assert answer['classes'].tolist()[:4] == [0, 1, 0, 1]
    boxes = corners(ANCHORS).numpy()[[0, 2, 2, 1]]
    np.testing.assert_allclose(answer['boxes'][:4], boxes, atol=1e-6)


def test_boxes_that_overlap_less_stay():
    answer = found(*SCORES, iou_threshold=0.9, score_threshold=0.25)
    np.testing.assert_allclose(answer['scores'], [0.9, 0.8, 0.7, 0.3, 0.0], atol=1e-6)


def test_boxes_end_with_the_image():
    answer = found((0.1, 0.1), (0.1, 0.1), (0.1, 0.1), (0.9, 0.1), most=1)
    np.testing.assert_allclose(answer['boxes'], [[0.0, 0.3, 0.2, 0.7]], atol=1e-6)


@pytest.mark.parametrize('most', [1, 3, 100])
def test_there_are_as_many_rows_as_were_asked_for(most):
    answer = found(*SCORES, most=most)
    assert answer['boxes'].shape == (most, 4)
    assert answer['scores'].shape == answer['classes'].shape == (most,)
    assert answer['classes'].dtype == np.int32
