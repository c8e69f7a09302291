from benchmark.paper import paper_tables, report_ratios
from benchmark.paper.measured import MeasuredGrid, Together
from benchmark.paper.paper_tables import TABLE_3, TABLE_6, TABLE_7
from benchmark.paper.testing import device

V2, HALVED = 'ssdlite_v2_320_float32', 'ssdlite_v3_halved_320_float32'


def row(text, name):
    return next(line for line in text.splitlines() if line.startswith(f'| {name} |'))


def test_ratios_stand_beside_the_papers_with_int8_and_sizes():
    measured = MeasuredGrid(
        (device({V2: 8.0, HALVED: 6.0, HALVED.replace('float32', 'int8'): 3.0}),), {}, ()
    )
    intro, table = report_ratios.render(TABLE_6, measured)
    assert intro.startswith('As ratios to the row V2, below 1 faster')
    assert row(table, 'host') == (
        '| host | float | paper float | int8 | int8 / float | MB float | MB int8 |'
    )
    # The paper: 119 ms of 162.
    assert row(table, 'V3 †') == (
        '| V3 † | 0.750 [0.750, 0.750] | 0.735 | missing | 0.500 [0.500, 0.500] | 1.00 | 1.00 |'
    )
    assert row(table, 'V2') == '| V2 | 1 | 1.000 | missing | missing | 1.00 | missing |'
    assert row(table, 'V1') == '| V1 | missing | 1.407 | missing | missing | missing | missing |'


def test_files_that_were_measured_apart_have_no_ratio():
    keys = [paper_tables.TABLE_7.rows[i].keys[1] for i in (0, 7)]
    apart = tuple(Together(frozenset([key]), {}) for key in keys)
    measured = MeasuredGrid((device(dict.fromkeys(keys, 1.0), together=apart),), {}, ())
    _, table = report_ratios.render(TABLE_7, measured)
    assert row(table, '8 V3 RF2 LR-ASPP 128').startswith(
        '| 8 V3 RF2 LR-ASPP 128 | missing | 0.633 | missing | 0.644 | missing |'
    )


def test_every_device_has_a_table_and_tables_of_classifiers_none():
    measured = MeasuredGrid((device({}), device({}, 'b|c')), {}, ())
    assert len(report_ratios.render(TABLE_6, measured)) == 3
    assert '| b&#124;c |' in report_ratios.render(TABLE_6, measured)[2]
    assert report_ratios.render(TABLE_3, measured) == []
