import dataclasses
import math

import pytest

from mobilenet_v3.heads import AnchorSpec, DetectionHead, SegmentationHead, maps_of, skip_of
from mobilenet_v3.tables import get_spec


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


# Feature map, output stride: kernel and windows of the paper's pooling.
POOLING = [
    ((64, 128), 16, (49, 49), (1, 4)),  # 1024 × 2048
    ((65, 129), 16, (49, 49), (2, 5)),  # 1025 × 2049
    ((49, 49), 16, (49, 49), (1, 1)),  # the crop of 769 that it is trained on
    ((32, 64), 32, (25, 25), (1, 2)),
    ((128, 256), 8, (97, 97), (2, 8)),
    ((32, 64), 16, (32, 64), (1, 1)),  # half resolution: a single window is the whole map
    ((23, 30), 16, (23, 30), (1, 1)),
    ((20, 90), 16, (20, 49), (1, 3)),
    ((1, 1), 32, (1, 1), (1, 1)),
]


@pytest.mark.parametrize(('features', 'output_stride', 'kernel', 'windows'), POOLING)
def test_the_pooling_of_the_gate_is_no_larger_than_the_map(
    features, output_stride, kernel, windows
):
    head = SegmentationHead()
    assert head.pool_kernel(features, output_stride) == kernel
    assert head.pooled_size(features, output_stride) == windows


@pytest.mark.parametrize('head', [SegmentationHead('r_aspp'), SegmentationHead(pooling='global')])
def test_global_pooling_has_one_window(head):
    assert head.pool_kernel((64, 128), 16) == (64, 128)
    assert head.pooled_size((64, 128), 16) == (1, 1)


def test_the_skip_is_the_last_depthwise_at_stride_8():
    assert skip_of(get_spec('large')) == 'bneck_6/depthwise'
    assert skip_of(get_spec('small')) == 'bneck_3/depthwise'
    assert skip_of(get_spec('v2')) == 'bneck_6/depthwise'
    # Dilation keeps more blocks at that resolution, but not at that level.
    assert skip_of(dataclasses.replace(get_spec('large'), output_stride=8)) == 'bneck_6/depthwise'
    coarse = dataclasses.replace(get_spec('large'), blocks=get_spec('large').blocks[:3])
    with pytest.raises(ValueError, match='large has no block at stride 8'):
        skip_of(coarse)


def test_ssdlite_stands_on_strides_16_and_32():
    assert maps_of(get_spec('large')) == ('bneck_13/expand', 'last')
    coarse = dataclasses.replace(get_spec('large'), output_stride=16)
    assert maps_of(coarse) == ('bneck_13/expand', 'last')
    fine = dataclasses.replace(get_spec('large'), blocks=get_spec('large').blocks[:12])
    told = 'large has no feature map at stride 32 for SSDLite, its strides end at 16; give one more'
    with pytest.raises(ValueError, match=told):
        maps_of(fine)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'kind': 'aspp'}, "kind is 'aspp'; expected 'lr_aspp' or 'r_aspp'"),
        ({'pooling': 'max'}, "pooling is 'max'; expected 'paper' or 'global'"),
        ({'filters': 0}, 'filters is 0; expected at least 1'),
        ({'dropout': 1.0}, 'dropout is 1.0; expected a rate in'),
    ],
)
def test_a_head_that_is_none_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        SegmentationHead(**fields)
