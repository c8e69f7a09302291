import dataclasses

import pytest

from mobilenet_v3 import transforms
from mobilenet_v3.cost import count
from mobilenet_v3.spec import SqueezeExcite
from mobilenet_v3.tables import SPECS, get_spec

LARGE = get_spec('large')


def activations(spec):
    return [block.activation for block in spec.blocks]


def test_expansion_is_relative_to_the_scaled_input():
    # Bneck 9 of Large: 184 of 80 channels; at 0.75 the input is 64, and 64 · 184 / 80 = 147 -> 144.
    widened = transforms.widen(LARGE, 0.75)
    assert widened.blocks[8].expansion == 144
    assert widened.blocks[8].filters == 64


def test_the_head_does_not_shrink_and_grows():
    assert transforms.widen(LARGE, 0.35).features.filters == 1280
    assert transforms.widen(LARGE, 1.25).features.filters == 1600
    assert transforms.widen(LARGE, 0.75).last.filters == 6 * 120
    assert transforms.widen(get_spec('v2'), 0.5).last.filters == 1280


@pytest.mark.parametrize('name', SPECS)
def test_width_one_changes_nothing_and_more_width_costs_more(name):
    spec = get_spec(name)
    assert transforms.widen(spec, 1.0) is spec
    costs = [count(name, multiplier=m).madds for m in (0.35, 0.5, 0.75, 1.0, 1.25, 2.0)]
    assert costs == sorted(costs)


def test_the_last_convolution_of_a_backbone_shrinks_too():
    assert transforms.widen_backbone(get_spec('v2'), 0.5).last.filters == 640
    for name in ('large', 'v1'):  # whose last convolution, if any, is relative to its input
        spec = get_spec(name)
        assert transforms.widen_backbone(spec, 0.5) == transforms.widen(spec, 0.5)
    assert transforms.widen_backbone(get_spec('v2'), 1.0) == get_spec('v2')


# Expansions and outputs from the first block at stride 32 on, and the last convolution.
TAILS = [
    ('large', False, (672, 480, 480), (80, 80, 80), 480),
    ('large', True, (336, 480, 480), (80, 80, 80), 480),
    ('small', False, (288, 288, 288), (48, 48, 48), 288),
    ('small', True, (144, 288, 288), (48, 48, 48), 288),
]


@pytest.mark.parametrize(('name', 'first', 'expansions', 'filters', 'last'), TAILS)
def test_the_tail_is_halved_as_detection_and_segmentation_do(
    name, first, expansions, filters, last
):
    spec, halved = get_spec(name), transforms.halve_tail(get_spec(name), first_expansion=first)
    assert tuple(block.expansion for block in halved.blocks[-3:]) == expansions
    assert tuple(block.filters for block in halved.blocks[-3:]) == filters
    assert halved.last.filters == last
    assert halved.blocks[:-3] == spec.blocks[:-3]


def test_a_classifiers_wide_last_convolution_is_no_part_of_segmentation():
    assert transforms.without_wide_last(get_spec('v2')).last is None
    for name in ('large', 'v1'):
        assert transforms.without_wide_last(get_spec(name)) == get_spec(name)


def test_halving_keeps_blocks_without_expansion_and_squeeze_widths_in_proportion():
    v1 = transforms.halve_tail(get_spec('v1'), first_expansion=True)
    assert [(block.expansion, block.filters) for block in v1.blocks[-2:]] == [(512, 512)] * 2
    wide = dataclasses.replace(LARGE.blocks[-1], se=SqueezeExcite(squeezed=320))
    spec = dataclasses.replace(LARGE, blocks=(*LARGE.blocks[:-1], wide))
    assert transforms.halve_tail(spec, first_expansion=False).blocks[-1].se.squeezed == 160


def test_h_swish_at_80_is_the_network_itself():
    assert transforms.hard_swish_from(LARGE, 80) == LARGE


def test_h_swish_at_16_is_everywhere_and_at_112_from_row_11():
    assert set(activations(transforms.hard_swish_from(LARGE, 16))) == {'hard_swish'}
    at_112 = activations(transforms.hard_swish_from(LARGE, 112))
    assert at_112 == ['relu'] * 10 + ['hard_swish'] * 5


def test_relu_only_has_no_h_swish_anywhere():
    spec = transforms.relu_only(LARGE)
    convs = [spec.stem, spec.last, spec.features]
    assert {c.activation for c in convs} | set(activations(spec)) == {'relu'}
    assert count(spec).params == count(LARGE).params


def test_the_original_last_stage_costs_the_30_million_madds_that_the_paper_saves():
    original = transforms.original_last_stage(LARGE)
    saved = count(original).madds - count(LARGE).madds
    assert 28e6 < saved < 36e6  # Paper: §5.1, "30 millions MAdds"
    assert original.blocks[-1].filters == 320
    assert original.features is None


def test_a_stem_of_32_costs_the_10_million_madds_that_the_paper_saves():
    wide = transforms.with_stem(LARGE, 32, 'relu')
    saved = count(wide).madds - count(LARGE).madds
    assert 8e6 < saved < 12e6  # Paper: §5.1, "10 million MAdds"
    assert wide.blocks[0].expansion == 32


def test_without_se_and_se_of_the_input_only_touch_the_squeeze():
    none, narrow = transforms.without_se(LARGE), transforms.se_of_input(LARGE)
    assert not any(block.se for block in none.blocks)
    assert count(none).params < count(narrow).params < count(LARGE).params
    assert narrow.blocks[3].se.width(24, 72) == 6


def test_minimalistic_is_plain():
    spec = get_spec('large_minimalistic')
    assert {block.kernel for block in spec.blocks} == {3}
    assert not any(block.se for block in spec.blocks)
    assert set(activations(spec)) == {'relu'}


def test_networks_without_what_an_ablation_changes_say_so():
    with pytest.raises(ValueError, match='v2 has no efficient last stage to undo'):
        transforms.original_last_stage(get_spec('v2'))
    with pytest.raises(ValueError, match='v1 has no features after pooling'):
        transforms.with_features(get_spec('v1'), 1024)
    flat = dataclasses.replace(LARGE, blocks=LARGE.blocks[:3])
    with pytest.raises(ValueError, match='large has no block at stride 32, so no tail to halve'):
        transforms.halve_tail(flat, first_expansion=True)
    with pytest.raises(ValueError, match='h-swish from 0 channels; expected at least 1'):
        transforms.hard_swish_from(LARGE, 0)
