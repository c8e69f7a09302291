"""The paper's tables as Markdown, each cell of ours beside the paper's."""

from benchmark.paper import grid
from benchmark.paper.measured import Accuracy, MeasuredGrid
from benchmark.paper.paper_tables import Cell, Column, Row, Table
from train.markdown import escape, markdown_table

MISSING = 'missing'
NONE = '–'
_ACCURACIES = ('top1', 'task')
_ELSEWHERE = '‡'  # an accuracy that was not measured on the paper's images


def render(table: Table, measured: MeasuredGrid) -> str:
    """A table: ours first, the paper's in brackets; our latencies in columns of their own."""
    at = next(i for i, c in enumerate(table.columns) if c.quantity == 'latency')
    devices = [(device, *kind) for device in measured.devices for kind in table.latencies]
    head = [_title(column) for column in table.columns]
    head[at:at] = [escape(f'{device.name} {title}') for device, title, _ in devices]
    rows = []
    for row in table.rows:
        cells = [
            _cell(table, column, figure, row.key(column), measured)
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


def _cell(
    table: Table, column: Column, figure: Cell, key: str | None, measured: MeasuredGrid
) -> str:
    theirs = NONE if figure is None else str(figure)
    if column.quantity in ('text', 'latency'):
        return escape(theirs)
    return f'{_ours(table, column, key, measured)} ({theirs})'


def _ours(table: Table, column: Column, key: str | None, measured: MeasuredGrid) -> str:
    """What is known here of a file: counted of its network, or told by its card."""
    if key is None:
        return MISSING
    if column.quantity in _ACCURACIES:
        accuracy = measured.accuracies.get(key)
        if accuracy is None:
            return MISSING
        mark = '' if _is_comparable(table, accuracy) else f' {_ELSEWHERE}'
        return f'{accuracy.value * 100:.{column.digits}f}{mark}'
    cost = grid.ENTRIES[key].cost()
    total = cost.madds if column.quantity == 'madds' else cost.params
    return f'{total / column.scale:.{column.digits}f}'


def _latency(row: Row, file: int, latencies: dict) -> str:
    key = row.keys[file] if file < len(row.keys) else None
    return f'{latencies[key].median_ms:.2f}' if key in latencies else MISSING


def _is_comparable(table: Table, accuracy: Accuracy) -> bool:
    return accuracy.comparable and not table.held_out


def _elsewhere(table: Table, measured: MeasuredGrid) -> str:
    """Where the accuracies come from that are not of the paper's images."""
    if all(column.quantity not in _ACCURACIES for column in table.columns):
        return ''
    found = {
        table.name_of(row): measured.accuracies[key]
        for row in table.rows
        for key in row.keys[:1]
        if key in measured.accuracies and not _is_comparable(table, measured.accuracies[key])
    }
    if not found:
        return ''
    sources = '; '.join(
        f'{name}: {escape(accuracy.dataset)}, {escape(accuracy.examples)} images'
        for name, accuracy in found.items()
    )
    return f'{_ELSEWHERE} not comparable, not {table.images}: {sources}.'
