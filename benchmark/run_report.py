"""The report of one run: how it learnt, what was exported, how fast it is.

    python -m benchmark.run_report --workdir=runs/demo

Reads the run's folder, `exported/` with its cards and `latency.json` in it; writes report.md, its
pictures, and report.html, which holds all in one file.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags

from benchmark import page
from benchmark.results import read_results
from train import cli
from train.card_file import read_card
from train.files import write_file
from train.markdown import escape, markdown_table
from train.plots import pyplot, save_figure

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
    measured = read_results(latency)
    if not measured['devices']:
        raise ValueError(f'{latency} holds no device; measure again with python -m benchmark.main')
    cards = _read_cards(exported)
    table = results_table(cards, measured['devices'][0]['models'])
    _plot_curves(workdir)
    _plot_examples(workdir, exported)
    markdown = _markdown(results, cards, measured, table)
    write_file(workdir / 'report.md', markdown.encode())
    html = page.to_html(workdir, markdown, str(workdir))
    write_file(workdir / 'report.html', html.encode())
    files = '\n'.join(f'  {path}' for path in sorted(exported.glob('*.tflite')))
    return (
        f'\n{table}\n\nfiles, each with its card (.json):\n{files}\n'
        f'report:\n  {workdir / "report.md"}\n  {workdir / "report.html"}'
    )


def results_table(cards: dict[str, dict], models: list[dict]) -> str:
    """One line a file: accuracy, agreement with Keras, size, latency and partitions.

    Args:
      cards: by the name of their file.
      models: what one device measured, of `results.json`.
    """
    # Of a file that was measured with XNNPACK and without, the former counts.
    latencies = {e['sha256']: e for e in sorted(models, key=lambda e: e['xnnpack'])}
    head = ['file', 'top-1', 'Keras top-1', 'agreement', 'size MB', 'median ms (p5–p95)']
    rows = []
    for name, card in cards.items():
        evaluation, entry = card['evaluation'], latencies.get(card['sha256'])
        rows.append(
            [
                escape(name),
                f'{evaluation["file"]["top1"]:.1%}',
                f'{evaluation["keras"]["top1"]:.1%}',
                f'{evaluation["agreement"]:.1%}',
                f'{card["size_bytes"] / 1e6:.2f}',
                _speed(entry) if entry else 'not measured',
                str(card['partitions']),
            ]
        )
    return markdown_table([*head, 'partitions'], rows)


def _speed(entry: dict) -> str:
    """Median and spread; a device's tool may tell no percentiles."""
    if entry['p5_ms'] is None:
        return f'{entry["median_ms"]:.3f}'
    return f'{entry["median_ms"]:.3f} ({entry["p5_ms"]:.3f}–{entry["p95_ms"]:.3f})'


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
    from train.metrics_file import read_metrics

    lines = read_metrics(str(workdir))
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(10, 3.6))
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
    save_figure(figure, workdir / CURVES)


def _plot_examples(workdir: Path, exported: Path) -> None:
    """Images of the evaluation set with what the last exported file answers."""
    from export.start import from_run
    from train.tflite_file import TFLiteModel

    trained = from_run(str(workdir))
    run, source = trained.run, trained.source
    task = run.make_task()
    path = sorted(exported.glob('*.tflite'))[-1]
    batches = source.val.examples().shuffle(1000, seed=0).take(12).map(task.eval_example)
    batch = next(iter(batches.batch(12).map(task.eval_batch)))
    images = batch['image'].numpy()
    answers = TFLiteModel(path)(images).argmax(axis=-1)
    figure, axes = pyplot().subplots(2, 6, figsize=(10, 4.6))
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
    save_figure(figure, workdir / EXAMPLES)


def _markdown(results: dict, cards: dict[str, dict], measured: dict, table: str) -> str:
    card = next(iter(cards.values()))
    config, protocol = card['config'], measured['protocol']
    device = measured['devices'][0]
    facts = escape(', '.join(f'{name} {device["facts"][name]}' for name in device['facts']))
    averaged, raw = results['averaged'], results['raw']
    title = escape(f'{card["spec"]["name"]} on {config["data"]["dataset"]}')
    return f"""# {title}

{table}

Accuracy on {card['evaluation']['examples']} evaluation images, every one once. Latency of one image
on {escape(device['name'])} ({facts}): {protocol['threads']} thread, the files in turn,
{protocol['rounds']} rounds of {protocol['runs_per_round']} runs.

Trained for {results['step']} steps of {config['train']['batch_size']} images: top-1
{averaged['top1']:.1%} with averaged weights, {raw['top1']:.1%} with the raw ones.

![curves]({CURVES})

![examples]({EXAMPLES})
"""


if __name__ == '__main__':
    cli.run(main, define_flags)
