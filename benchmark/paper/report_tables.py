"""The paper's tables as Markdown, each cell of ours beside the paper's."""

from benchmark.paper import grid
from benchmark.paper.claims import madds
from benchmark.paper.measured import MeasuredGrid
from benchmark.paper.paper_tables import Cell, Column, Row, Table
from mobilenet_v3.cost import count
from train.markdown import escape, markdown_table

MISSING = 'missing'
NONE = '–'
_ELSEWHERE = '‡'  # an accuracy that was not measured on ImageNet


def render(table: Table, measured: MeasuredGrid) -> str:
    """A table: ours first, the paper's in brackets; our latencies in columns of their own."""
    at = next(i for i, c in enumerate(table.columns) if c.quantity == 'latency')
    devices = [(device, *kind) for device in measured.devices for kind in table.latencies]
    head = [_title(column) for column in table.columns]
    head[at:at] = [escape(f'{device.name} {title}') for device, title, _ in devices]
    rows = []
    for row in table.rows:
        cells = [
            _cell(column, figure, row.key(column), measured)
            for column, figure in zip(table.columns, row.figures, strict=True)
        ]
        cells[at:at] = [_latency(row, file, device.latencies) for device, _, file in devices]
        rows.append(cells)
    texts = sum(column.quantity == 'text' for column in table.columns)
    blocks = [f'### {table.title}', markdown_table(head, rows, left=texts)]
    blocks += [note for note in (table.note, _elsewhere(table, measured)) if note]
    return '\n\n'.join(blocks)


def _title(column: Column) -> str:
    if column.quantity == 'latency':
        return f'paper {column.title}'
    return column.title if column.quantity == 'text' else f'{column.title} (paper)'


def _cell(column: Column, figure: Cell, key: str | None, measured: MeasuredGrid) -> str:
    theirs = NONE if figure is None else str(figure)
    if column.quantity in ('text', 'latency'):
        return escape(theirs)
    return f'{_ours(column, key, measured)} ({theirs})'


def _ours(column: Column, key: str | None, measured: MeasuredGrid) -> str:
    """What is known here of a file: counted of its network, or told by its card."""
    if key is None:
        return MISSING
    if column.quantity == 'top1':
        accuracy = measured.accuracies.get(key)
        if accuracy is None:
            return MISSING
        mark = '' if accuracy.comparable else f' {_ELSEWHERE}'
        return f'{accuracy.top1 * 100:.{column.digits}f}{mark}'
    entry = grid.ENTRIES[key]
    total = madds(entry) if column.quantity == 'madds' else count(entry.spec).params
    return f'{total / column.scale:.{column.digits}f}'


def _latency(row: Row, file: int, latencies: dict) -> str:
    key = row.keys[file] if file < len(row.keys) else None
    return f'{latencies[key].median_ms:.2f}' if key in latencies else MISSING


def _elsewhere(table: Table, measured: MeasuredGrid) -> str:
    """Where the accuracies come from that are not of ImageNet's validation images."""
    if all(column.quantity != 'top1' for column in table.columns):
        return ''
    found = {
        str(row.figures[0]): measured.accuracies[key]
        for row in table.rows
        for key in row.keys[:1]
        if key in measured.accuracies and not measured.accuracies[key].comparable
    }
    if not found:
        return ''
    sources = '; '.join(
        f'{name}: {escape(accuracy.dataset)}, {escape(accuracy.examples)} images'
        for name, accuracy in found.items()
    )
    return f'{_ELSEWHERE} not comparable, not ImageNet’s 50,000 validation images: {sources}.'
