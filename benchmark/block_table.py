"""Measures the parts of networks: a latency table for the search, a table and bars for people.

    python -m benchmark.block_table --model=large,small --resolution=224 --scheme=float32,int8 \\
        --hard_swish=fused,decomposed --output=blocks
    python -m benchmark.block_table --parts=KEY,KEY --output=blocks

The first builds every part of the networks, and the networks themselves, into OUTPUT/blocks, measures
all by turns and writes latency_table.csv, blocks.md and blocks.png. The second measures single parts,
which an error of the table has named, and adds them to the table. Files that are there are not built
again, rows of other parts stay; interrupted, the same command goes on.
"""

import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import flags

from benchmark import measuring_flags, session
from benchmark.blocks.block_report import (
    MeasuredNetwork,
    plot_blocks,
    prediction_table,
    report_markdown,
)
from benchmark.blocks.latency_table import Row, Way, check_same_way, read_rows, write_table
from benchmark.blocks.parts import FORMS, SCHEMES, Network, Part, overhead, part_of
from benchmark.device import Case, Device
from benchmark.journal import Journal, interrupted, open_alone
from benchmark.latency import Latency
from benchmark.measuring_flags import (
    define_device_flags,
    define_protocol_flags,
    open_devices,
    read_protocol,
)
from mobilenet_v3.spec_file import load_model_spec
from mobilenet_v3.transforms import widen
from train import cli
from train.files import write_file
from train.tflite_file import read_identity

FLAGS = flags.FLAGS
TABLE = 'latency_table.csv'


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_list('model', [], 'Networks or spec files (*.json).')
    flags.DEFINE_list('parts', [], 'Instead of networks: parts, as an error has named them.')
    flags.DEFINE_list('multiplier', ['1'], 'Width multipliers α of each network.')
    flags.DEFINE_integer('resolution', 224, 'Side of the input in pixels.')
    flags.DEFINE_integer('num_classes', 1000, 'Of the logits.')
    flags.DEFINE_list('scheme', ['float32'], 'Of float32, int8.')
    flags.DEFINE_list('hard_swish', ['fused'], 'Of fused, decomposed.')
    define_device_flags()
    define_protocol_flags()
    flags.DEFINE_string('output', None, 'Folder for files, table and report.', required=True)
    flags.adopt_module_key_flags(measuring_flags)  # so that --help shows them


def main() -> None:
    """Reads the flags, builds, measures."""
    protocol = read_protocol()
    if bool(FLAGS.model) == bool(FLAGS.parts):
        raise ValueError('expected either --model, networks, or --parts; give one of them')
    networks = networks_of(
        FLAGS.model,
        FLAGS.multiplier,
        FLAGS.resolution,
        schemes=FLAGS.scheme,
        forms=FLAGS.hard_swish,
        num_classes=FLAGS.num_classes,
    )
    parts = [part_of(key) for key in FLAGS.parts]
    devices = open_devices()
    if len(devices) > 1:
        names = ', '.join(device.name for device in devices)
        raise ValueError(f'--serial means {names}; expected one phone a table, name one')
    cli.import_tensorflow()
    (device,) = devices
    try:
        print(run(device, networks, parts, protocol, Path(FLAGS.output)))
    finally:
        device.close()


def networks_of(
    models: Sequence[str],
    multipliers: Sequence[str],
    resolution: int,
    *,
    schemes: Sequence[str],
    forms: Sequence[str],
    num_classes: int = 1000,
) -> list[Network]:
    """Every network in every width, scheme and form; one without h-swish in the first form only.

    Raises:
      ValueError: an unknown network, scheme or form, or a multiplier that is no number.
    """
    known_schemes = _choose(schemes, SCHEMES, '--scheme')
    known_forms = _choose(forms, FORMS, '--hard_swish')
    networks: list[Network] = []
    for model in models:
        spec = load_model_spec(model)
        for word in multipliers:
            multiplier = _number(word)
            name = spec.name if multiplier == 1 else f'{spec.name} {multiplier:g}'
            wide = widen(spec, multiplier)
            # Without h-swish both forms have the same parts: then the first stands for them.
            distinct: dict[tuple[Part, ...], Network] = {}
            for scheme, form in itertools.product(known_schemes, known_forms):
                network = Network(name, wide, resolution, scheme, form, num_classes)
                distinct.setdefault(tuple(network.parts.values()), network)
            networks += distinct.values()
    return networks


def run(
    device: Device,
    networks: Sequence[Network],
    parts: Sequence[Part],
    protocol: session.Protocol,
    output: Path,
) -> str:
    """Builds and measures networks with their parts, and further parts; writes what comes of it.

    Args:
      device: where.
      networks: whole networks, whose parts are measured with them.
      parts: that are measured without a network.
      protocol: how.
      output: folder for blocks/, latency_table.csv and, of networks, blocks.md and blocks.png.

    Returns:
      How well the parts add up to the networks, and where the files are, for the terminal.

    Raises:
      DeviceError: the device failed; the same call goes on with what was measured.
      ValueError: a table that is there already, or is when all is measured, cannot be read, or was
        measured in another way; or interrupted. What was measured stays in the journal.
    """
    table = output / TABLE
    way = Way.of(protocol.threads, device.settings())
    # A bad one is found before the measuring.
    check_same_way(table, _rows_of(table), device.name, way)
    cases = build_cases(networks, parts, output / 'blocks')
    journal_path = output / f'{device.name}.jsonl'
    with Journal(journal_path, session.header(device, cases, protocol)) as journal:
        try:
            measured = session.measure(device, cases, protocol, journal=journal, progress=_progress)
        except KeyboardInterrupt:
            raise interrupted(journal) from None
        by_name = {latency.model: latency for latency in measured}
        network_keys = {network.key for network in networks}
        rows = [_row(device.name, way, x) for x in measured if x.model not in network_keys]
        _add_rows(table, rows)
        said = [f'latency table: {table}']
        if networks:
            results = [_measured(network, by_name) for network in networks]
            plot_blocks(output / 'blocks.png', results)
            report = report_markdown(
                results, device=device.name, facts=journal.facts, protocol=vars(protocol)
            )
            write_file(output / 'blocks.md', report.encode())
            said = [prediction_table(results), *said, f'report: {output / "blocks.md"}']
        journal.remove()
    said += [f'warning: {device.name}: {warning}' for warning in journal.warnings]
    return '\n'.join(said)


def build_cases(networks: Sequence[Network], parts: Sequence[Part], folder: Path) -> list[Case]:
    """The files to measure, each once; parts that are compared stand beside each other."""
    from benchmark.blocks.blocks import write_network, write_part

    folder.mkdir(parents=True, exist_ok=True)
    by_place = [
        part for group in _groups(networks) for place in zip(*group, strict=True) for part in place
    ]
    every = list(dict.fromkeys([*by_place, *parts]))
    every += [overhead(scheme) for scheme in dict.fromkeys(part.scheme for part in every)]
    every = list(dict.fromkeys(every))
    files = {}
    for done, part in enumerate(every):
        _show(f'built {done} of {len(every)} parts', done == len(every))
        files[part.key] = write_part(folder, part)
    for network in networks:
        _show(f'building {network.key}', False)
        files[network.key] = write_network(folder, network)
    _show('built', True)
    return [Case(name, file, *read_identity(file)) for name, file in files.items()]


def _groups(networks: Sequence[Network]) -> list[list[list[Part]]]:
    """The parts of the forms of each network."""
    groups: dict[tuple, list[list[Part]]] = {}
    for network in networks:
        key = (network.name, network.spec, network.resolution)
        groups.setdefault(key, []).append(list(network.parts.values()))
    return list(groups.values())


def _measured(network: Network, latencies: dict[str, Latency]) -> MeasuredNetwork:
    return MeasuredNetwork(
        network,
        latencies[network.key],
        {name: latencies[part.key] for name, part in network.parts.items()},
        latencies[overhead(network.scheme).key].median_ms,
    )


def _rows_of(table: Path) -> list[Row]:
    return read_rows(table) if table.exists() else []


def _add_rows(table: Path, rows: Sequence[Row]) -> None:
    """Adds rows to those that are there now: another command may have added some meanwhile."""
    lock = table.with_name(f'{table.name}.lock')
    with open_alone(lock, wait=True):
        try:
            write_table(table, [*_rows_of(table), *rows])
        finally:
            lock.unlink()


def _row(device: str, way: Way, latency: Latency) -> Row:
    return Row(
        device,
        way,
        part_of(latency.model),
        latency.median_ms,
        latency.p5_ms,
        latency.p95_ms,
        len(latency.round_medians_ms),
        latency.sha256,
    )


def _choose(words: Sequence[str], known: Iterable, flag: str) -> list:
    choices = list(known)
    for word in words:
        if word not in choices:
            raise ValueError(f'{flag} has {word!r}, expected some of {", ".join(choices)}')
    if not words:
        raise ValueError(f'{flag} is empty, expected some of {", ".join(choices)}')
    return list(dict.fromkeys(words))


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f'--multiplier has {word!r}, expected a number such as 0.75') from None


def _progress(done: int, turns: int) -> None:
    _show(f'turn {done} of {turns}', done == turns)


def _show(text: str, last: bool) -> None:
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='\n' if last else '', file=sys.stderr, flush=True)


if __name__ == '__main__':
    cli.run(main, define_flags)
