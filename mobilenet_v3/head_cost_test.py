import pytest

from mobilenet_v3.head_cost import count_detector, detector_maps
from mobilenet_v3.heads import DetectionHead
from mobilenet_v3.tables import get_spec
from mobilenet_v3.transforms import halve_tail


def dagger(name):
    return halve_tail(get_spec(name), first_expansion=False)


# Table 6 at 320²: network, width, classes, our parameters (M) and MAdds (B), the paper's.
#
# The paper's V1 and V2 rows are those of MobileNetV2's paper and hold 80 classes: with 90, V1 has
# 5.247M and V2 4.501M. At 0.35 and 0.5 the paper's counts are met where the last 1×1 convolution and
# the extra maps shrink as well; with 1280 and 512 kept, V2 0.35 would have 2.555M.
TABLE_6 = [
    ('v1', 1.0, 80, 5.101, 1.309, 5.1, 1.3),
    ('v2', 1.0, 80, 4.337, 0.789, 4.3, 0.80),
    ('mnasnet_a1', 1.0, 90, 4.912, 0.838, 4.88, 0.84),
    ('large', 1.0, 90, 5.007, 0.613, 4.97, 0.62),
    (dagger('large'), 1.0, 90, 3.248, 0.507, 3.22, 0.51),
    ('v2', 0.35, 90, 0.946, 0.167, 0.93, 0.16),
    ('v2', 0.5, 90, 1.562, 0.272, 1.54, 0.27),
    ('mnasnet_a1', 0.35, 90, 1.031, 0.177, 1.02, 0.18),
    ('mnasnet_a1', 0.5, 90, 1.690, 0.290, 1.68, 0.29),
    ('small', 1.0, 90, 2.518, 0.210, 2.49, 0.21),
    (dagger('small'), 1.0, 90, 1.786, 0.162, 1.77, 0.16),
]


@pytest.mark.parametrize(
    ('model', 'multiplier', 'classes', 'params', 'madds', 'paper_params', 'paper_madds'), TABLE_6
)
def test_detectors_cost_what_table_6_says(
    model, multiplier, classes, params, madds, paper_params, paper_madds
):
    cost = count_detector(model, multiplier=multiplier, num_classes=classes)
    assert cost.params / 1e6 == pytest.approx(params, abs=6e-4)
    assert cost.madds / 1e9 == pytest.approx(madds, abs=6e-4)
    assert cost.params / 1e6 == pytest.approx(paper_params, rel=0.02)
    # The paper rounds to two digits: 0.16 may be 0.165.
    assert cost.madds / 1e9 == pytest.approx(paper_madds, rel=0.02, abs=0.0075)


def test_predictors_stand_on_c4_c5_and_maps_of_half_the_size():
    maps = detector_maps(dagger('large'), (320, 320), DetectionHead())
    assert maps == [
        (20, 20, 672),
        (10, 10, 480),
        (5, 5, 512),
        (3, 3, 256),
        (2, 2, 256),
        (1, 1, 128),
    ]
    assert detector_maps(get_spec('small'), (33, 50), DetectionHead(extras=(8,))) == [
        (3, 4, 288),
        (2, 2, 576),
        (1, 1, 8),
    ]


def test_a_class_costs_a_logit_of_every_anchor():
    one, two = (count_detector('small', num_classes=k).params for k in (1, 2))
    channels = 3 * (288 + 1) + 6 * (576 + 512 + 256 + 256 + 128 + 5)
    assert two - one == channels
