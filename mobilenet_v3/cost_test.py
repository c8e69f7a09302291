import pytest

from mobilenet_v3.cost import count, endpoint_shapes
from mobilenet_v3.tables import get_spec

# Golden counts: MAdds and trainable parameters at 224², 1000 classes, in millions, as the released
# code and its public re-implementations have them.
GOLDEN = [
    ('large', 1.0, 216.6, 5.483),
    ('large', 0.75, 154.6, 3.994),
    ('large', 0.5, 69.2, 2.690),
    ('large', 0.35, 39.5, 2.132),
    ('large', 1.25, 355.9, 8.256),
    ('small', 1.0, 56.9, 2.947),
    ('small', 0.75, 43.8, 2.409),
    ('small_1024', 1.0, 56.5, 2.543),
    ('small_1024', 0.75, 43.4, 2.042),
    ('large_minimalistic', 1.0, 209.1, 3.924),
    ('small_minimalistic', 1.0, 52.3, 2.045),
    ('mnasnet_a1', 1.0, 311.6, 3.89),
    ('mnasnet_small', 1.0, 68.3, 2.03),
    ('proxyless_mobile', 1.0, 320.4, 4.08),
    # MobileNetV2's and V1's papers: 300M and 3.4M, 569M and 4.2M.
    ('v2', 1.0, 300.8, 3.505),
    ('v1', 1.0, 568.7, 4.232),
]


@pytest.mark.parametrize(('name', 'multiplier', 'madds', 'params'), GOLDEN)
def test_counts_are_the_golden_ones(name, multiplier, madds, params):
    cost = count(name, multiplier=multiplier)
    assert cost.madds / 1e6 == pytest.approx(madds, abs=0.06)
    assert cost.params / 1e6 == pytest.approx(params, abs=0.006)


def test_totals_with_statistics_are_those_of_keras():
    assert count('large').total_params == 5_507_432
    assert count('small_1024').total_params == 2_554_968


def test_the_first_and_last_layers_are_what_table_1_says():
    layers = {layer.name: layer for layer in count('large').layers}
    assert layers['stem'].output == (112, 112)
    assert layers['stem'].params == 3 * 3 * 3 * 16 + 2 * 16
    assert layers['features'].madds == 960 * 1280
    assert layers['logits'].params == 1280 * 1000 + 1000


def test_resolution_scales_madds_and_leaves_parameters():
    full, half = count('small'), count('small', resolution=112)
    assert half.params == full.params
    assert full.madds / 4 < half.madds < full.madds / 3
    assert count('small', resolution=(96, 160)).madds == count('small', resolution=(160, 96)).madds


def test_sizes_that_do_not_divide_are_rounded_up():
    assert endpoint_shapes(get_spec('small'), (97, 33))['C5'] == (4, 2, 576)


def test_output_stride_costs_resolution_not_parameters():
    dense = count('large', output_stride=16)
    assert dense.params == count('large').params
    assert dense.madds > 1.3 * count('large').madds


@pytest.mark.parametrize('resolution', [31, 0, -224, (224, 16), (224,), 224.0])
def test_a_resolution_below_32_is_refused(resolution):
    with pytest.raises(ValueError, match='expected one number or'):
        count('large', resolution=resolution)


@pytest.mark.parametrize('multiplier', [0, -1.0, float('nan'), float('inf')])
def test_a_multiplier_that_is_not_positive_is_refused(multiplier):
    with pytest.raises(ValueError, match='expected a width multiplier above 0'):
        count('large', multiplier=multiplier)
