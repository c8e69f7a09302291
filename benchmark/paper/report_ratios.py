"""Latencies of a table of the paper as ratios to one of its rows, beside the paper's own, and sizes."""

from benchmark.paper.measured import DeviceResults, MeasuredGrid
from benchmark.paper.paper_tables import Ratios, Row, Table
from benchmark.paper.report_tables import MISSING
from train.markdown import escape, markdown_table


def render(table: Table, measured: MeasuredGrid) -> list[str]:
    """A line and a table for each device, of the rows that are built here; nothing without ratios."""
    ratios = table.ratios
    if ratios is None:
        return []
    base = table.rows[ratios.row]
    blocks = [
        f'As ratios to the row {table.name_of(base)}, below 1 faster, with the 95 % interval over '
        'rounds; int8 / float is of the same network, MB are of its files.'
    ]
    for device in measured.devices:
        head = [escape(device.name)]
        for title, _, column in ratios.forms:
            head += [title, f'paper {title}'] if column else [title]
        rows = [
            [table.name_of(row), *_ratios(table, row, ratios, device), *_int8(row, ratios, device)]
            for row in table.rows
            if row.keys
        ]
        blocks.append(markdown_table([*head, 'int8 / float', 'MB float', 'MB int8'], rows))
    return blocks


def _ratios(table: Table, row: Row, ratios: Ratios, device: DeviceResults) -> list[str]:
    """Of each form ours, and the paper's where it has one."""
    base = table.rows[ratios.row]
    cells = []
    for _, file, column in ratios.forms:
        cells.append(_text(device, row.keys[file], base.keys[file]))
        if column:
            ours, theirs = (_figure(table, which, column) for which in (row, base))
            cells.append(f'{ours / theirs:.3f}')
    return cells


def _figure(table: Table, row: Row, title: str) -> float:
    """A figure of the paper."""
    column = next(i for i, column in enumerate(table.columns) if column.title == title)
    figure = row.figures[column]
    if not isinstance(figure, int | float):
        raise ValueError(f'{table.title} tells no {title} of {table.name_of(row)}')
    return float(figure)


def _int8(row: Row, ratios: Ratios, device: DeviceResults) -> list[str]:
    """Ratio of the int8 file to the float one, and the sizes of both, float first."""
    int8, float32 = (row.keys[file] for file in ratios.int8)
    return [_text(device, int8, float32), *(_size(device, key) for key in (float32, int8))]


def _text(device: DeviceResults, model: str, baseline: str) -> str:
    if model == baseline and device.latency(model):
        return '1'
    ratio = device.ratio(model, baseline)
    return str(ratio) if ratio else MISSING


def _size(device: DeviceResults, key: str) -> str:
    latency = device.latency(key)
    return f'{latency.size_bytes / 1e6:.2f}' if latency else MISSING
