import pytest

from benchmark.paper.grid import ENTRIES
from benchmark.paper.head_grid import FULL, HALF, HEAD_ENTRIES, HeadEntry
from mobilenet_v3.head_tables import DETECTORS, SEGMENTERS


def test_every_row_stands_in_the_grid_in_float_and_int8():
    rows = {(e.row, e.scheme, e.resolution) for e in HEAD_ENTRIES.values()}
    for scheme in ('float32', 'int8'):
        assert {(row, scheme, (320, 320)) for row in DETECTORS} <= rows
        assert {(row, scheme, HALF) for row in SEGMENTERS} <= rows
    assert {(row, 'float32', FULL) for row in SEGMENTERS} <= rows
    assert HEAD_ENTRIES.items() <= ENTRIES.items()


@pytest.mark.parametrize(
    ('key', 'params', 'madds'),
    [
        ('ssdlite_v3_halved_320_int8', 3.248e6, 0.507e9),
        ('seg_v3_rf2_lr_aspp_128_1024x2048_float32', 1.507e6, 9.474e9),  # with resizes
        ('seg_small_rf2_lr_aspp_128_512x1024_int8', 0.469e6, 0.708e9),
    ],
)
def test_costs_of_entries_are_those_of_the_rows(key, params, madds):
    cost = HEAD_ENTRIES[key].cost()
    assert (cost.params, cost.madds) == (
        pytest.approx(params, rel=1e-3),
        pytest.approx(madds, rel=1e-3),
    )


def test_segmenters_lie_apart_and_detectors_beside_the_classifiers():
    assert HeadEntry('v3').folder == ''
    assert HeadEntry('v3_rf2_lr_aspp_128', HALF).folder == 'segmentation'
