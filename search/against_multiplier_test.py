import dataclasses
import json

import pytest

from benchmark.latency import Ratio
from mobilenet_v3.tables import SPECS
from mobilenet_v3.transforms import widen
from search.against_multiplier import equal_multiplier, write_comparison
from search.latency.model import MAdds
from search.widths import drawn

SMALL, LATENCY = SPECS['small'], MAdds(64, 10)


@pytest.mark.parametrize('multiplier', [0.5, 0.75, 1.0])
def test_a_uniform_network_finds_itself(multiplier):
    found = equal_multiplier(SMALL, widen(SMALL, multiplier), LATENCY)
    assert dataclasses.replace(widen(SMALL, found)) == widen(SMALL, multiplier)


def test_the_uniform_network_takes_about_as_long():
    for spec in drawn(SMALL, 5, 0.5, seed=1):
        uniform = widen(SMALL, equal_multiplier(SMALL, spec, LATENCY))
        assert LATENCY.predict(uniform) == pytest.approx(LATENCY.predict(spec), rel=0.05)


def test_all_seeds_are_told(tmp_path):
    accuracies = {'found': [0.6, 0.62], 'uniform_0.7': [0.59, 0.6]}
    said = write_comparison(tmp_path, accuracies, Ratio('a', 'b', 1.01, 0.99, 1.03))
    assert '| found | 60.0% | 62.0% | 61.0% |' in said
    assert '1.010 [0.990, 1.030]' in (tmp_path / 'against.md').read_text()
    assert json.loads((tmp_path / 'against.json').read_text())['top1'] == accuracies
