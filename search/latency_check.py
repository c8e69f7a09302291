"""Compares predicted with measured latencies of networks in random widths.

    python -m search.latency_check --table=runs/latency/latency_table.csv --seed_model=small \\
        --resolution=64 --num_classes=10

Builds networks whose widths are drawn, measures them by turns, fits the correction of the table
(latency_correction.json beside it) to some of them, and tells on the others how far the predictions
are off: check.md and check.png in the table's folder. Interrupted, the same command goes on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmark import measuring_flags, session
from benchmark.blocks.latency_table import LatencyTable, Way, check_same_way, read_table
from benchmark.device import Case, Device
from benchmark.journal import Journal, interrupted
from benchmark.measuring_flags import define_device_flags, define_protocol_flags, read_protocol
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import load_model_spec
from search.latency.agreement import Agreement, plot_agreement
from search.latency.correction import (
    FEWEST_NETWORKS,
    Observed,
    correction_of,
    helpful_correction,
    write_correction,
)
from search.latency.form import FileForm
from search.latency.table import TableLatency
from search.latency_grid import define_network_flags, open_device, read_form
from search.widths import drawn
from train import cli
from train.files import write_file
from train.tflite_file import read_identity

FLAGS = flags.FLAGS
# Of the widths that are drawn: others than those of the grid, and of each other.
FITTED_SEED, TOLD_SEED = 1, 2
REPORT, PLOT = 'check.md', 'check.png'


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('table', None, 'Latency table (CSV) of these networks.', required=True)
    define_network_flags()
    flags.DEFINE_integer('networks', 40, 'Of each model, on which the errors are told.', 3)
    flags.DEFINE_integer(
        'fitted',
        10,
        'Of each model, to which the correction is fitted; below 5: the one that is there.',
        0,
    )
    define_device_flags()
    define_protocol_flags()
    flags.adopt_module_key_flags(measuring_flags)  # so that --help shows them


def main() -> None:
    """Flags to one call."""
    protocol = read_protocol()
    seeds = [load_model_spec(name) for name in FLAGS.seed_model]
    fitted = [
        spec for seed in seeds for spec in drawn(seed, FLAGS.fitted, FLAGS.lowest, FITTED_SEED)
    ]
    told = [spec for seed in seeds for spec in drawn(seed, FLAGS.networks, FLAGS.lowest, TOLD_SEED)]
    device = open_device()
    try:
        table = read_table(FLAGS.table, device.name)
        cli.import_tensorflow()
        print(run(device, table, read_form(), protocol, fitted, told))
    finally:
        device.close()


def run(
    device: Device,
    table: LatencyTable,
    form: FileForm,
    protocol: session.Protocol,
    fitted: Sequence[ModelSpec],
    told: Sequence[ModelSpec],
) -> str:
    """Measures networks beside what a table predicts; writes report, plot and correction beside it.

    Args:
      device: where; the table's.
      table: of the networks' parts.
      form: of the networks' files.
      protocol: how.
      fitted: networks to which the correction is fitted.
      told: others, on which the errors are told.

    Returns:
      The errors, for the terminal.

    Raises:
      DeviceError: the device failed; the same call goes on with what was measured.
      ValueError: a part is missing in the table, or it was measured in another way.
    """
    folder = table.path.parent
    way = Way.of(protocol.threads, device.settings())
    check_same_way(table.path, table.rows.values(), device.name, way)
    plain = TableLatency(table, form)
    specs = [*fitted, *told]
    correction = correction_of(table, form)  # read before the minutes of measuring, too
    sums_ms = [plain.sum_ms(form.parts(spec)) for spec in specs]  # before the minutes of building
    cases = build_cases(folder / 'networks', form, specs)
    path = folder / f'check_{device.name}.jsonl'
    with Journal(path, session.header(device, cases, protocol)) as journal:
        try:
            measured = session.measure(device, cases, protocol, journal=journal, progress=_progress)
        except KeyboardInterrupt:
            raise interrupted(journal) from None
        observed = [
            Observed(form.parts(spec), sum_ms, latency.median_ms)
            for spec, sum_ms, latency in zip(specs, sums_ms, measured, strict=True)
        ]
        if len(fitted) >= FEWEST_NETWORKS:
            correction = helpful_correction(observed[: len(fitted)], table, form)
            write_correction(table, form, correction)
        agreement = Agreement(observed[len(fitted) :], correction)
        plot_agreement(folder / PLOT, agreement, device.name)
        facts = {'scheme': form.scheme, 'resolution': form.resolution, **journal.facts}
        report = agreement.markdown(device.name, {**facts, **vars(protocol)}, PLOT)
        write_file(folder / REPORT, report.encode())
        journal.remove()
    warnings = [f'warning: {device.name}: {warning}' for warning in journal.warnings]
    return '\n'.join([agreement.said(), f'report: {folder / REPORT}', *warnings])


def build_cases(folder: Path, form: FileForm, specs: Sequence[ModelSpec]) -> list[Case]:
    """The files of whole networks, each once."""
    from benchmark.blocks.blocks import write_network

    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for done, spec in enumerate(specs):
        _show(f'built {done} of {len(specs)} networks', False)
        network = form.network(spec)
        file = write_network(folder, network)
        cases.append(Case(network.key, file, *read_identity(file)))
    _show('built', True)
    return cases


def _progress(done: int, turns: int) -> None:
    _show(f'turn {done} of {turns}', done == turns)


def _show(text: str, last: bool) -> None:
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='\n' if last else '', file=sys.stderr, flush=True)


if __name__ == '__main__':
    cli.run(main, define_flags)
