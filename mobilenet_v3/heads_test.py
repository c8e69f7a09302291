import math

import pytest

from mobilenet_v3.heads import AnchorSpec, DetectionHead


def test_the_released_detectors_have_three_and_six_anchors_a_cell():
    assert DetectionHead().anchors_per_map == (3, 6, 6, 6, 6, 6)


def test_scales_are_even_and_end_at_the_whole_image():
    maps = AnchorSpec().shapes(6)
    assert maps[0] == ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))
    squares = [shapes[0][0] for shapes in maps[1:]]
    assert squares == pytest.approx([0.35, 0.5, 0.65, 0.8, 0.95])
    assert [ratio for _, ratio in maps[1]] == [1.0, 2.0, 0.5, 3.0, 1 / 3, 1.0]
    assert maps[1][-1][0] == pytest.approx(math.sqrt(0.35 * 0.5))
    assert maps[-1][-1][0] == pytest.approx(math.sqrt(0.95))


def test_one_map_has_the_smallest_scale():
    assert AnchorSpec(aspect_ratios=(1.0,), reduced_first=False).shapes(1)[0][0] == (0.2, 1.0)


def test_extra_maps_scale_with_the_width():
    assert DetectionHead().widen(0.35).extras == (176, 88, 88, 48)
    assert DetectionHead().widen(1.0) == DetectionHead()


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'min_scale': 0.0}, 'expected 0 < min <= max <= 1'),
        ({'min_scale': 0.5, 'max_scale': 0.4}, 'expected 0 < min <= max <= 1'),
        ({'max_scale': float('nan')}, 'expected 0 < min <= max <= 1'),
        ({'aspect_ratios': ()}, 'expected numbers above 0, width / height'),
        ({'aspect_ratios': (1.0, -2.0)}, 'expected numbers above 0, width / height'),
    ],
)
def test_anchors_that_are_no_boxes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        AnchorSpec(**fields)


def test_an_extra_map_without_channels_is_refused():
    with pytest.raises(ValueError, match='expected channel counts of at least 2'):
        DetectionHead(extras=(512, 0))
