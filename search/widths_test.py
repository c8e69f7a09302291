import dataclasses

import numpy as np
import pytest

from mobilenet_v3.cost import count
from mobilenet_v3.spec import place
from mobilenet_v3.tables import SPECS
from search.widths import STEM, drawn, narrowest, shrink, widths


def width_of(spec, name):
    return {width.name: width for width in widths(spec)}[name]


def structure(spec):
    """What shrinking must leave: layers and residuals."""
    return [(at.name, at.has_expansion, at.has_residual, at.stride) for at in place(spec)]


def test_the_widths_of_small_are_its_expansions_and_its_bottleneck_sizes():
    assert [width.name for width in widths(SPECS['small'])] == [
        *(f'expansion_{number}' for number in range(2, 12)),  # the first block has none
        'bottleneck_1',
        'bottleneck_2-3',
        'bottleneck_4-6',
        'bottleneck_7-8',
        'bottleneck_9-11',
    ]


def test_a_residual_ties_the_stem_of_large_to_its_first_block():
    width = width_of(SPECS['large'], 'bottleneck_0-1')
    assert width.first == STEM
    spec = shrink(SPECS['large'], width, 8)
    assert (spec.stem.filters, spec.blocks[0].expansion, spec.blocks[0].filters) == (8, 8, 8)
    assert structure(spec) == structure(SPECS['large'])


def test_an_expansion_shrinks_alone():
    spec = shrink(SPECS['small'], width_of(SPECS['small'], 'expansion_5'), 200)
    changed = [
        i for i, (a, b) in enumerate(zip(SPECS['small'].blocks, spec.blocks, strict=True)) if a != b
    ]
    assert changed == [4]
    assert spec.blocks[4] == dataclasses.replace(SPECS['small'].blocks[4], expansion=200)


def test_a_bottleneck_shrinks_in_all_blocks_that_share_it():
    spec = shrink(SPECS['small'], width_of(SPECS['small'], 'bottleneck_4-6'), 32)
    assert [block.filters for block in spec.blocks] == [16, 24, 24, 32, 32, 32, 48, 48, 96, 96, 96]
    assert [block.expansion for block in spec.blocks] == [
        b.expansion for b in SPECS['small'].blocks
    ]
    assert spec.last == SPECS['small'].last


def test_the_last_convolution_keeps_its_ratio_to_its_input():
    spec = shrink(SPECS['small'], width_of(SPECS['small'], 'bottleneck_9-11'), 80)
    assert spec.last.filters == 6 * 80
    v2 = shrink(SPECS['v2'], width_of(SPECS['v2'], 'bottleneck_17'), 256)
    assert v2.last.filters == 1280


def test_depthwise_layers_without_expansion_follow_their_input():
    spec = shrink(SPECS['v1'], width_of(SPECS['v1'], 'bottleneck_2'), 96)
    assert (spec.blocks[1].filters, spec.blocks[2].expansion) == (96, 96)
    assert structure(spec) == structure(SPECS['v1'])


def test_no_residual_appears_where_widths_become_equal():
    spec = shrink(SPECS['large'], width_of(SPECS['large'], 'bottleneck_11-12'), 80)
    assert spec.blocks[9].filters == spec.blocks[10].filters == 80
    assert structure(spec) == structure(SPECS['large'])
    assert width_of(spec, 'bottleneck_11-12').channels == 80


@pytest.mark.parametrize('channels', [88, 24])
def test_what_is_no_narrower_or_would_lose_its_convolution_is_refused(channels):
    width = width_of(SPECS['small'], 'expansion_3')
    with pytest.raises(ValueError, match='expected at least 25 and fewer than its 88'):
        shrink(SPECS['small'], width, channels)


def test_steps_are_multiples_of_8_above_the_input():
    width = width_of(SPECS['small'], 'expansion_3')
    assert width.steps() == [80, 72, 64, 56, 48, 40, 32]
    assert width.steps(lowest=60) == [80, 72, 64]


@pytest.mark.parametrize('name', SPECS)
def test_every_network_can_be_narrow_and_keeps_its_layers(name):
    spec = SPECS[name]
    narrow = narrowest(spec, 0.25)
    assert structure(narrow) == structure(spec)
    assert [width.name for width in widths(narrow)] == [width.name for width in widths(spec)]
    assert count(narrow).madds < 0.5 * count(spec).madds
    for width, seed in zip(widths(narrow), widths(spec), strict=True):
        assert 0.25 * seed.channels <= width.channels <= seed.channels


def test_drawn_networks_differ_and_are_the_same_for_the_same_seed():
    some = drawn(SPECS['small'], 5, 0.25, seed=1)
    assert some == drawn(SPECS['small'], 5, 0.25, seed=1)
    assert len({dataclasses.replace(spec, name='') for spec in some}) == 5
    assert some[0].name == 'small_1_0'
    madds = [count(spec).madds for spec in some]
    assert np.ptp(madds) > 0.1 * max(madds)
