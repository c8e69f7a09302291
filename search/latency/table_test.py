import re
import subprocess
import sys

import pytest

from benchmark.blocks.parts import part_of
from mobilenet_v3.tables import SPECS
from search.latency.correction import Correction, way_of, weights_mb
from search.latency.form import FileForm
from search.latency.table import TableLatency
from search.latency.testing import OVERHEAD_MS, by_work, make_table
from search.latency_grid import grid_parts
from search.space import Space
from search.space_parts import space_parts
from search.widths import drawn, narrowest

FORM = FileForm(64, 10)


@pytest.fixture(scope='module')
def grid(tmp_path_factory):
    """A table of V3-Small in many widths."""
    parts = grid_parts([SPECS['small']], FORM, networks=24, lowest=0.25)
    return make_table(tmp_path_factory.mktemp('grid') / 'table.csv', parts)


def expected_ms(spec):
    return sum(map(by_work, FORM.parts(spec))) + OVERHEAD_MS


def test_a_network_whose_parts_were_measured_is_their_sum(tmp_path):
    table = make_table(tmp_path / 'table.csv', FORM.parts(SPECS['small']))
    latency = TableLatency(table, FORM)
    assert latency.predict(SPECS['small']) == pytest.approx(expected_ms(SPECS['small']), abs=1e-5)


def test_widths_between_measured_ones_are_fitted(grid):
    latency = TableLatency(grid, FORM)
    for spec in drawn(SPECS['small'], 20, 0.25, seed=5):
        assert not set(FORM.parts(spec)) <= set(grid.rows)
        assert latency.predict(spec) == pytest.approx(expected_ms(spec), rel=0.02)
        latency.require(FORM.parts(spec), '--space ')


def test_missing_parts_are_named_with_the_command_that_measures_them(tmp_path):
    table = make_table(tmp_path / 'table.csv', FORM.parts(SPECS['small']))
    other = SPECS['small_minimalistic']
    latency = TableLatency(table, FORM)
    with pytest.raises(ValueError, match=r'has no row for .*block 32×32×16, 3×3 / 2') as e:
        latency.predict(other)
    command = re.search(
        r'python -m benchmark.block_table --parts=(\S+) .*--output=(\S+)', str(e.value)
    )
    assert [part_of(key) for key in command[1].split(',')] == latency.missing(FORM.parts(other))
    assert command[2] == str(tmp_path)


def test_widths_beyond_the_measured_ones_are_missing(grid):
    latency = TableLatency(grid, FORM)
    narrow = narrowest(SPECS['small'], 0.0)
    assert latency.missing(FORM.parts(narrow))
    with pytest.raises(ValueError, match='nor enough of such parts with other widths'):
        latency.predict(narrow)


def test_a_space_whose_parts_are_missing_is_told_with_the_command_for_all_of_it(grid):
    latency = TableLatency(grid, FORM)
    with pytest.raises(ValueError, match=r'measure them: python -m search\.latency_grid --space'):
        latency.require(space_parts(Space(SPECS['small']), FORM), '--space ')


def test_a_correction_applies_to_the_sum_and_the_weights(grid):
    plain = TableLatency(grid, FORM)
    correction = Correction(
        'paper', way_of(grid), 'float32', FORM.resolution, 1.1, 0.02, networks=10
    )
    corrected = TableLatency(grid, FORM, correction)
    spec = SPECS['small']
    expected = 1.1 * plain.predict(spec) + 0.02 * weights_mb(FORM.parts(spec))
    assert corrected.predict(spec) == pytest.approx(expected)


def test_predictions_need_no_tensorflow():
    code = (
        'import sys; from search.latency.table import TableLatency; '
        'from search.latency.model import MAdds; sys.exit("tensorflow" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
