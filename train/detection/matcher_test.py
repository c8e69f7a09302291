import numpy as np
import pytest
import tensorflow as tf

from train.detection.box_coder import corners, decode
from train.detection.matcher import BACKGROUND, IGNORED, match

# A row of four squares, and one large one over all of them.
ROW = np.array([[0.5, x, 0.2, 0.2] for x in (0.1, 0.3, 0.5, 0.7)] + [[0.5, 0.4, 0.8, 0.8]])
ANCHORS = tf.constant(ROW, tf.float32)


def truth(*objects, padding=3):
    """An image's (box, class) or (box, class, crowd) as a batch of one."""
    count = len(objects) + padding
    boxes, labels, crowd = np.zeros((count, 4)), np.zeros(count), np.zeros(count, bool)
    for i, (box, label, *is_crowd) in enumerate(objects):
        boxes[i], labels[i], crowd[i] = box, label, bool(is_crowd)
    return {
        'boxes': tf.constant(boxes[None], tf.float32),
        'box_labels': tf.constant(labels[None], tf.int64),
        'valid': tf.constant(np.arange(count)[None] < len(objects)),
        'crowd': tf.constant(crowd[None]),
    }


def classes(*objects, **more):
    return match(truth(*objects, **more), ANCHORS, 0.5)['classes'].numpy()[0].tolist()


def square(x, side=0.2):
    return (0.5 - side / 2, x - side / 2, 0.5 + side / 2, x + side / 2)


def test_an_anchor_takes_the_object_that_it_overlaps():
    found = match(truth((square(0.3), 4)), ANCHORS, 0.5)
    assert found['classes'].numpy().tolist() == [[0, 5, 0, 0, 0]]
    np.testing.assert_allclose(found['codes'], np.zeros((1, 5, 4)), atol=1e-5)


def test_codes_lead_back_to_the_object():
    found = match(truth((square(0.52), 0), (square(0.1), 1)), ANCHORS, 0.5)
    boxes = decode(found['codes'], ANCHORS)[0]
    np.testing.assert_allclose(boxes[2], square(0.52), atol=1e-6)
    np.testing.assert_allclose(boxes[0], square(0.1), atol=1e-6)


def test_an_object_that_nothing_overlaps_enough_has_its_best_anchor():
    # A tenth of the square beside it.
    assert classes((square(0.5, side=0.06), 1)) == [0, 0, 2, 0, 0]


def test_of_two_that_want_an_anchor_the_one_that_overlaps_more_has_it():
    assert classes((square(0.5, side=0.06), 1), (square(0.5, side=0.1), 2)) == [0, 0, 3, 0, 0]
    assert classes((square(0.5, side=0.1), 2), (square(0.5, side=0.06), 1)) == [0, 0, 3, 0, 0]


def test_an_anchor_that_an_object_needs_is_not_another_objects():
    # The small one has no better anchor; the other overlaps it more, and the next one still more.
    between, small = (0.4, 0.5, 0.6, 0.71), square(0.5, side=0.06)
    found = match(truth((between, 0), (small, 1)), ANCHORS, 0.3)['classes']
    assert found.numpy().tolist() == [[0, 0, 2, 1, 0]]


def test_what_lies_in_a_crowd_is_ignored_but_where_it_has_an_object():
    crowd = ((0.4, 0.0, 0.6, 0.45), 3, True)
    assert classes(crowd) == [IGNORED, IGNORED, BACKGROUND, BACKGROUND, BACKGROUND]
    assert classes((square(0.1), 1), crowd) == [2, IGNORED, BACKGROUND, BACKGROUND, BACKGROUND]


@pytest.mark.parametrize('padding', [1, 5])
def test_an_image_without_boxes_is_background(padding):
    found = match(truth(padding=padding), ANCHORS, 0.5)
    assert found['classes'].numpy().tolist() == [[BACKGROUND] * 5]
    np.testing.assert_array_equal(found['codes'], np.zeros((1, 5, 4)))


def plain_match(boxes, labels, anchors, threshold):
    """The rules one anchor after the other."""
    overlap = np.zeros((len(boxes), len(anchors)))
    for i, a in enumerate(boxes):
        for j, b in enumerate(anchors):
            height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
            width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
            areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
            overlap[i, j] = height * width / (sum(areas) - height * width)
    taken = {}
    for i in np.argsort(overlap.max(1)):  # of two, the one that overlaps more comes last
        if overlap[i].any():
            taken[int(overlap[i].argmax())] = i
    for j in range(len(anchors)):
        if j not in taken and overlap[:, j].max() >= threshold:
            taken[j] = int(overlap[:, j].argmax())
    return [labels[taken[j]] + 1 if j in taken else 0 for j in range(len(anchors))]


@pytest.mark.parametrize('seed', range(3))
def test_a_batch_of_full_and_empty_images_equals_the_rules_one_by_one(seed):
    rng = np.random.default_rng(seed)
    anchors = np.concatenate([rng.uniform(0.1, 0.9, (60, 2)), rng.uniform(0.1, 0.5, (60, 2))], 1)
    low = rng.uniform(0, 0.6, (4, 9, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (4, 9, 2))], -1).astype(np.float32)
    labels, counts = rng.integers(0, 5, (4, 9)), np.array([9, 0, 1, 5])
    batch = {
        'boxes': tf.constant(boxes),
        'box_labels': tf.constant(labels),
        'valid': tf.constant(np.arange(9) < counts[:, None]),
        'crowd': tf.zeros([4, 9], tf.bool),
    }
    anchors = tf.constant(anchors, tf.float32)
    found = match(batch, anchors, 0.5)['classes'].numpy()
    for row, box, label, count in zip(found, boxes, labels, counts, strict=True):
        if not count:
            assert not row.any()
            continue
        expected = plain_match(box[:count], label[:count], corners(anchors).numpy(), 0.5)
        assert row.tolist() == expected
