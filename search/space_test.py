import dataclasses
import math

import numpy as np
import pytest

from mobilenet_v3.spec import place
from mobilenet_v3.tables import MNAS_SE, SPECS
from search.space import MNASNET, Space, draw, stages_of

# A space with 2 · 2 · 2 · 3 architectures a stage of more than one block.
FEW = {
    'op': ('separable', 'inverted_3'),
    'kernel': (3, 5),
    'se': (0.0,),
    'skip': (True,),
    'width': (0.75, 1.0),
    'layers': (-1, 0, 1),
}


def taken(space, **options):
    """The architecture that takes these options in every stage, the first ones else."""
    places = []
    for decision in space.decisions:
        wanted = options.get(decision.name.partition('/')[2], decision.options[0])
        places.append(decision.options.index(wanted) if wanted in decision.options else 0)
    return tuple(places)


def test_the_stages_of_v2_are_its_rows():
    stages = stages_of(SPECS['v2'])
    assert [(s.filters, s.layers, s.stride) for s in stages] == [
        (16, 1, 1),
        (24, 2, 2),
        (32, 3, 2),
        (64, 4, 2),
        (96, 3, 1),
        (160, 3, 2),
        (320, 1, 1),
    ]


@pytest.mark.parametrize('name', ['large', 'small', 'mnasnet_a1', 'mnasnet_small', 'v2', 'v1'])
def test_stages_hold_all_blocks(name):
    assert sum(stage.layers for stage in stages_of(SPECS[name])) == len(SPECS[name].blocks)


def test_v2_itself_is_in_mnasnets_space():
    space = Space(SPECS['v2'])
    architecture = list(taken(space, op='inverted_6', width=1.0, layers=0))
    assert space.decisions[0].name == 'stage_1/op'
    architecture[0] = 0  # its first stage does not expand
    found = space.spec(tuple(architecture))
    assert dataclasses.replace(found, name='v2') == SPECS['v2']


def test_mnasnets_space_has_the_size_that_its_decisions_make():
    space = Space(SPECS['v2'])
    # 3 operators, 2 kernels, 2 gates, 2 skips, 3 widths, 3 numbers of layers; a stage of one layer
    # cannot have less.
    assert space.size == 216**5 * 144**2
    assert len(space.options) == 7 * 6


def test_decisions_reach_their_stage_and_no_other():
    space = Space(SPECS['v2'])
    plain = taken(space, op='inverted_6', width=1.0, layers=0)
    names = [decision.name for decision in space.decisions]
    changes = {'stage_4/op': 1, 'stage_4/kernel': 1, 'stage_4/se': 1, 'stage_4/skip': 1}
    architecture = list(plain)
    for name, place_ in changes.items():
        architecture[names.index(name)] = place_
    found, before = space.spec(tuple(architecture)), space.spec(plain)
    assert found.blocks[:6] == before.blocks[:6]
    assert found.blocks[10:] == before.blocks[10:]
    for at, channels in zip(place(found)[6:10], (32, 64, 64, 64), strict=True):
        assert (at.block.kernel, at.block.expansion) == (5, 3 * channels)
        assert at.block.se == MNAS_SE
        assert not at.has_residual


def test_layers_and_widths_are_those_of_the_seed_and_more_or_less():
    space = Space(SPECS['v2'])
    more = space.spec(taken(space, layers=1, width=1.25))
    less = space.spec(taken(space, layers=-1, width=0.75))
    assert [stage.layers for stage in stages_of(more)] == [2, 3, 4, 5, 4, 4, 2]
    assert len(less.blocks) == 17 - 5  # stages of one layer keep it
    assert [more.blocks[-1].filters, less.blocks[-1].filters] == [400, 240]


def test_a_space_around_v3_has_its_gates_and_its_last_convolution():
    space = Space(SPECS['small'])
    found = space.spec(taken(space, se=0.25, width=1.25, layers=0))
    assert {block.se for block in found.blocks} == {SPECS['small'].blocks[0].se}
    assert found.last.filters == 6 * found.blocks[-1].filters
    assert found.features == SPECS['small'].features
    assert {block.activation for block in found.blocks[:3]} == {'relu'}


@pytest.mark.parametrize('name', ['v2', 'large', 'small'])
def test_every_drawn_architecture_is_a_network_of_its_own_name(name):
    space = Space(SPECS[name])
    rng = np.random.default_rng(0)
    specs = [space.spec(draw(space.options, rng)) for _ in range(50)]
    assert len({spec.name for spec in specs}) == 50
    assert len({dataclasses.replace(spec, name='') for spec in specs}) == 50


def test_a_choice_of_one_option_is_no_decision():
    space = Space(SPECS['small'], FEW)
    assert {decision.name.partition('/')[2] for decision in space.decisions} == {
        'op',
        'kernel',
        'width',
        'layers',
    }
    spec = space.spec(taken(space, width=1.0))
    assert not any(block.se for block in spec.blocks)


def test_architectures_of_other_spaces_are_refused():
    space = Space(SPECS['small'], FEW)
    for architecture in ((0,), (9,) * len(space.options), (-1,) * len(space.options)):
        with pytest.raises(ValueError, match='is no architecture of the space around small'):
            space.spec(architecture)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'op': ('conv',)}, r"'conv' is no option of op; expected such as \['separable'"),
        ({'kernel': (4,)}, '4 is no option of kernel'),
        ({'se': (2.0,)}, '2.0 is no option of se'),
        ({'se': ('a',)}, "'a' is no option of se"),
        ({'width': (math.inf,)}, 'inf is no option of width'),
        ({'width': ()}, r'the options of width are \(\); expected some, each once'),
        ({'layers': (0, 0)}, 'the options of layers are'),
        ({'layers': (-1,)}, 'expected one of at least 0'),
        ({'gate': (1,)}, 'the space decides .*gate.*; expected kernel, layers'),
    ],
)
def test_choices_that_make_no_space_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Space(SPECS['small'], {**MNASNET, **change})
