import dataclasses

import pytest
from PIL import Image

from benchmark.blocks.block_report import (
    MeasuredNetwork,
    network_table,
    plot_blocks,
    prediction_table,
    report_markdown,
)
from benchmark.blocks.parts import Network
from benchmark.latency import summarize, turn_of
from mobilenet_v3.tables import SPECS

OVERHEAD_MS = 0.01


def latency(ms, name='part'):
    turns = [turn_of([ms * (1 + round_index / 1000)] * 3) for round_index in range(7)]
    return summarize(turns, model=name, sha256='ab', size_bytes=1, threads=1, xnnpack=True)


def measured(name='small', scheme='float32', form='fused', factor=1.0, whole_ms=None):
    """Parts that take 0.1, 0.2, … ms; h-swish makes them `factor` times as slow."""
    network = Network(name, SPECS[name], 224, scheme, form)
    parts = {
        part_name: latency((place + 1) / 10 * (1.0 if part.hard_swish == 'none' else factor))
        for place, (part_name, part) in enumerate(network.parts.items())
    }
    total_ms = sum(part.median_ms for part in parts.values())
    whole = latency(total_ms if whole_ms is None else whole_ms, network.key)
    return MeasuredNetwork(network, whole, parts, OVERHEAD_MS)


def test_shares_sum_to_one():
    assert sum(measured().shares.values()) == pytest.approx(1)


def test_every_part_is_counted_without_the_cost_of_an_invocation_and_that_once():
    m = measured(whole_ms=10.0)
    total_ms = sum(part.median_ms for part in m.parts.values())
    assert m.sum_ms == pytest.approx(total_ms - len(m.parts) * OVERHEAD_MS)
    assert m.predicted_ms == pytest.approx(m.sum_ms + OVERHEAD_MS)
    assert m.error == pytest.approx(m.predicted_ms / m.whole.median_ms - 1)


def test_the_table_holds_parts_forms_ratios_and_the_whole():
    table = network_table([measured(), measured(form='decomposed', factor=1.25)])
    lines = {line.split('|')[1].strip(): line for line in table.splitlines()}
    assert list(lines)[2:] == [*measured().parts, 'sum', 'whole']
    assert '0.800 [0.800, 0.800]' in lines['stem']
    assert lines['bneck_1'].rstrip(' |').endswith('–')
    assert '100%' in lines['sum']
    head = table.splitlines()[0]
    assert 'float32 fused ms' in head
    assert 'float32 fused / decomposed' in head


def test_a_network_without_h_swish_has_no_form_and_no_ratio():
    table = network_table([measured('v2')])
    assert 'float32 ms' in table
    assert 'decomposed' not in table


def test_predictions_have_their_errors_and_the_median():
    exact = measured()
    networks = [exact, measured(whole_ms=exact.predicted_ms / 1.003 / 0.9)]
    said = prediction_table(networks)
    assert '-10.0%' in said
    assert 'largest 10.0%; at p5: median' in said


def test_a_busy_machine_shows_in_the_errors_but_not_in_those_at_p5():
    quiet = measured()
    busy = dataclasses.replace(quiet.whole, median_ms=3 * quiet.whole.median_ms)
    m = dataclasses.replace(quiet, whole=busy)
    assert m.error < -0.6
    assert m.undisturbed_error == pytest.approx(quiet.undisturbed_error)
    without = dataclasses.replace(m, whole=dataclasses.replace(busy, p5_ms=None, p95_ms=None))
    assert without.undisturbed_error is None
    assert prediction_table([without]).endswith('%.')


def test_the_report_says_where_and_how_it_was_measured():
    said = report_markdown(
        [measured(), measured('v2')],
        device='pixel',
        facts={'soc': 'gs101'},
        protocol={'threads': 1},
    )
    assert said.startswith('# What the parts of networks cost on pixel\n\nsoc gs101, threads 1.')
    assert '## small, 224²' in said
    assert '## v2, 224²' in said
    assert '## Parts against the whole' in said


def test_the_plot_is_a_picture_with_a_panel_a_network(tmp_path):
    heights = []
    for networks in ([measured()], [measured(), measured('v2')]):
        plot_blocks(tmp_path / 'blocks.png', networks)
        with Image.open(tmp_path / 'blocks.png') as picture:
            heights.append(picture.height)
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)


def test_a_device_without_percentiles_is_drawn_too(tmp_path):
    m = measured()
    parts = {
        name: dataclasses.replace(part, p5_ms=None, p95_ms=None) for name, part in m.parts.items()
    }
    slow = measured(scheme='int8', factor=20.0)  # its bars leave the picture
    plot_blocks(tmp_path / 'blocks.png', [dataclasses.replace(m, parts=parts), slow])
    assert (tmp_path / 'blocks.png').stat().st_size > 1000
