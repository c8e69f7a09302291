"""The report of one run: how it learnt, what was exported, how fast it is.

    python -m benchmark.run_report --workdir=runs/demo

Reads the run's folder, `exported/` with its cards and `latency.json` in it; writes report.md, its
pictures, and report.html, which holds all in one file.
"""

import base64
import html
import json
import os
from pathlib import Path
from typing import Any

from absl import flags

from export.card import read_card
from train import cli
from train.files import write_file

FLAGS = flags.FLAGS
CURVES = 'curves.png'
EXAMPLES = 'examples.png'


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('workdir', None, 'Folder of a run of train.main.', required=True)
    flags.DEFINE_string('exported', '', "Its exported files; '' for WORKDIR/exported.")
    flags.DEFINE_string('latency', '', "Their measurement; '' for WORKDIR/latency.json.")


def main() -> None:
    """Flags to one call."""
    cli.import_tensorflow()
    workdir = Path(FLAGS.workdir)
    exported = Path(FLAGS.exported or workdir / 'exported')
    latency = Path(FLAGS.latency or workdir / 'latency.json')
    print(write_report(workdir, exported, latency))


def write_report(workdir: Path, exported: Path, latency: Path) -> str:
    """Writes the report of a run into its folder.

    Args:
      workdir: the run's folder.
      exported: a folder of .tflite files with cards.
      latency: what benchmark.main wrote of these files.

    Returns:
      The table of results and where the files are, for the terminal.

    Raises:
      ValueError: something that the report reads is missing; the message says which stage makes it.
    """
    results = _read_json(workdir / 'results.json', 'python -m train.main')
    measured = _read_json(latency, 'python -m benchmark.main')
    cards = _read_cards(exported)
    table = results_table(cards, measured)
    _plot_curves(workdir)
    _plot_examples(workdir, exported)
    markdown = _markdown(results, cards, measured, table)
    write_file(workdir / 'report.md', markdown.encode())
    write_file(workdir / 'report.html', _html(workdir, markdown).encode())
    files = '\n'.join(f'  {path}' for path in sorted(exported.glob('*.tflite')))
    return (
        f'\n{table}\n\nfiles, each with its card (.json):\n{files}\n'
        f'report:\n  {workdir / "report.md"}\n  {workdir / "report.html"}'
    )


def results_table(cards: dict[str, dict], measured: dict) -> str:
    """One line a file: accuracy, agreement with Keras, size, latency and partitions."""
    latencies = {entry['sha256']: entry for entry in measured['models']}
    lines = [
        '| file | top-1 | Keras top-1 | agreement | size MB | median ms (p5–p95) | partitions |',
        '| ---- | ----: | ----------: | --------: | ------: | -----------------: | ---------: |',
    ]
    for name, card in cards.items():
        evaluation, entry = card['evaluation'], latencies.get(card['sha256'])
        speed = (
            f'{entry["median_ms"]:.3f} ({entry["p5_ms"]:.3f}–{entry["p95_ms"]:.3f})'
            if entry
            else 'not measured'
        )
        lines.append(
            f'| {name} | {evaluation["file"]["top1"]:.1%} | {evaluation["keras"]["top1"]:.1%} '
            f'| {evaluation["agreement"]:.1%} | {card["size_bytes"] / 1e6:.2f} | {speed} '
            f'| {card["partitions"]} |'
        )
    return '\n'.join(lines)


def _read_cards(exported: Path) -> dict[str, dict]:
    cards = {path.name: read_card(path) for path in sorted(exported.glob('*.tflite'))}
    described = {name: card for name, card in cards.items() if card}
    if not described:
        raise ValueError(
            f'{exported} has no .tflite file with a card; run python -m export.tflite first'
        )
    return described


def _read_json(path: Path, made_by: str) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f'{path} is missing; run {made_by} first')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as e:
        raise ValueError(f'{path} is not JSON: {e}; run {made_by} again') from None


def _plot_curves(workdir: Path) -> None:
    """Loss and learning rate over steps, and the accuracy of raw and averaged weights."""
    from train.log import read_metrics

    pyplot = _pyplot()
    lines = read_metrics(str(workdir))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6))
    for name, label in (
        ('train/loss', 'training (smoothed labels)'),
        ('eval/averaged/loss', 'evaluation, averaged weights'),
    ):
        points = [(line['step'], line[name]) for line in lines if name in line]
        if points:
            left.plot(*zip(*points, strict=True), label=label)
    left.set(xlabel='step', ylabel='loss')
    left.legend()
    for weights in ('raw', 'averaged'):
        key = f'eval/{weights}/top1'
        points = [(line['step'], line[key]) for line in lines if key in line]
        if points:
            right.plot(*zip(*points, strict=True), marker='o', label=f'{weights} weights')
    right.set(xlabel='step', ylabel='top-1', ylim=(0, 1))
    right.legend()
    figure.tight_layout()
    figure.savefig(workdir / CURVES, dpi=110)
    pyplot.close(figure)


def _plot_examples(workdir: Path, exported: Path) -> None:
    """Images of the evaluation set with what the last exported file answers."""
    from export.start import from_run
    from export.tflite_file import TFLiteModel

    trained = from_run(str(workdir))
    run, source = trained.run, trained.source
    task = run.make_task()
    path = sorted(exported.glob('*.tflite'))[-1]
    batches = source.val.examples().shuffle(1000, seed=0).take(12).map(task.eval_example)
    batch = next(iter(batches.batch(12).map(task.eval_batch)))
    images = batch['image'].numpy()
    answers = TFLiteModel(path)(images).argmax(axis=-1)
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(2, 6, figsize=(10, 4.6))
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, label, answer in zip(
        axes.flat, images, batch['label'].numpy(), answers, strict=False
    ):
        axis.imshow((image + 1) / 2, cmap='gray')
        right = label == answer
        text = run.labels[answer] + ('' if right else f'\n(is {run.labels[label]})')
        axis.set_title(text, fontsize=8, color='black' if right else 'firebrick')
    figure.suptitle(f'what {path.name} answers', fontsize=10)
    figure.tight_layout()
    figure.savefig(workdir / EXAMPLES, dpi=110)
    pyplot.close(figure)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use('Agg')  # no screen is needed
    from matplotlib import pyplot

    return pyplot


def _markdown(results: dict, cards: dict[str, dict], measured: dict, table: str) -> str:
    card = next(iter(cards.values()))
    config, host, protocol = card['config'], measured['host'], measured['protocol']
    averaged, raw = results['averaged'], results['raw']
    return f"""# {card['spec']['name']} on {config['data']['dataset']}

{table}

Accuracy on {card['evaluation']['examples']} evaluation images, every one once. Latency of one image
on this host: {host['cpu']}, {host['runtime']}, {protocol['threads']} thread, the files in turn,
{protocol['rounds']} rounds of {protocol['runs_per_round']} runs.

Trained for {results['step']} steps of {config['train']['batch_size']} images: top-1
{averaged['top1']:.1%} with averaged weights, {raw['top1']:.1%} with the raw ones.

![curves]({CURVES})

![examples]({EXAMPLES})
"""


def _html(workdir: Path, markdown: str) -> str:
    """The report as one page that needs no other file."""
    body = []
    for block in markdown.split('\n\n'):
        text = block.strip()
        if text.startswith('# '):
            body.append(f'<h1>{html.escape(text[2:])}</h1>')
        elif text.startswith('|'):
            body.append(_html_table(text))
        elif text.startswith('!['):
            name = text[text.index('(') + 1 : -1]
            data = base64.b64encode((workdir / name).read_bytes()).decode()
            body.append(f'<img alt="{name}" src="data:image/png;base64,{data}">')
        elif text:
            body.append(f'<p>{html.escape(text)}</p>')
    style = (
        'body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}'
        'table{border-collapse:collapse}td,th{padding:.25rem .7rem;border-bottom:1px solid #ccc;'
        'text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%}'
    )
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(os.fspath(workdir))}</title>'
        f'<style>{style}</style>\n' + '\n'.join(body) + '\n'
    )


def _html_table(text: str) -> str:
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()]
    cells = [
        ''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in row)
        for tag, row in [('th', rows[0]), *(('td', row) for row in rows[2:])]
    ]
    return '<table>' + ''.join(f'<tr>{row}</tr>' for row in cells) + '</table>'


if __name__ == '__main__':
    cli.run(main, define_flags)
