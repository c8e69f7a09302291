"""What the parts of networks take on a device, as a CSV file: written by benchmark.block_table, read
by the search. It needs no TensorFlow, and a lookup is one in a dict.

A network's latency is predicted as the sum of its parts, each without what an invocation costs by
itself, and that once: `LatencyTable.predict_ms`.
"""

import csv
import dataclasses
import io
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.blocks.parts import COLUMNS, Part, overhead, part_cells, part_from_cells
from train.files import write_file

FIGURES = ('median_ms', 'p5_ms', 'p95_ms', 'rounds', 'sha256')
WAY = ('threads', 'settings')
HEADER = ('device', *WAY, *COLUMNS, *FIGURES)
COMMAND = 'python -m benchmark.block_table'
HOST = 'host'  # the name of every benchmark.host.HostDevice


@dataclasses.dataclass(frozen=True)
class Way:
    """How a device measured; latencies of two ways are not added up.

    Attributes:
      threads: of the runtime.
      settings: the device's own, such as cores and runtime: 'mask 4; tool …'.
    """

    threads: int
    settings: str

    @classmethod
    def of(cls, threads: int, settings: Mapping[str, Any]) -> 'Way':
        """Of the settings as a device tells them."""
        told = '; '.join(f'{name} {settings[name]}' for name in sorted(settings))
        return cls(threads, ' '.join(told.split()))

    def __str__(self) -> str:
        threads = f'{self.threads} thread{"" if self.threads == 1 else "s"}'
        return f'{threads} ({self.settings})' if self.settings else threads


@dataclasses.dataclass(frozen=True)
class Row:
    """One part on one device.

    Attributes:
      way: the same for all rows of a device in one table.
      median_ms, p5_ms, p95_ms: as in `benchmark.latency.Latency`; the latter None where the device's
        tool tells no percentiles.
      rounds: turns that were measured.
      sha256: of the part's file.
    """

    device: str
    way: Way
    part: Part
    median_ms: float
    p5_ms: float | None
    p95_ms: float | None
    rounds: int
    sha256: str


class LatencyTable:
    """The rows of one device, looked up by part."""

    def __init__(self, path: str | os.PathLike, device: str, rows: Iterable[Row]) -> None:
        self.path, self.device = Path(path), device
        self.rows = {row.part: row for row in rows}

    @property
    def flags(self) -> str:
        """Those that measure more rows in the way of its own, of every command that does."""
        way = next((row.way for row in self.rows.values()), Way(1, ''))
        threads = '' if way.threads == 1 else f' --threads={way.threads}'
        if self.device == HOST:
            return threads
        mask = re.search(r'\bmask ([0-9a-f]+)\b', way.settings)
        core = f' --core={mask[1]}' if mask else ''
        return f'{threads} --device=adb --serial=SERIAL --benchmark_model=TOOL{core}'

    def measuring_command(self, parts: Sequence[Part]) -> str:
        """The command that measures parts and adds them to the table."""
        keys = ','.join(part.key for part in parts)
        return f'{COMMAND} --parts={keys}{self.flags} --output={self.path.parent}'

    def latency_ms(self, part: Part) -> float:
        """The median latency of a part in milliseconds.

        Raises:
          ValueError: the part was not measured; the message says how to do that.
        """
        row = self.rows.get(part)
        if row is None:
            raise ValueError(
                f'{self.path} has no row for {part} on {self.device}; measure it: '
                f'{self.measuring_command([part])}'
            )
        return row.median_ms

    def missing(self, parts: Iterable[Part]) -> list[Part]:
        """Those of the parts that were not measured, each once."""
        return [part for part in dict.fromkeys(parts) if part not in self.rows]

    def net_ms(self, part: Part) -> float:
        """The latency of a part without the cost of an invocation."""
        return self.latency_ms(part) - self.latency_ms(overhead(part.scheme))

    def predict_ms(self, parts: Sequence[Part]) -> float:
        """The latency of the network that has these parts, all of one scheme.

        Raises:
          ValueError: there is none, or one was not measured.
        """
        if not parts:
            raise ValueError('there are no parts, expected those of a network; see named_parts')
        return sum(map(self.net_ms, parts)) + self.latency_ms(overhead(parts[0].scheme))


def check_same_way(
    path: str | os.PathLike, rows: Iterable[Row], device: str, way: Way | None = None
) -> None:
    """Sees that all rows of a device, and those to come if `way` is given, were measured alike.

    Raises:
      ValueError: they were not.
    """
    ways = dict.fromkeys(row.way for row in rows if row.device == device)
    if way is not None:
        ways[way] = None
    if len(ways) > 1:
        told = ' and with '.join(map(str, ways))
        raise ValueError(
            f'{path} would hold rows of {device} with {told}, whose latencies cannot be added up; '
            'measure in one way, or into another --output'
        )


def write_table(path: str | os.PathLike, rows: Iterable[Row]) -> None:
    """Writes rows; a later one replaces an earlier one of the same device and part.

    Raises:
      ValueError: those of a device were measured in different ways.
    """
    rows = list(rows)
    for device in {row.device for row in rows}:
        check_same_way(path, rows, device)
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(HEADER)
    for row in {(row.device, row.part): row for row in rows}.values():
        figures = (row.median_ms, row.p5_ms, row.p95_ms)
        writer.writerow(
            [
                row.device,
                row.way.threads,
                row.way.settings,
                *part_cells(row.part),
                *('' if figure is None else f'{figure:.6f}' for figure in figures),
                row.rounds,
                row.sha256,
            ]
        )
    write_file(path, text.getvalue().encode())


def read_table(path: str | os.PathLike, device: str | None = None) -> LatencyTable:
    """Reads the table of a device.

    Args:
      path: of the CSV file.
      device: its name; it may be left out where the file has rows of one device only.

    Raises:
      ValueError: a cell is not what its column holds (the message names line and column), or there
        are no rows of the device.
    """
    rows = read_rows(path)
    devices = list(dict.fromkeys(row.device for row in rows))
    if device is None and len(devices) > 1:
        raise ValueError(
            f'{path} has rows of {", ".join(devices)}; say which device is meant: --table_device'
        )
    chosen = devices[0] if device is None and devices else device
    if chosen not in devices:
        known = ', '.join(devices) or 'none'
        raise ValueError(
            f'{path} has no rows of {chosen or "any device"}, expected one of: {known}; measure '
            f'them: {COMMAND} --model=… --output={Path(path).parent}'
        )
    return LatencyTable(path, str(chosen), [row for row in rows if row.device == chosen])


def read_rows(path: str | os.PathLike) -> list[Row]:
    """The rows of all devices.

    Raises:
      ValueError: as `read_table`.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(
            f'there is no latency table {file}; measure it: '
            f'{COMMAND} --model=… --output={file.parent}'
        )
    try:
        reader = csv.reader(io.StringIO(file.read_text(encoding='utf-8'), newline=''), strict=True)
        lines = [(reader.line_num, cells) for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{file} is no CSV file: {error}; measure it again') from None
    _check_header(file, tuple(lines[0][1]) if lines else ())
    rows: dict[tuple[str, Part], Row] = {}
    ways: dict[str, Way] = {}
    for number, cells in lines[1:]:
        try:
            row = _read_row(cells)
            if (row.device, row.part) in rows:
                raise ValueError(f'{row.part} on {row.device} stands there twice, expected once')
            if ways.setdefault(row.device, row.way) != row.way:
                raise ValueError(
                    f'{row.device} with {row.way}, expected {ways[row.device]} as above: latencies '
                    'of two ways cannot be added up'
                )
        except ValueError as error:
            raise ValueError(f'{file}, line {number}: {error}; mend or remove it') from None
        rows[row.device, row.part] = row
    return list(rows.values())


def _check_header(file: Path, header: tuple[str, ...]) -> None:
    if header == HEADER:
        return
    if header == tuple(name for name in HEADER if name not in WAY):
        raise ValueError(
            f'{file} is of an earlier version, which did not tell {" and ".join(WAY)}, so that '
            'nothing can be added; remove it and measure the table again'
        )
    for place, (came, expected) in enumerate(zip(header, HEADER, strict=False)):
        if came != expected:
            raise ValueError(
                f'{file}, line 1: column {place + 1} is {came!r}, expected {expected!r}; '
                'measure the table again'
            )
    raise ValueError(
        f'{file}, line 1: {len(header)} columns, expected {len(HEADER)}; measure the table again'
    )


def _read_row(cells: Sequence[str]) -> Row:
    if len(cells) != len(HEADER):
        raise ValueError(f'{len(cells)} columns, expected {len(HEADER)}')
    first = 1 + len(WAY)
    device, threads, settings = cells[:first]
    median, p5, p95, rounds, sha256 = cells[first + len(COLUMNS) :]
    if not device:
        raise ValueError("device is '', expected its name")
    if len(sha256) != 64 or set(sha256) - set('0123456789abcdef'):
        raise ValueError(f'sha256 is {sha256!r}, expected 64 hexadecimal digits')
    return Row(
        device,
        Way(_count('threads', threads), settings),
        part_from_cells(cells[first : first + len(COLUMNS)]),
        _milliseconds('median_ms', median),
        _milliseconds('p5_ms', p5) if p5 else None,
        _milliseconds('p95_ms', p95) if p95 else None,
        _count('rounds', rounds),
        sha256,
    )


def _count(name: str, cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and int(cell) > 0):
        raise ValueError(f'{name} is {cell!r}, expected a whole number of at least 1')
    return int(cell)


def _milliseconds(name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f'{name} is {cell!r}, expected milliseconds above 0')
    return value
