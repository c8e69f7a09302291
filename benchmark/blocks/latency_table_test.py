import re

import pytest

from benchmark.blocks.latency_table import (
    HEADER,
    Row,
    Way,
    check_same_way,
    read_rows,
    read_table,
    write_table,
)
from benchmark.blocks.parts import named_parts, overhead, part_of
from mobilenet_v3.tables import SPECS

SHA256 = 'ab' * 32
WAY = Way(1, 'cpu of paper; runtime 2.3')


def rows_of(device='host', name='small', scheme='float32', way=WAY):
    """Parts that take 1, 2, 3, … ms, and an overhead of 0.25 ms."""
    parts = named_parts(SPECS[name], 224, scheme=scheme, hard_swish='fused')
    rows = [
        Row(device, way, part, place + 1.0, place + 0.5, place + 1.5, 10, SHA256)
        for place, part in enumerate(dict.fromkeys(parts.values()))
    ]
    return [*rows, Row(device, way, overhead(scheme), 0.25, None, None, 10, SHA256)]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / 'latency_table.csv'
    write_table(path, rows_of())
    return path


def change(path, line, column, value):
    """Puts a value into a cell; lines count from 1."""
    lines = [line.split(',') for line in path.read_text().splitlines()]
    lines[line - 1][HEADER.index(column)] = value
    path.write_text('\n'.join(map(','.join, lines)) + '\n')


def test_what_was_written_is_read(table):
    assert read_rows(table) == rows_of()
    assert read_table(table).device == 'host'


def test_parts_are_looked_up(table):
    parts = named_parts(SPECS['small'], 224, scheme='float32', hard_swish='fused')
    found = read_table(table)
    assert found.latency_ms(parts['stem']) == 1.0
    assert found.latency_ms(parts['bneck_6']) == found.latency_ms(parts['bneck_5']) == 6.0


def test_a_network_is_the_sum_of_its_parts_with_one_overhead(table):
    parts = list(named_parts(SPECS['small'], 224, scheme='float32', hard_swish='fused').values())
    found = read_table(table)
    whole = sum(found.latency_ms(part) - 0.25 for part in parts) + 0.25
    assert found.predict_ms(parts) == pytest.approx(whole)
    with pytest.raises(ValueError, match='there are no parts, expected those of a network'):
        found.predict_ms([])


def test_a_missing_shape_is_named_with_the_command_that_measures_it(table):
    parts = named_parts(SPECS['small'], 160, scheme='float32', hard_swish='fused')
    found = read_table(table)
    with pytest.raises(ValueError, match=r'no row for stem 160×160×3, 3×3 / 2, filters 16') as e:
        found.predict_ms(list(parts.values()))
    key = re.search(r'python -m benchmark.block_table --parts=(\S+) --output=', str(e.value))[1]
    assert part_of(key) == parts['stem']


def test_missing_parts_are_listed_once(table):
    other = named_parts(SPECS['large'], 224, scheme='float32', hard_swish='fused').values()
    own = [row.part for row in rows_of()]
    missing = read_table(table).missing([*own, *other])
    assert len(missing) == len(set(missing)) < len(other)
    assert not set(missing) & set(own)


def test_a_later_row_replaces_an_earlier_one(tmp_path):
    path = tmp_path / 'table.csv'
    first = rows_of()
    newer = Row('host', WAY, first[0].part, 9.0, None, None, 3, SHA256)
    write_table(path, [*first, newer])
    assert len(read_rows(path)) == len(first)
    assert read_table(path).latency_ms(newer.part) == 9.0


def test_of_several_devices_one_is_chosen(tmp_path):
    path = tmp_path / 'table.csv'
    write_table(path, [*rows_of(), *rows_of('pixel')])
    assert read_table(path, 'pixel').device == 'pixel'
    with pytest.raises(ValueError, match='rows of host, pixel; say which device is meant'):
        read_table(path)
    with pytest.raises(ValueError, match='no rows of phone, expected one of: host, pixel'):
        read_table(path, 'phone')


def test_a_table_without_rows_has_no_device(tmp_path):
    path = tmp_path / 'table.csv'
    write_table(path, [])
    with pytest.raises(ValueError, match='no rows of any device'):
        read_table(path)


def test_no_table_is_said_so(tmp_path):
    with pytest.raises(ValueError, match=r'no latency table .*measure it: python -m benchmark'):
        read_table(tmp_path / 'none.csv')


@pytest.mark.parametrize(
    ('column', 'value', 'message'),
    [
        ('device', '', "device is '', expected its name"),
        ('threads', '0', "threads is '0', expected a whole number of at least 1"),
        ('threads', '2', 'host with 2 threads (cpu of paper; runtime 2.3), expected 1 thread (cpu'),
        (
            'settings',
            'cpu of glass',
            'host with 1 thread (cpu of glass), expected 1 thread (cpu of',
        ),
        ('kernel', '3.5', "kernel is '3.5', expected a whole number"),
        ('part', 'neck', "part is 'neck', expected one of stem, block"),
        ('median_ms', 'nan', "median_ms is 'nan', expected milliseconds above 0"),
        ('median_ms', '', "median_ms is '', expected milliseconds above 0"),
        ('p5_ms', '-1', "p5_ms is '-1', expected milliseconds above 0"),
        ('rounds', '0', "rounds is '0', expected a whole number of at least 1"),
        ('sha256', 'abc', "sha256 is 'abc', expected 64 hexadecimal digits"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(table, column, value, message):
    change(table, 4, column, value)
    with pytest.raises(ValueError, match=re.escape(f'line 4: {message}')):
        read_table(table)


def test_a_wrong_head_is_named(table):
    change(table, 1, 'median_ms', 'mean_ms')
    with pytest.raises(ValueError, match="line 1: column 20 is 'mean_ms', expected 'median_ms'"):
        read_table(table)


def test_rows_of_two_ways_are_not_mixed(table):
    other = rows_of(way=Way(2, WAY.settings))
    message = (
        r'would hold rows of host with 1 thread \(cpu of paper; runtime 2.3\) and with 2 threads '
        r'\(.*measure in one way, or into another --output'
    )
    with pytest.raises(ValueError, match=message):
        write_table(table, [*rows_of(), *other])
    with pytest.raises(ValueError, match=message):
        check_same_way(table, rows_of(), 'host', Way(2, WAY.settings))
    check_same_way(table, rows_of(), 'host', WAY)
    check_same_way(table, rows_of(), 'pixel', Way(2, ''))
    assert read_rows(table) == rows_of()
    phone = Way(2, 'build 1; mask c0; tool 2.17')
    write_table(table, [*rows_of(), *rows_of('pixel', way=phone)])
    assert read_table(table, 'pixel').flags == (
        ' --threads=2 --device=adb --serial=SERIAL --benchmark_model=TOOL --core=c0'
    )


def test_the_command_that_measures_a_missing_part_measures_it_alike(table):
    part = rows_of()[0].part
    write_table(table, rows_of(way=Way(2, ''))[1:])
    with pytest.raises(ValueError, match=rf'--parts={re.escape(part.key)} --threads=2 --output='):
        read_table(table).latency_ms(part)


def test_the_settings_of_a_device_become_one_line():
    way = Way.of(1, {'tool': 'a\nb', 'mask': '4'})
    assert way.settings == 'mask 4; tool a b'
    assert str(Way.of(4, {})) == '4 threads'


def test_a_table_of_an_earlier_version_is_said_so(table):
    lines = [line.split(',') for line in table.read_text().splitlines()]
    table.write_text('\n'.join(','.join([line[0], *line[3:]]) for line in lines))
    with pytest.raises(ValueError, match=r'did not tell threads and settings, .*; remove it and m'):
        read_table(table)


def test_missing_columns_are_said_so(table):
    lines = table.read_text().splitlines()
    table.write_text('\n'.join([lines[0], lines[1].rpartition(',')[0]]))
    with pytest.raises(ValueError, match='line 2: 23 columns, expected 24'):
        read_table(table)
    table.write_text(lines[0].rpartition(',')[0] + '\n')
    with pytest.raises(ValueError, match='line 1: 23 columns, expected 24'):
        read_table(table)


def test_a_part_that_stands_there_twice_is_refused(table):
    with table.open('a') as file:
        file.write(table.read_text().splitlines()[1] + '\n')
    with pytest.raises(ValueError, match='stands there twice, expected once'):
        read_table(table)


def test_another_file_is_refused(table):
    table.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match='is no CSV file'):
        read_table(table)


def test_reading_needs_no_tensorflow(table, run_python):
    program = (
        'import sys; from benchmark.blocks.latency_table import read_table; '
        f'read_table({str(table)!r}); print("tensorflow" in sys.modules)'
    )
    assert run_python('-c', program, cwd=table.parent).stdout.strip() == 'False'
