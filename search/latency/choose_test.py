import dataclasses

import pytest

from benchmark.blocks.latency_table import read_rows, write_table
from benchmark.session import Protocol
from mobilenet_v3.tables import SPECS
from search.latency.choose import open_latency, parse_target
from search.latency.correction import Correction, write_correction
from search.latency.form import FileForm
from search.latency.measured import MeasuredLatency
from search.latency.model import MAdds
from search.latency.table import TableLatency
from search.latency.testing import WAY, PaperDevice, make_table

FORM = FileForm(64, 10)
SMALL = SPECS['small']


def test_every_word_has_its_model(tmp_path):
    table = make_table(tmp_path / 'table.csv', FORM.parts(SMALL)).path
    device = PaperDevice(lambda case: 1.0)
    kinds = {'madds': MAdds, f'table:{table}': TableLatency, 'host': MeasuredLatency}
    for word, kind in kinds.items():
        found = open_latency(word, FORM, SMALL, device, Protocol(), tmp_path / 'latency')
        assert isinstance(found, kind)


def test_the_correction_beside_a_table_is_used(tmp_path):
    table = make_table(tmp_path / 'table.csv', FORM.parts(SMALL)).path
    rows = make_table(table, FORM.parts(SMALL))
    write_correction(rows, FORM, Correction('paper', str(WAY), 'float32', 64, 2.0, 0.0, 10))
    plain = TableLatency(rows, FORM).predict(SMALL)
    found = open_latency(f'table:{table}', FORM, SMALL, None, Protocol(), tmp_path)
    assert found.predict(SMALL) == pytest.approx(2 * plain)


def test_a_table_of_several_devices_is_read_for_the_one_that_is_named(tmp_path):
    rows = read_rows(make_table(tmp_path / 'table.csv', FORM.parts(SMALL)).path)
    slower = [dataclasses.replace(r, device='pixel', median_ms=2 * r.median_ms) for r in rows]
    write_table(tmp_path / 'table.csv', [*rows, *slower])
    word = f'table:{tmp_path / "table.csv"}'
    with pytest.raises(
        ValueError, match='rows of paper, pixel; say which device is meant: --table_device'
    ):
        open_latency(word, FORM, SMALL, None, Protocol(), tmp_path)
    paper, pixel = (
        open_latency(word, FORM, SMALL, None, Protocol(), tmp_path, device).predict(SMALL)
        for device in ('paper', 'pixel')
    )
    assert pixel == pytest.approx(2 * paper)


@pytest.mark.parametrize('word', ['table', 'table:', 'phone', 'host', ''])
def test_other_words_are_refused(word, tmp_path):
    with pytest.raises(ValueError, match='expected table:FILE, host, adb or madds'):
        open_latency(word, FORM, SMALL, None, Protocol(), tmp_path)


def test_targets_are_shares_of_the_seed_or_latencies():
    assert parse_target('0.7x', 20.0) == pytest.approx(14)
    assert parse_target('12.5', 20.0) == 12.5
    for word in ('x', '', '-1x', '0', 'nan', 'infx', 'fast'):
        with pytest.raises(ValueError, match='expected a share of the seed such as'):
            parse_target(word, 20.0)
