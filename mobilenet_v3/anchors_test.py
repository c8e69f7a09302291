import math

import numpy as np
import pytest

from mobilenet_v3.anchors import anchors, detector_anchors
from mobilenet_v3.heads import AnchorSpec, DetectionHead
from mobilenet_v3.tables import get_spec

CELLS = (20**2, 10**2, 5**2, 3**2, 2**2, 1)


def test_the_released_detectors_have_2034_anchors():
    boxes = detector_anchors(get_spec('large'), 320)
    assert boxes.shape == (3 * CELLS[0] + 6 * sum(CELLS[1:]), 4)
    assert boxes.dtype == np.float32


def test_boxes_stand_on_the_centres_of_cells_row_by_row():
    boxes = anchors([(2, 3)], AnchorSpec())
    centres = boxes.reshape(2, 3, 3, 4)[..., :2]
    np.testing.assert_allclose(centres[0, 0], [[1 / 4, 1 / 6]] * 3)
    np.testing.assert_allclose(centres[0, 2], [[1 / 4, 5 / 6]] * 3)
    np.testing.assert_allclose(centres[1, 0], [[3 / 4, 1 / 6]] * 3)


def test_a_ratio_is_width_by_height_at_the_same_area():
    boxes = anchors([(1, 1), (1, 1)], AnchorSpec())
    root = math.sqrt(2)
    np.testing.assert_allclose(boxes[0, 2:], [0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(boxes[1, 2:], [0.2 / root, 0.2 * root], rtol=1e-6)
    np.testing.assert_allclose(boxes[2, 2:], [0.2 * root, 0.2 / root], rtol=1e-6)
    np.testing.assert_allclose(boxes[3:, 2] * boxes[3:, 3], [0.95**2] * 5 + [0.95], rtol=1e-6)


def test_square_boxes_are_square_in_the_pixels_of_a_wide_image():
    boxes = anchors([(4, 8)], AnchorSpec(reduced_first=False), image=(240, 480))
    np.testing.assert_allclose(boxes[0, 2:] * [240, 480], [0.2 * 240] * 2, rtol=1e-6)


@pytest.mark.parametrize('resolution', [32, 33, (97, 161), (320, 192)])
def test_any_size_has_anchors_of_every_map(resolution):
    head = DetectionHead(extras=(64, 32))
    boxes = detector_anchors(get_spec('small'), resolution, head)
    assert np.all(np.isfinite(boxes))
    assert np.all((boxes[:, :2] > 0) & (boxes[:, :2] < 1))
    assert np.all(boxes[:, 2:] > 0)
