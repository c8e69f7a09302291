"""What TFLite's benchmark_model prints, read into numbers.

The tool answers everything with text: parameters that it took, one `count=…` line for the warm-up
and one for the timed runs, and tables of ops when it profiles. It ignores a flag that it does not
know and still ends with exit code 0, so that what it was asked is compared with what it echoes.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from benchmark.latency import Turn

# What the tool calls a flag when it echoes it. It echoes the flags that were given, no others.
ECHOES = {
    'graph': 'Graph',
    'num_runs': 'Min num runs',
    'min_secs': 'Min runs duration (seconds)',
    'max_secs': 'Max runs duration (seconds)',
    'warmup_runs': 'Min warmup runs',
    'warmup_min_secs': 'Min warmup runs duration (seconds)',
    'num_threads': 'Num threads',
    'use_xnnpack': 'Use xnnpack',
    'enable_op_profiling': 'Enable op profiling',
    'profiling_output_csv_file': 'CSV File to export profiling data to',
}

_LEVEL = re.compile(r'^(VERBOSE|INFO|WARN|WARNING|ERROR|FATAL): ?')
_PARAMETER = re.compile(r'^(?P<name>[^\[\]]+?) ?: \[(?P<value>.*)\]$')
_STAT = re.compile(r'^count=\d+( |$)')
_PAIR = re.compile(r'(\w+)=([-+.\w]+)')
_FIGURES = ('first', 'curr', 'min', 'max', 'avg', 'std')
_SESSION = re.compile(r'^Initialized session in ([\d.e+]+) ?ms')
_MEMORY = re.compile(r'^Memory footprint delta .*: init=([\d.e+-]+) overall=([\d.e+-]+)')
# Lines that every run has; in an unexpected output, the others are what a reader wants to see.
_ORDINARY = re.compile(
    r'^(STARTING!|Log parameter|Loaded model|Created TensorFlow|Initialized |The input model|Note:'
    r'|Running benchmark|Inference timings|Memory footprint|Signature to run|count=)'
)
_TABLE = re.compile(r'^=+ (.+?) =+$')
_NODES = re.compile(r'^Number of nodes executed: (\d+)$')
_NUMBER = r'[-+.\w]+%?'
_QUOTED_LINES = 3
_QUOTED_CHARACTERS = 200


@dataclasses.dataclass(frozen=True)
class Stat:
    """One `count=…` line; microseconds.

    Attributes:
      count: how many values there are.
      first_us, last_us, min_us, max_us, mean_us, std_us: of them.
      p5_us, median_us, p95_us: None where the tool is of before 2025 and prints none.
    """

    count: int
    first_us: float
    last_us: float
    min_us: float
    max_us: float
    mean_us: float
    std_us: float
    p5_us: float | None = None
    median_us: float | None = None
    p95_us: float | None = None

    def to_turn(self) -> Turn:
        """These runs as a turn, in milliseconds."""

        def ms(us: float | None) -> float | None:
            return None if us is None else us / 1e3

        return Turn(
            runs=self.count,
            mean_ms=self.mean_us / 1e3,
            min_ms=self.min_us / 1e3,
            max_ms=self.max_us / 1e3,
            std_ms=self.std_us / 1e3,
            median_ms=ms(self.median_us),
            p5_ms=ms(self.p5_us),
            p95_ms=ms(self.p95_us),
        )


@dataclasses.dataclass(frozen=True)
class Report:
    """What one run of the tool said.

    Attributes:
      parameters: what it echoed, by its own names: {'Num threads': '1'}.
      warmup, runs: of the untimed and of the timed runs.
      init_ms: loading the file and preparing the runtime; None where it is not told.
      init_memory_mb, memory_mb: what the process grew by until then and in all; None likewise.
    """

    parameters: dict[str, str]
    warmup: Stat
    runs: Stat
    init_ms: float | None
    init_memory_mb: float | None
    memory_mb: float | None


@dataclasses.dataclass(frozen=True)
class Op:
    """A row of a table of ops; times and memory are of one run.

    Attributes:
      kind: 'CONV_2D', 'DELEGATE', or what a delegate calls it: 'Convolution (NHWC, F32) IGEMM'.
      name: of the tensors that it writes, without the brackets around them.
      index: of the op in the graph; None where the table has none.
      first_ms, mean_ms: in the first timed run, over all of them.
      memory_kb: what it allocated.
      calls: how often a run calls it.
    """

    kind: str
    name: str
    index: int | None
    first_ms: float
    mean_ms: float
    memory_kb: float
    calls: int


@dataclasses.dataclass(frozen=True)
class Profile:
    """Ops in the order in which they ran.

    Attributes:
      init: what preparing the runtime consisted of.
      ops: of the graph; a delegate's piece is one op.
      delegated: what is inside the delegate's pieces, where the delegate tells it.
    """

    init: tuple[Op, ...]
    ops: tuple[Op, ...]
    delegated: tuple[Op, ...]


def parse(text: str) -> Report:
    """Reads the output of a run, whether from its standard output and error or from logcat.

    Raises:
      ValueError: it is no complete output of the tool; the message quotes what it says instead.
    """
    lines = [_LEVEL.sub('', line.strip()) for line in text.splitlines()]
    stats = [parse_stat(line) for line in lines if _STAT.match(line)]
    if len(stats) != 2:
        raise ValueError(
            f'benchmark_model gave {len(stats)} lines of counts, expected one of the warm-up and '
            f'one of the runs; it said {quote(text)}'
        )
    matches = [_PARAMETER.match(line) for line in lines]
    sessions = [match for line in lines if (match := _SESSION.match(line))]
    memory = [match for line in lines if (match := _MEMORY.match(line))]
    return Report(
        parameters={match['name']: match['value'] for match in matches if match},
        warmup=stats[0],
        runs=stats[1],
        init_ms=float(sessions[0][1]) if sessions else None,
        init_memory_mb=float(memory[0][1]) if memory else None,
        memory_mb=float(memory[0][2]) if memory else None,
    )


def parse_stat(line: str) -> Stat:
    """Reads `count=20 first=… curr=… min=… max=… avg=… std=…`, `count=1 curr=408`, `… (all same)`.

    Newer tools append `p5=… median=… p95=…` to each of these.

    Raises:
      ValueError: there is no value, or a figure is missing or no number.
    """
    try:
        values = {name: float(value) for name, value in _PAIR.findall(line)}
        count = int(values['count'])
        if count < 1:
            raise ValueError('nothing was run')
        if 'avg' not in values:  # one value, or all the same: the tool prints only that
            values |= dict.fromkeys(('first', 'min', 'max', 'avg'), values['curr']) | {'std': 0.0}
        first, last, low, high, mean, std = (values[name] for name in _FIGURES)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f'benchmark_model gave {line!r}, expected count, first, curr, min, max, avg and std as '
            f'numbers ({error})'
        ) from None
    percentiles = [values.get(name) for name in ('p5', 'median', 'p95')]
    return Stat(count, first, last, low, high, mean, std, *percentiles)


def parse_profile(text: str) -> Profile:
    """Reads the tables that the tool prints or writes as CSV with --enable_op_profiling=true.

    Raises:
      ValueError: there is no table of the timed runs, or one is cut off; the message quotes it.
    """
    found: dict[str, list[Op]] = {'init': [], 'ops': [], 'delegated': []}
    part = 'ops'
    rows: list[Op] = []
    lines = iter([_LEVEL.sub('', line.rstrip()) for line in text.splitlines()])
    for line in lines:
        if line.startswith('Profiling Info for Benchmark Initialization'):
            part = 'init'
        elif line.startswith('Operator-wise Profiling Info'):
            part = 'ops'
        elif line.startswith('Delegate internal'):
            part = 'init' if part == 'init' else 'delegated'
        elif (table := _TABLE.match(line)) and table[1] == 'Run Order':
            rows = _read_rows(lines)
        elif (nodes := _NODES.match(line)) is not None:
            if len(rows) != int(nodes[1]):
                raise ValueError(
                    f'benchmark_model profiled {nodes[1]} ops and its table has {len(rows)}; the '
                    'output is cut off'
                )
            found[part] += rows
    if not found['ops']:
        raise ValueError(
            f'benchmark_model gave no table of ops; it said {quote(text)}; expected a build with '
            '--enable_op_profiling'
        )
    return Profile(*(tuple(found[name]) for name in ('init', 'ops', 'delegated')))


def _read_rows(lines: Iterator[str]) -> list[Op]:
    """The rows of a table: its head is the next line, an empty line ends it."""
    head = next(lines, '')
    separator = '\t' if '\t' in head else ','
    columns = [
        cell.strip(' []').lower().replace('_', ' ') for cell in head.strip().split(separator)
    ]
    if columns[:1] != ['node type'] or columns[-1:] != ['name']:
        raise ValueError(
            f'benchmark_model gave a table with the head {head!r}, expected node types'
        )
    # In CSV a delegate's kind has commas, and so has a name of before 2022: the numbers between
    # them tell where each ends.
    pattern = r'\s*(.+?)' + f'{separator}\\s*({_NUMBER})' * (len(columns) - 2) + f'{separator}(.*)'
    rows = []
    for line in lines:
        if not line.strip():
            break
        match = re.fullmatch(pattern, line)
        if match is None:
            raise ValueError(
                f'benchmark_model gave the row {line!r}, expected {", ".join(columns)}'
            )
        rows.append(_op(dict(zip(columns, match.groups(), strict=True)), line))
    return rows


def _op(cells: dict[str, str], line: str) -> Op:
    name, _, index = cells['name'].strip().rpartition(':')
    if not index.isdecimal():
        name, index = cells['name'].strip(), ''
    try:
        return Op(
            kind=cells['node type'].strip(),
            name=name.strip('[]'),
            index=int(index) if index else None,
            first_ms=float(cells['first']),
            mean_ms=float(cells['avg ms']),
            memory_kb=float(cells['mem kb']),
            calls=int(cells['times called']),
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f'benchmark_model gave the row {line!r}: {error}') from None


def check(report: Report, asked: Mapping[str, str | int | float | bool]) -> None:
    """Sees that the tool took every flag, and ran as often as it was told to.

    Args:
      report: what it said.
      asked: the flags, without dashes: {'num_runs': 20}; each is one of `ECHOES`.

    Raises:
      ValueError: a flag is not echoed or has another value, or it ran more or less often.
    """
    for flag, value in asked.items():
        echoed = report.parameters.get(ECHOES[flag])
        if echoed is None or not _same(value, echoed):
            found = 'does not echo it' if echoed is None else f'took {echoed}'
            raise ValueError(
                f'benchmark_model was given --{flag}={_text(value)} and {found}; it is too old for '
                'this flag, expected a build of 2021 or later'
            )
    for name, stat in (('num_runs', report.runs), ('warmup_runs', report.warmup)):
        if name in asked and stat.count != asked[name]:
            raise ValueError(
                f'benchmark_model ran {stat.count} times, expected --{name}={asked[name]}; a run '
                'may take longer than its --max_secs, ask for fewer'
            )


def flags(asked: Mapping[str, str | int | float | bool]) -> list[str]:
    """The flags as the tool's command line takes them."""
    return [f'--{name}={_text(value)}' for name, value in asked.items()]


def quote(text: str) -> str:
    """What a reader should see of an unexpected output: its errors, or its first odd lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(('ERROR', 'FATAL'))]
    odd = [line for line in lines if not _is_ordinary(_LEVEL.sub('', line))]
    shown = (errors or odd or lines[-_QUOTED_LINES:])[:_QUOTED_LINES]
    if not shown:
        return 'nothing'
    return ' / '.join(repr(line[:_QUOTED_CHARACTERS]) for line in shown)


def _is_ordinary(line: str) -> bool:
    return bool(_ORDINARY.match(line) or _PARAMETER.match(line))


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same(value: str | int | float | bool, echoed: str) -> bool:
    if isinstance(value, bool):
        return echoed.lower() in (('1', 'true') if value else ('0', 'false'))
    try:
        return float(echoed) == float(value)
    except ValueError:
        return echoed == str(value)
