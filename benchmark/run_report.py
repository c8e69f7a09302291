"""The report of one run: how it learnt, what was exported, how fast it is.

    python -m benchmark.run_report --workdir=runs/demo

Reads the run's folder, `exported/` with its cards and `latency.json` in it; writes report.md, its
pictures, and report.html, which holds all in one file.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from absl import flags

from benchmark import page
from benchmark.results import read_results
from export.card import GOALS
from train import cli
from train.card_file import read_card
from train.files import write_file
from train.markdown import escape, markdown_table
from train.plots import pyplot, save_figure

FLAGS = flags.FLAGS
CURVES = 'curves.png'
EXAMPLES = 'examples.png'
MOST_EXAMPLES, COLUMNS = 12, 6


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
    last, card = [item for item in cards.items() if item[1]['evaluation']][-1]
    table = results_table(cards, measured['devices'][0]['models'], card['evaluation']['goal'])
    _plot_curves(workdir, card)
    _draw_examples(workdir / EXAMPLES, exported / last)
    markdown = _markdown(results, card, measured, table)
    write_file(workdir / 'report.md', markdown.encode())
    html = page.to_html(workdir, markdown, str(workdir))
    write_file(workdir / 'report.html', html.encode())
    files = '\n'.join(f'  {path}' for path in sorted(exported.glob('*.tflite')))
    return (
        f'\n{table}\n\nfiles, each with its card (.json):\n{files}\n'
        f'report:\n  {workdir / "report.md"}\n  {workdir / "report.html"}'
    )


def results_table(cards: dict[str, dict], models: list[dict], goal: str) -> str:
    """One line a file: how good it is, agreement with Keras, size, latency and partitions.

    Args:
      cards: by the name of their file.
      models: what one device measured, of `results.json`.
      goal: the metric that was to grow.
    """
    # Of a file that was measured with XNNPACK and without, the former counts.
    latencies = {e['sha256']: e for e in sorted(models, key=lambda e: e['xnnpack'])}
    metric = GOALS.get(goal, goal)
    head = ['file', metric, f'Keras {metric}', 'agreement', 'size MB', 'median ms (p5–p95)']
    rows = []
    for name, card in cards.items():
        evaluation, entry = card['evaluation'], latencies.get(card['sha256'])
        good = ['–', '–', '–']  # nobody evaluated it
        if evaluation:
            figures = (evaluation['file'][goal], evaluation['keras'][goal], evaluation['agreement'])
            good = [f'{figure:.1%}' for figure in figures]
        rows.append(
            [
                escape(name),
                *good,
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
    """By the name of their file; at least one of them was evaluated."""
    cards = {path.name: read_card(path) for path in sorted(exported.glob('*.tflite'))}
    described = {name: card for name, card in cards.items() if card}
    if not any(card['evaluation'] for card in described.values()):
        raise ValueError(
            f'{exported} has no .tflite file whose card tells how good it is; run python -m '
            'export.tflite first'
        )
    return described


def _read_json(path: Path, made_by: str) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f'{path} is missing; run {made_by} first')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as e:
        raise ValueError(f'{path} is not JSON: {e}; run {made_by} again') from None


def _plot_curves(workdir: Path, card: dict) -> None:
    """The loss over steps, and the metric that was to grow of raw and averaged weights."""
    from train.metrics_file import read_metrics

    lines = read_metrics(str(workdir))
    goal = card['evaluation']['goal']
    smoothed = ' (smoothed labels)' if card['config']['train']['label_smoothing'] else ''
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(10, 3.6))
    for name, label in (
        ('train/loss', f'training{smoothed}'),
        ('eval/averaged/loss', 'evaluation, averaged weights'),
    ):
        points = [(line['step'], line[name]) for line in lines if name in line]
        if points:
            left.plot(*zip(*points, strict=True), label=label)
    left.set(xlabel='step', ylabel='loss')
    left.legend()
    for weights in ('raw', 'averaged'):
        key = f'eval/{weights}/{goal}'
        points = [(line['step'], line[key]) for line in lines if key in line]
        if points:
            right.plot(*zip(*points, strict=True), marker='o', label=f'{weights} weights')
    right.set(xlabel='step', ylabel=GOALS.get(goal, goal), ylim=(0, 1))
    right.legend()
    figure.tight_layout()
    save_figure(figure, workdir / CURVES)


def _draw_examples(path: Path, model: Path) -> None:
    """Images of the evaluation set with what an exported file answers, mistaken classes in red."""
    import tensorflow as tf

    from train.answers import ANSWERS
    from train.answers.sheet import RED, Sheet
    from train.data.images import decode
    from train.data.source import open_source
    from train.predictor import open_predictor

    predictor = open_predictor(str(model))
    config, task = predictor.config, predictor.task
    shown, labels = ANSWERS[config.task], task.labels
    val = open_source(config.data, config.task).val
    chosen = list(val.examples().enumerate().shuffle(1000, seed=0).take(MOST_EXAMPLES))
    images = tf.stack([task.eval_image(raw['image']) for _, raw in chosen])
    outputs = predictor.outputs(task.eval_batch({'image': images})['image'].numpy())
    answers = shown.predictions(outputs, predictor.answers(outputs), labels, shown.TOP)
    layout = dataclasses.replace(shown.LAYOUT, columns=min(COLUMNS, shown.LAYOUT.columns))
    sheet = Sheet(path, f'What {model.name} answers', layout)
    for (number, raw), found in zip(chosen, answers, strict=True):
        truth = labels[raw['label']] if 'label' in raw else None
        told = [p for p in found if p[shown.SCORE] >= shown.LEAST_SCORE]
        name = f'is {truth}' if truth else f'val {number}'
        tile = shown.tile(decode(raw['image']).numpy(), name, told, labels)
        if truth and told[0]['label'] != truth:
            first, *others = tile.lines
            tile = dataclasses.replace(tile, lines=(dataclasses.replace(first, color=RED), *others))
        sheet.add(tile)
    sheet.close()


def _markdown(results: dict, card: dict, measured: dict, table: str) -> str:
    """The report; `card` is of a file that was evaluated."""
    config, protocol, evaluation = card['config'], measured['protocol'], card['evaluation']
    device, goal = measured['devices'][0], evaluation['goal']
    metric = GOALS.get(goal, goal)
    facts = escape(', '.join(f'{name} {device["facts"][name]}' for name in device['facts']))
    averaged, raw = results['averaged'][goal], results['raw'][goal]
    title = escape(f'{card["spec"]["name"]} on {config["data"]["dataset"]}')
    return f"""# {title}

{table}

Evaluated on {evaluation['examples']} images, every one once. Latency of one image on
{escape(device['name'])} ({facts}): {protocol['threads']} thread, the files in turn,
{protocol['rounds']} rounds of {protocol['runs_per_round']} runs.

Trained for {results['step']} steps of {config['train']['batch_size']} images: {metric}
{averaged:.1%} with averaged weights, {raw:.1%} with the raw ones.

![curves]({CURVES})

![examples]({EXAMPLES})
"""


if __name__ == '__main__':
    cli.run(main, define_flags)
