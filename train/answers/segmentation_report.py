"""The report of a segmenter on a dataset: intersections over unions, confusions, the worst images."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from train.answers.confusion import Confusion, plot_confusion
from train.answers.drawn_masks import draw_classes, legend
from train.answers.evaluation import Evaluation
from train.answers.sheet import GREY, LARGE, Layout, Line, Sheet, Tile
from train.data.mask_augment import eval_mask
from train.data.mask_file import IGNORED
from train.files import write_file, write_json
from train.markdown import escape, markdown_table
from train.segmentation.scores import Scores

RESULTS, REPORT = 'results.json', 'report.md'
CONFUSION, WORST = 'confusion.png', 'worst.png'
FOUND = 'found'  # among the statistics: each answer as a PNG, classes at the network's resolution
MOST_CLASSES = 100  # in the table of the report
MOST_PAIRS = 20
MOST_WORST = 8  # one page
_NONE = '–'


def write_report(output: Path, evaluation: Evaluation) -> str:
    """Writes results.json, report.md and its pictures into a folder.

    Returns:
      The figures in a line, for a terminal.
    """
    scores = Scores.of(evaluation.statistics['confusion'])
    confusion = Confusion.of_matrix(scores.matrix, 'pixels')
    images = [Scores(matrix) for matrix in evaluation.statistics['confusion']]
    worst = _worst(images)
    data = f'{evaluation.dataset} ({evaluation.split_name})'
    plot_confusion(
        output / CONFUSION, confusion, evaluation.labels, (evaluation.model, f'on {data}')
    )
    if worst:
        _draw_worst(output / WORST, evaluation, images, worst[:MOST_WORST])
    write_json(output / RESULTS, _results(evaluation, scores, confusion, images, worst))
    write_file(
        output / REPORT,
        _markdown(
            f'{evaluation.model} on {data}', evaluation, scores, confusion, len(worst)
        ).encode(),
    )
    return _in_a_line(evaluation, scores)


def _worst(images: list[Scores]) -> list[int]:
    """The numbers of the images with mistakes, that with most wrong pixels among its own first."""
    shares = np.array([image.accuracy if image.matrix.any() else 1.0 for image in images])
    return [int(n) for n in np.argsort(shares, kind='stable') if shares[n] < 1]


def _draw_worst(
    path: Path, evaluation: Evaluation, images: list[Scores], numbers: list[int]
) -> None:
    """Three pictures an image: itself, the truth and the answer."""
    labels, split = evaluation.labels, evaluation.split_name
    pictures, truths = evaluation.pictures(numbers), evaluation.decoded(numbers, eval_mask)
    layout = Layout(LARGE.picture, columns=3, rows=MOST_WORST)
    sheet = Sheet(path, f'The worst images of {evaluation.model}', layout)
    for number in numbers:
        image, pixels = images[number], pictures[number]
        found = tf.io.decode_png(evaluation.statistics[FOUND][number])[..., 0].numpy()
        about = (
            Line(f'{split} {number}', f'{image.accuracy:.1%} right', bold=True),
            Line('mIoU', f'{image.miou:.1%}', color=GREY),
        )
        unknown = np.full((1, 1), IGNORED, np.uint8)
        sheet.add(Tile(draw_classes(pixels, unknown), about))
        for title, classes, counts in (
            ('truth', truths[number], image.pixels),
            ('found', found, image.found),
        ):
            order = [int(n) for n in np.argsort(-counts, kind='stable') if counts[n]]
            told = [(n, labels[n], f'IoU {_share(image.iou[n])}') for n in order]
            lines = (Line(title, bold=True), *legend(told))
            sheet.add(Tile(draw_classes(pixels, classes), lines))
    sheet.close()


def _results(
    evaluation: Evaluation,
    scores: Scores,
    confusion: Confusion,
    images: list[Scores],
    worst: list[int],
) -> dict[str, Any]:
    labels = evaluation.labels
    return {
        'model': evaluation.model,
        'dataset': evaluation.dataset,
        'split': evaluation.split_name,
        'examples': len(images),
        'pixels': int(scores.matrix.sum()),
        'metrics': evaluation.metrics,
        'notes': list(evaluation.notes),
        'classes': [
            {
                'label': label,
                'pixels': int(scores.pixels[number]),
                'right': int(scores.right[number]),
                'found': int(scores.found[number]),
                'iou': None if math.isnan(scores.iou[number]) else float(scores.iou[number]),
            }
            for number, label in enumerate(labels)
        ],
        'confusions': [
            {'label': labels[p.label], 'prediction': labels[p.prediction], 'pixels': p.examples}
            for p in confusion.pairs
        ],
        'worst': [
            {
                'example': number,
                'pixel_accuracy': images[number].accuracy,
                'miou': images[number].miou,
            }
            for number in worst
        ],
    }


def _in_a_line(evaluation: Evaluation, scores: Scores) -> str:
    metrics = evaluation.metrics
    loss = f', loss {metrics["loss"]:.4f}' if 'loss' in metrics else ''
    return (
        f'mIoU {metrics["miou"]:.2%}, pixel accuracy {metrics["pixel_accuracy"]:.2%}{loss} on '
        f'{len(evaluation.statistics["confusion"])} images with {scores.matrix.sum():,} pixels'
    )


def _markdown(
    title: str, evaluation: Evaluation, scores: Scores, confusion: Confusion, mistaken: int
) -> str:
    blocks = [
        f'# {escape(title)}',
        f'{_in_a_line(evaluation, scores)}, every pixel that is not to be ignored once, at the size of '
        'its image.',
        *(f'Assumed: {escape(note)}.' for note in evaluation.notes),
        *_classes(scores, confusion, evaluation.labels),
        '## Confusions',
        f'![confusion matrix]({CONFUSION})',
    ]
    if mistaken:
        blocks += [
            _pairs(confusion, evaluation.labels),
            '## The worst images',
            f'The {min(mistaken, MOST_WORST)} of {mistaken} with the smallest share of right pixels: '
            'the image, the truth and what is found, with the intersection over union of each class '
            'in it. Where there is no colour, pixels are ignored.',
            f'![the worst images]({WORST})',
        ]
    else:
        blocks.append('There is no mistake.')
    return '\n\n'.join(blocks) + '\n'


def _classes(scores: Scores, confusion: Confusion, labels: tuple[str, ...]) -> list[str]:
    """The table of classes, the worst first; of many only those."""
    present = [int(n) for n in np.nonzero(scores.pixels + scores.found)[0]]
    present.sort(key=lambda n: (scores.iou[n], n))
    total = max(int(scores.matrix.sum()), 1)
    taken_for: dict[int, str] = {}
    for pair in confusion.pairs:
        share = pair.examples / scores.pixels[pair.label]
        taken_for.setdefault(pair.label, f'{escape(labels[pair.prediction])} ({share:.0%})')
    rows = [
        [
            escape(labels[n]),
            f'{scores.pixels[n] / total:.2%}',
            _share(scores.iou[n]),
            _share(scores.right[n] / scores.pixels[n] if scores.pixels[n] else math.nan),
            _share(scores.right[n] / scores.found[n] if scores.found[n] else math.nan),
            taken_for.get(n, _NONE),
        ]
        for n in present[:MOST_CLASSES]
    ]
    head = ['class', 'of the pixels', 'IoU', 'found', 'right where found', 'mostly taken for']
    blocks = ['## Classes', 'The worst first.', markdown_table(head, rows)]
    if len(present) > MOST_CLASSES:
        blocks.append(f'{len(present) - MOST_CLASSES} more are in {RESULTS}.')
    if len(present) < len(labels):
        missing = len(labels) - len(present)
        blocks.append(f'{missing} of {len(labels)} classes have no pixel and are not in the mean.')
    return blocks


def _pairs(confusion: Confusion, labels: tuple[str, ...]) -> str:
    total = max(int(confusion.examples.sum()), 1)
    rows = [
        [
            escape(labels[pair.label]),
            escape(labels[pair.prediction]),
            f'{pair.examples / total:.2%}',
            f'{pair.examples / confusion.examples[pair.label]:.1%}',
        ]
        for pair in confusion.pairs[:MOST_PAIRS]
    ]
    return markdown_table(['class', 'is taken for', 'of all pixels', 'of the class'], rows, left=2)


def _share(value: float) -> str:
    return _NONE if math.isnan(value) else f'{value:.1%}'
