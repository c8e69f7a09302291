"""The paper's tables, figures and claims beside what was measured.

    python -m benchmark.report --models=runs/grid --results=runs/grid/results.json \\
        --output=runs/grid/report

Reads the cards of exported files (accuracy) and the results of benchmark.main or a browser
(latency), joined by the files' SHA-256; writes report.md, its pictures, and report.html, which holds
all in one file.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmark import page
from benchmark.paper import figures, figures_ablations, report_claims, report_ratios, report_tables
from benchmark.paper.measured import DeviceResults, MeasuredGrid, read
from benchmark.paper.paper_tables import TABLES
from train import cli
from train.files import write_file
from train.markdown import escape

FLAGS = flags.FLAGS
TITLE = 'MobileNetV3: the paper’s figures, measured'
HOW_TO_READ = (
    'Ours stands first, the paper’s figure in brackets: 217 (219). Latencies are medians in ms, of '
    'one image; ours in columns of their own under the device’s name, the paper’s Pixel 1, 2 and 3 '
    'beside them. “missing”: not measured here; “–”: the paper tells nothing. Multiply-adds and '
    'parameters are counted, accuracies come from the cards of the files.'
)


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_list('models', [], 'Folders of .tflite files with their cards.')
    flags.DEFINE_list('results', [], 'Results of benchmark.main or benchmark.web; several devices.')
    flags.DEFINE_string('output', None, 'Folder for the report; made if missing.', required=True)


def main() -> None:
    """Flags to one call."""
    print(write_report(FLAGS.models, FLAGS.results, Path(FLAGS.output)))


def write_report(models: Sequence[str], results: Sequence[str], output: Path) -> str:
    """Writes the report.

    Args:
      models: folders of .tflite files with cards.
      results: files of benchmark.main; each of their devices gets columns and panels of its own.
      output: folder; made if missing.

    Returns:
      A line a device, what is not decided, and where the report is, for the terminal.

    Raises:
      ValueError: nothing to report, or something that cannot be read; the message names it.
      OSError: the folder cannot be written.
    """
    measured = read(models, results)
    output.mkdir(parents=True, exist_ok=True)
    # Drawn aside: a report that is there stays whole until the new one is.
    with tempfile.TemporaryDirectory(prefix='.drawn-', dir=output) as name:
        drawn = Path(name)
        markdown = _markdown(measured, drawn)
        html = page.to_html(drawn, markdown, TITLE)
        for picture in sorted(drawn.iterdir()):
            write_file(output / picture.name, picture.read_bytes())
    write_file(output / 'report.md', f'{markdown}\n'.encode())
    write_file(output / 'report.html', html.encode())
    lines = [_line(device) for device in measured.devices]
    lines += [told for told in [report_claims.open_question(measured)] if told]
    return '\n'.join([*lines, f'{output / "report.md"}', f'{output / "report.html"}'])


def _markdown(measured: MeasuredGrid, folder: Path) -> str:
    """The report, its pictures drawn into a folder."""
    return '\n\n'.join(
        [
            f'# {TITLE}',
            *_devices(measured),
            report_claims.render(measured),
            '## The paper’s tables',
            HOW_TO_READ,
            *_tables(measured),
            '## The paper’s figures',
            *_figures(measured, folder),
            *_notes(measured),
        ]
    )


def _line(device: DeviceResults) -> str:
    filled = len(device.latencies)
    return (
        f'{device.name}: {filled} of the paper’s files measured; claims about latency: '
        f'{report_claims.summary(device)}'
    )


def _devices(measured: MeasuredGrid) -> list[str]:
    """What measured, and how; a list item a device, then its warnings."""
    items = [
        f'- {escape(device.name)}: {_values(device.facts)}. '
        f'{_protocols(device)}{len(device.latencies)} files of the paper’s tables and figures; claims '
        f'about latency: {report_claims.summary(device)}.'
        for device in measured.devices
    ]
    warnings = [
        f'- warning of {escape(device.name)}: {escape(warning)}'
        for device in measured.devices
        for warning in device.warnings
    ]
    return ['\n'.join([*items, *warnings])]


def _protocols(device: DeviceResults) -> str:
    """How files were measured: together, or some apart, of which no ratios are formed with others."""
    protocols = [f'{len(go.keys)} files: {_values(go.protocol)}' for go in device.together]
    return ''.join(f'Protocol of {protocol}. ' for protocol in protocols)


def _values(values: dict[str, Any]) -> str:
    return ', '.join(f'{escape(name)} {escape(value)}' for name, value in values.items())


def _tables(measured: MeasuredGrid) -> list[str]:
    """Each table, and its latencies as ratios where their rows are compared so."""
    blocks = []
    for table in TABLES:
        blocks += [report_tables.render(table, measured), *report_ratios.render(table, measured)]
    return blocks


def _figures(measured: MeasuredGrid, folder: Path) -> list[str]:
    """Draws the figures into a folder; their Markdown."""
    drawn = {
        'figure_1.png': lambda path: figures.figure_1(measured, path),
        'figure_2.png': lambda path: figures.figure_2(measured, path),
        'figure_6.png': figures.figure_6,
        'figure_7.png': lambda path: figures_ablations.figure_7(measured, path),
        'figure_8.png': lambda path: figures_ablations.figure_8(measured, path),
        'figure_9.png': lambda path: figures_ablations.figure_9(measured, path),
    }
    blocks = []
    for name, draw in drawn.items():
        caption = draw(folder / name)
        blocks += [f'### {caption.partition(". ")[0]}', f'![{name}]({name})', caption]
    return blocks


def _notes(measured: MeasuredGrid) -> list[str]:
    """What was left aside, a list item each."""
    notes = [f'- {escape(note)}' for note in measured.notes]
    for device in measured.devices:
        notes += [f'- {escape(device.name)}: {escape(note)}' for note in device.notes]
    return ['## Left aside', '\n'.join(notes)] if notes else []


if __name__ == '__main__':
    cli.run(main, define_flags)
