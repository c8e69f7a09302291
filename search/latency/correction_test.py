import dataclasses
import json

import pytest

from benchmark.blocks.parts import named_parts
from mobilenet_v3.cost import count
from mobilenet_v3.tables import SPECS
from search.latency.correction import (
    FILE,
    Correction,
    Observed,
    correction_of,
    helpful_correction,
    read_corrections,
    weights_mb,
    write_correction,
)
from search.latency.form import FileForm
from search.latency.testing import WAY, make_table
from search.widths import drawn

FORM = FileForm(64, 10)


@pytest.fixture
def table(tmp_path):
    return make_table(tmp_path / 'table.csv', FORM.parts(SPECS['small']))


def correction(form, factor):
    return Correction('paper', str(WAY), form.scheme, form.resolution, factor, 0.02, 10)


def observed(factor, ms_per_mb, noise=(1.0,)):
    """Ten networks that take `factor` · sum + `ms_per_mb` · MB, times a noise in turn."""
    found = []
    for number, spec in enumerate(drawn(SPECS['small'], 10, 0.25, seed=3)):
        parts = FORM.parts(spec)
        sum_ms = 0.1 + count(spec, resolution=64, num_classes=10).madds / 1e8
        took = factor * sum_ms + ms_per_mb * weights_mb(parts)
        found.append(Observed(parts, sum_ms, took * noise[number % len(noise)]))
    return found


@pytest.mark.parametrize('name', ['small', 'large', 'mnasnet_a1', 'v1'])
def test_the_weights_of_parts_are_those_of_the_network(name):
    parts = list(
        named_parts(SPECS[name], 224, scheme='int8', hard_swish='fused', num_classes=1000).values()
    )
    params = count(name).params / 1e6
    assert 0.97 * params < weights_mb(parts) < params  # without biases and BN


def test_what_was_put_in_is_found(table):
    found = helpful_correction(observed(1.05, 0.03), table, FORM)
    assert (found.factor, found.ms_per_mb) == pytest.approx((1.05, 0.03))
    assert (found.device, found.way, found.networks) == ('paper', str(WAY), 10)
    assert [each.error(found) for each in observed(1.05, 0.03)] == pytest.approx([0] * 10)


def test_noise_alone_gives_no_correction(table):
    assert helpful_correction(observed(1, 0, noise=(0.97, 1.03, 1.0)), table, FORM) is None


def test_weights_never_make_a_network_faster(table):
    found = helpful_correction(observed(1.2, -0.002), table, FORM)
    assert found.ms_per_mb == 0
    assert 1.1 < found.factor < 1.2


def test_too_few_networks_give_no_correction(table):
    assert helpful_correction(observed(1.2, 0)[:4], table, FORM) is None


def test_corrections_are_written_beside_the_table_and_found_again(table):
    int8, large = FileForm(64, 10, 'int8'), FileForm(224, 10)
    ours, newer = correction(FORM, 1.1), correction(FORM, 1.2)
    others = [correction(int8, 1.3), correction(large, 1.4)]
    for form, each in ((FORM, ours), (int8, others[0]), (large, others[1]), (FORM, newer)):
        write_correction(table, form, each)
    assert read_corrections(table.path.parent) == [*others, newer]
    assert correction_of(table, FORM) == newer
    assert correction_of(table, int8) == others[0]
    assert correction_of(table, large) == others[1]


def test_a_correction_that_helps_no_more_is_removed(table):
    write_correction(table, FORM, None)
    assert not (table.path.parent / FILE).exists()
    write_correction(table, FORM, correction(FORM, 1.1))
    write_correction(table, FORM, None)
    assert correction_of(table, FORM) is None


def test_a_table_measured_otherwise_has_no_correction(table):
    other = dataclasses.replace(correction(FORM, 1.1), way='4 threads')
    write_correction(table, FORM, other)
    assert correction_of(table, FORM) is None


@pytest.mark.parametrize(
    'content',
    ['{', '[]', '{"corrections": [{}]}', '{"corrections": [{"device": 1, "factor": -1}]}'],
)
def test_a_file_that_holds_no_corrections_is_named(table, content):
    (table.path.parent / FILE).write_text(content)
    with pytest.raises(ValueError, match=r'is no file of corrections .* remove it'):
        read_corrections(table.path.parent)


def test_a_correction_that_no_fit_gives_is_refused(table):
    write_correction(table, FORM, correction(FORM, 1.1))
    values = json.loads((table.path.parent / FILE).read_text())
    values['corrections'][0]['factor'] = -1
    (table.path.parent / FILE).write_text(json.dumps(values))
    with pytest.raises(ValueError, match='expected numbers of at least 0'):
        correction_of(table, FORM)
