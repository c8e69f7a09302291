"""The report of a classifier on a dataset: figures, classes, confusions and the worst mistakes."""

from pathlib import Path

import numpy as np

from train.answers.confusion import Confusion, plot_confusion
from train.answers.evaluation import Evaluation
from train.answers.sheet import COLUMNS, GREY, RED, ROWS, Line, Sheet, Tile, thumbnail
from train.files import write_file, write_json
from train.markdown import escape, markdown_table

RESULTS, REPORT = 'results.json', 'report.md'
CONFUSION, MISTAKES = 'confusion.png', 'mistakes.png'
MOST_CLASSES = 100  # in the table of the report
MOST_PAIRS = 20
MOST_MISTAKES = COLUMNS * ROWS  # one page
_NONE = '–'


def write_report(output: Path, evaluation: Evaluation) -> str:
    """Writes results.json, report.md and its pictures into a folder.

    Returns:
      The figures in a line, for a terminal.
    """
    statistics, labels = evaluation.statistics, evaluation.labels
    confusion = Confusion(statistics['label'], statistics['prediction'], len(labels))
    worst = _worst(statistics)
    data = f'{evaluation.dataset} ({evaluation.split_name})'
    plot_confusion(output / CONFUSION, confusion, labels, (evaluation.model, f'on {data}'))
    if worst:
        _draw_mistakes(output / MISTAKES, evaluation, worst[:MOST_MISTAKES])
    write_json(output / RESULTS, _results(evaluation, confusion, worst))
    write_file(
        output / REPORT,
        _markdown(f'{evaluation.model} on {data}', evaluation, confusion, worst).encode(),
    )
    return _in_a_line(evaluation)


def _worst(statistics: dict[str, np.ndarray]) -> list[int]:
    """The numbers of the examples that are taken for something else, the highest loss first."""
    (wrong,) = np.nonzero(statistics['label'] != statistics['prediction'])
    order = np.argsort(-statistics['loss'][wrong], kind='stable')
    return [int(number) for number in wrong[order]]


def _draw_mistakes(path: Path, evaluation: Evaluation, numbers: list[int]) -> None:
    statistics, labels = evaluation.statistics, evaluation.labels
    pictures = evaluation.pictures(numbers)
    sheet = Sheet(path, f'The worst mistakes of {evaluation.model}')
    for number in numbers:
        label, loss = labels[statistics['label'][number]], statistics['loss'][number]
        lines = (
            Line(
                labels[statistics['prediction'][number]],
                f'{statistics["score"][number]:.1%}',
                color=RED,
                bold=True,
            ),
            Line(f'is {label}', f'{np.exp(-loss):.1%}'),
            Line(f'{evaluation.split_name} {number}', f'loss {loss:.2f}', color=GREY),
        )
        sheet.add(Tile(thumbnail(pictures[number]), lines))
    sheet.close()


def _results(evaluation: Evaluation, confusion: Confusion, worst: list[int]) -> dict:
    statistics, labels = evaluation.statistics, evaluation.labels
    return {
        'model': evaluation.model,
        'dataset': evaluation.dataset,
        'split': evaluation.split_name,
        'examples': len(statistics['label']),
        'metrics': evaluation.metrics,
        'notes': list(evaluation.notes),
        'classes': [
            {
                'label': label,
                'examples': int(confusion.examples[number]),
                'right': int(confusion.right[number]),
                'predicted': int(confusion.predicted[number]),
            }
            for number, label in enumerate(labels)
        ],
        'confusions': [
            {'label': labels[p.label], 'prediction': labels[p.prediction], 'examples': p.examples}
            for p in confusion.pairs
        ],
        'mistakes': [
            {
                'example': number,
                'label': labels[statistics['label'][number]],
                'prediction': labels[statistics['prediction'][number]],
                'score': float(statistics['score'][number]),
                'loss': float(statistics['loss'][number]),
            }
            for number in worst
        ],
    }


def _in_a_line(evaluation: Evaluation) -> str:
    metrics, count = evaluation.metrics, len(evaluation.statistics['label'])
    top5 = f'top-5 {metrics["top5"]:.2%}, ' if len(evaluation.labels) > 5 else ''
    return f'top-1 {metrics["top1"]:.2%}, {top5}loss {metrics["loss"]:.4f} on {count} examples'


def _markdown(title: str, evaluation: Evaluation, confusion: Confusion, worst: list[int]) -> str:
    count = len(evaluation.statistics['label'])
    top1 = evaluation.metrics['top1']
    error = (top1 * (1 - top1) / count) ** 0.5
    blocks = [
        f'# {escape(title)}',
        f'{_in_a_line(evaluation)}, every one once. The standard error of the top-1 is {error:.1%}.',
        *(f'Assumed: {escape(note)}.' for note in evaluation.notes),
        *_classes(confusion, evaluation.labels),
        '## Confusions',
        f'![confusion matrix]({CONFUSION})',
    ]
    if worst:
        blocks += [
            _pairs(confusion, evaluation.labels),
            '## The worst mistakes',
            f'The {min(len(worst), MOST_MISTAKES)} of {len(worst)} with the highest loss: what they '
            'are taken for, what they are, and the probability of each.',
            f'![the worst mistakes]({MISTAKES})',
        ]
    else:
        blocks.append('There is no mistake.')
    return '\n\n'.join(blocks) + '\n'


def _classes(confusion: Confusion, labels: tuple[str, ...]) -> list[str]:
    """The table of classes, the worst first; of many only those."""
    examples, right, predicted = confusion.examples, confusion.right, confusion.predicted
    present = [int(n) for n in np.nonzero(examples)[0]]
    present.sort(key=lambda n: (right[n] / examples[n], n))
    taken_for: dict[int, str] = {}
    for pair in confusion.pairs:
        taken_for.setdefault(pair.label, f'{escape(labels[pair.prediction])} ({pair.examples})')
    rows = [
        [
            escape(labels[n]),
            f'{examples[n]}',
            f'{right[n] / examples[n]:.1%}',
            f'{right[n] / predicted[n]:.1%}' if predicted[n] else _NONE,
            taken_for.get(n, _NONE),
        ]
        for n in present[:MOST_CLASSES]
    ]
    head = ['class', 'examples', 'found', 'right where predicted', 'mostly taken for']
    blocks = ['## Classes', 'The worst first.', markdown_table(head, rows)]
    if len(present) > MOST_CLASSES:
        blocks.append(f'{len(present) - MOST_CLASSES} more are in {RESULTS}.')
    if len(present) < len(labels):
        blocks.append(f'{len(labels) - len(present)} of {len(labels)} classes have no example.')
    return blocks


def _pairs(confusion: Confusion, labels: tuple[str, ...]) -> str:
    rows = [
        [
            escape(labels[pair.label]),
            escape(labels[pair.prediction]),
            f'{pair.examples}',
            f'{pair.examples / confusion.examples[pair.label]:.1%}',
        ]
        for pair in confusion.pairs[:MOST_PAIRS]
    ]
    return markdown_table(['class', 'is taken for', 'examples', 'of the class'], rows, left=2)
