import dataclasses
import itertools
import re

import pytest

from benchmark.paper.grid import (
    CLASSIFIERS,
    ENTRIES,
    MULTIPLIERS,
    NETWORKS,
    RESOLUTIONS,
    Entry,
    fig9_steps,
)
from mobilenet_v3.cost import count
from mobilenet_v3.tables import SPECS

# The rows of the paper's tables and the points of its figures, as names of files.
ROWS = {
    'Table 3': (
        'large_1_224_float32',
        'v2_1_224_float32',
        'mnasnet_a1_1_224_float32',
        'proxyless_mobile_1_224_float32',
        'small_1_224_float32',
        'mnasnet_small_1_224_float32',
        'v2_0.35_224_float32',
        'large_0.75_224_float32',
        'small_0.75_224_float32',
    ),
    'Table 4': (
        'large_1_224_int8',
        'v2_1_224_int8',
        'small_1_224_int8',
        'v2_0.35_224_int8',
    ),
    'Table 5': tuple(
        f'large{change}_1_224_float32{form}'
        for change, form in (
            ('', ''),
            ('', '_decomposed'),
            ('_hs16', ''),
            ('_hs16', '_decomposed'),
            ('_hs112', ''),
            ('_hs112', '_decomposed'),
            ('_relu', ''),
        )
    ),
    'Fig. 1 and 2': tuple(f'v2_{m}_224_float32' for m in ('0.35', '0.5', '0.75', '1', '1.25')),
    'Fig. 7': tuple(
        f'{network}_{multiplier:g}_{resolution}_{scheme}'
        for network, multiplier, resolution, scheme in itertools.product(
            ('large', 'small'), MULTIPLIERS, RESOLUTIONS, ('float32', 'int8')
        )
    ),
    'Fig. 8': tuple(
        f'large{change}_{multiplier:g}_224_float32'
        for change in ('', '_relu', '_hs16', '_hs112')
        for multiplier in MULTIPLIERS
    ),
    'Fig. 9': tuple(f'{name}_1_224_float32' for name in (*fig9_steps(SPECS['large']), 'large')),
}


@pytest.mark.parametrize('table', ROWS)
def test_the_rows_of_the_paper_stand_in_the_grid(table):
    assert [row for row in ROWS[table] if row not in ENTRIES] == []


def test_the_grid_of_figure_7_is_the_papers():
    assert (MULTIPLIERS, RESOLUTIONS) == ((0.35, 0.5, 0.75, 1, 1.25), (96, 128, 160, 192, 224, 256))


def test_a_name_is_a_files_name_and_stands_for_one_file():
    assert [entry.key for entry in ENTRIES.values()] == list(ENTRIES)
    assert all(re.fullmatch(r'[a-z0-9_.]+', key) for key in ENTRIES)
    made = {
        (dataclasses.replace(e.spec, name=''), e.head, e.resolution, e.scheme, e.hard_swish)
        for e in ENTRIES.values()
    }
    assert len(made) == len(ENTRIES)


@pytest.mark.parametrize('key', CLASSIFIERS)
def test_every_classifier_is_a_network_of_its_own_name(key):
    entry = CLASSIFIERS[key]
    assert entry.spec.name == entry.network
    cost = count(entry.spec, resolution=entry.resolution)
    assert 1e6 < cost.params < 1e7
    assert cost.params == count(NETWORKS[entry.network], multiplier=entry.multiplier).params


@pytest.mark.parametrize(
    ('key', 'madds', 'params'),
    [
        ('large_1_224_float32', 216.6e6, 5.483e6),
        ('small_1_224_int8', 56.9e6, 2.947e6),
        ('v2_1_224_int8', 300.8e6, 3.505e6),
        ('large_minimalistic_1_224_float32', 209.1e6, 3.924e6),
    ],
)
def test_costs_of_entries_are_those_of_the_networks(key, madds, params):
    cost = ENTRIES[key].cost()
    assert (cost.madds, cost.params) == (
        pytest.approx(madds, rel=1e-3),
        pytest.approx(params, rel=1e-3),
    )


def test_int8_files_are_decomposed_and_networks_without_h_swish_have_one_form():
    for entry in ENTRIES.values():
        spec = entry.spec
        convs = [conv for conv in (spec.stem, *spec.blocks, spec.last, spec.features) if conv]
        swish = any(conv.activation == 'hard_swish' for conv in convs)
        if entry.scheme == 'int8':
            assert entry.hard_swish == 'decomposed'
        elif not swish:
            assert entry.hard_swish == 'fused'


def test_the_name_tells_the_form_of_a_float_file_that_is_not_the_usual_one():
    assert Entry('large', 0.75, 192).key == 'large_0.75_192_float32'
    assert Entry('large', hard_swish='decomposed').key == 'large_1_224_float32_decomposed'
    assert Entry('v2', scheme='int8', hard_swish='decomposed').key == 'v2_1_224_int8'


def test_each_step_of_figure_9_changes_the_network():
    steps = [*fig9_steps(SPECS['large']).values(), SPECS['large']]
    assert len({dataclasses.replace(spec, name='') for spec in steps}) == len(steps) == 5
    for before, after in itertools.pairwise(steps):
        changed = count(before).params != count(after).params
        swish = before.blocks[-1].activation != after.blocks[-1].activation
        assert changed != swish, (before, after)
