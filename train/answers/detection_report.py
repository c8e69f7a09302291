"""The report of a detector on a dataset: COCO's figures, classes, curves and the worst images."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from train.answers.drawn_boxes import FOUND, MISSED, TRUTH, WRONG, Drawn, draw_boxes
from train.answers.evaluation import Evaluation
from train.answers.sheet import GREY, LARGE, Line, Sheet, Tile
from train.detection import coco
from train.detection.coco import ABSENT, CocoResult
from train.files import write_file, write_json
from train.markdown import escape, markdown_table
from train.plots import plain, pyplot, save_figure

RESULTS, REPORT = 'results.json', 'report.md'
CURVES, WORST = 'precision_recall.png', 'worst.png'
MOST_CLASSES = 100  # in the table of the report
MOST_CURVES = 12  # with names of their own
MOST_WORST = LARGE.columns * LARGE.rows  # one page
_NONE = '–'
_WORDS = {
    'map': 'AP, mean over overlaps .50 to .95',
    'map50': 'AP at overlap .50',
    'map75': 'AP at overlap .75',
    'map_small': 'AP of objects below 32² pixels',
    'map_medium': 'AP of objects up to 96² pixels',
    'map_large': 'AP of objects above 96² pixels',
    'ar_1': 'recall with 1 detection an image',
    'ar_10': 'recall with 10 detections an image',
    'ar_100': 'recall with 100 detections an image',
    'ar_small': 'recall of objects below 32² pixels',
    'ar_medium': 'recall of objects up to 96² pixels',
    'ar_large': 'recall of objects above 96² pixels',
}


@dataclasses.dataclass(frozen=True)
class Mistakes:
    """What is right and wrong where detections of some score and above count.

    Attributes:
      score: the one that makes the F1 over all classes the largest.
      f1: of precision and recall there, at an overlap of .50.
      found: [K], objects of each class that are found.
      right, wrong: [K], detections of each class.
      missed_of, wrong_of: [N], of each image.
    """

    score: float
    f1: float
    found: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    missed_of: np.ndarray
    wrong_of: np.ndarray


def write_report(output: Path, evaluation: Evaluation) -> str:
    """Writes results.json, report.md and its pictures into a folder.

    Returns:
      The figures in a line, for a terminal.
    """
    result = coco.evaluate(evaluation.statistics, len(evaluation.labels))
    mistakes = count_mistakes(evaluation.statistics, result)
    worst = _worst(mistakes)
    data = f'{evaluation.dataset} ({evaluation.split_name})'
    _plot_curves(output / CURVES, result, evaluation.labels, f'{evaluation.model} on {data}')
    if worst:
        _draw_worst(output / WORST, evaluation, result, mistakes, worst[:MOST_WORST])
    write_json(output / RESULTS, _results(evaluation, result, mistakes, worst))
    title = f'{evaluation.model} on {data}'
    write_file(
        output / REPORT, _markdown(title, evaluation, result, mistakes, bool(worst)).encode()
    )
    return _in_a_line(evaluation, result)


def count_mistakes(statistics: dict[str, np.ndarray], result: CocoResult) -> Mistakes:
    """What is right and wrong at the score with the best F1."""
    scores, hits, num_classes = statistics['scores'], result.hits, len(result.objects)
    objects = statistics['valid'] & ~statistics['crowd']
    counted = hits >= 0
    order = np.argsort(-scores[counted], kind='stable')
    right = np.cumsum(hits[counted][order] == 1)
    f1 = 2 * right / np.maximum(np.arange(1, len(right) + 1) + objects.sum(), 1)
    best = int(np.argmax(f1)) if len(f1) else 0
    score = float(scores[counted][order][best]) if len(f1) else 1.0
    shown = scores >= score
    found = objects & (result.found_by >= score)

    def by_class(classes: np.ndarray) -> np.ndarray:
        return np.bincount(classes, minlength=num_classes)

    return Mistakes(
        score,
        float(f1[best]) if len(f1) else 0.0,
        by_class(statistics['true_classes'][found]),
        by_class(statistics['classes'][shown & (hits == 1)]),
        by_class(statistics['classes'][shown & (hits == 0)]),
        (objects & ~found).sum(axis=1),
        (shown & (hits == 0)).sum(axis=1),
    )


def _worst(mistakes: Mistakes) -> list[int]:
    """The numbers of the images with mistakes, those with most first."""
    sums = mistakes.missed_of + mistakes.wrong_of
    return [int(n) for n in np.argsort(-sums, kind='stable') if sums[n]]


def _plot_curves(path: Path, result: CocoResult, labels: tuple[str, ...], title: str) -> None:
    """Precision over recall at overlap .50, the classes with most objects by name, and the mean."""
    recalls = np.linspace(0, 1, result.precision.shape[1])
    present = np.argsort(-result.objects, kind='stable')[: np.count_nonzero(result.objects)]
    figure, axes = pyplot().subplots(figsize=(8, 5), layout='constrained')
    for rank, number in enumerate(present):
        named = rank < MOST_CURVES
        axes.plot(
            recalls,
            result.precision[0, :, number],
            label=plain(labels[number]) if named else None,
            linewidth=1.2 if named else 0.5,
            color=None if named else '#cccccc',
            zorder=2 if named else 1,
        )
    if len(present) > 1:
        mean = result.precision[0][:, present].mean(axis=1)
        axes.plot(recalls, mean, color='black', linewidth=2, label='mean', zorder=3)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel='recall', ylabel='precision, overlap .50')
    axes.set_title(plain(title if len(title) <= 90 else f'…{title[-89:]}'), fontsize=10)
    axes.grid(alpha=0.3)
    if len(present):
        axes.legend(loc='lower left', fontsize=9)
    save_figure(figure, path)


def _draw_worst(
    path: Path, evaluation: Evaluation, result: CocoResult, mistakes: Mistakes, numbers: list[int]
) -> None:
    sheet = Sheet(path, f'The worst images of {evaluation.model}', LARGE)
    pictures = evaluation.pictures(numbers)
    for number in numbers:
        drawn = _drawn(evaluation, result, mistakes.score, number)
        lines = (
            Line(
                f'{mistakes.missed_of[number]} missed, {mistakes.wrong_of[number]} wrong', bold=True
            ),
            Line(f'{evaluation.split_name} {number}', color=GREY),
        )
        sheet.add(Tile(draw_boxes(pictures[number], drawn), lines))
    sheet.close()


def _drawn(evaluation: Evaluation, result: CocoResult, score: float, number: int) -> list[Drawn]:
    """The boxes of an image: wrong and missed ones with words, on top."""
    one = {name: values[number] for name, values in evaluation.statistics.items()}
    labels, hits, found_by = evaluation.labels, result.hits[number], result.found_by[number]
    drawn: dict[str, list[Drawn]] = {WRONG: [], MISSED: [], FOUND: [], TRUTH: []}
    for i in np.nonzero(one['scores'] >= score)[0]:
        if hits[i] == 0:
            text = f'{labels[one["classes"][i]]} {one["scores"][i]:.0%}'
            drawn[WRONG].append(Drawn(one['boxes'][i], WRONG, text))
        elif hits[i] == 1:
            drawn[FOUND].append(Drawn(one['boxes'][i], FOUND))
    for i in np.nonzero(one['valid'] & ~one['crowd'])[0]:
        box = one['true_boxes'][i]
        if found_by[i] >= score:
            drawn[TRUTH].append(Drawn(box, TRUTH))
        else:
            drawn[MISSED].append(Drawn(box, MISSED, labels[one['true_classes'][i]]))
    return [box for boxes in drawn.values() for box in boxes]


def _results(
    evaluation: Evaluation, result: CocoResult, mistakes: Mistakes, worst: list[int]
) -> dict[str, Any]:
    return {
        'model': evaluation.model,
        'dataset': evaluation.dataset,
        'split': evaluation.split_name,
        'examples': len(evaluation.statistics['size']),
        'objects': int(result.objects.sum()),
        'metrics': evaluation.metrics,
        'notes': list(evaluation.notes),
        'best_score': {'score': mistakes.score, 'f1': mistakes.f1},
        'classes': [
            {
                'label': label,
                'objects': int(result.objects[number]),
                'map': float(result.class_map[number]),
                'map50': float(result.class_map50[number]),
                'found': int(mistakes.found[number]),
                'right': int(mistakes.right[number]),
                'wrong': int(mistakes.wrong[number]),
            }
            for number, label in enumerate(evaluation.labels)
        ],
        'worst': [
            {
                'example': number,
                'missed': int(mistakes.missed_of[number]),
                'wrong': int(mistakes.wrong_of[number]),
            }
            for number in worst
        ],
    }


def _in_a_line(evaluation: Evaluation, result: CocoResult) -> str:
    figures = result.figures
    return (
        f'mAP {_share(figures["map"])}, AP50 {_share(figures["map50"])}, AP75 '
        f'{_share(figures["map75"])} on {len(evaluation.statistics["size"])} images with '
        f'{result.objects.sum()} objects'
    )


def _markdown(
    title: str, evaluation: Evaluation, result: CocoResult, mistakes: Mistakes, worst: bool
) -> str:
    figures = [[_WORDS[name], f'`{name}`', _share(result.figures[name])] for name in coco.FIGURES]
    blocks = [
        f'# {escape(title)}',
        f'{_in_a_line(evaluation, result)}, every image once, by pycocotools.',
        *(f'Assumed: {escape(note)}.' for note in evaluation.notes),
        '## COCO',
        markdown_table(['figure', 'name', 'value'], figures, left=2),
        *_classes(result, mistakes, evaluation.labels),
        '## Precision and recall',
        f'![precision over recall]({CURVES})',
    ]
    if worst:
        blocks += [
            '## The worst images',
            f'Detections of a score of {mistakes.score:.2f} and above: green where they find an '
            'object (white), magenta with class and score where they do not; missed objects are '
            'yellow.',
            f'![the worst images]({WORST})',
        ]
    else:
        blocks.append(f'At a score of {mistakes.score:.2f} there is no mistake.')
    return '\n\n'.join(blocks) + '\n'


def _classes(result: CocoResult, mistakes: Mistakes, labels: tuple[str, ...]) -> list[str]:
    """The table of classes, the worst first; of many only those."""
    present = [int(n) for n in np.nonzero(result.objects)[0]]
    present.sort(key=lambda n: (result.class_map[n], n))
    rows = [
        [
            escape(labels[n]),
            f'{result.objects[n]}',
            _share(result.class_map[n]),
            _share(result.class_map50[n]),
            _share(mistakes.found[n] / result.objects[n]),
            _share(mistakes.right[n] / max(mistakes.right[n] + mistakes.wrong[n], 1)),
        ]
        for n in present[:MOST_CLASSES]
    ]
    blocks = [
        '## Classes',
        f'The worst first. "found" and "right" are the shares of objects that are found, and of '
        f'detections that find one, where those with a score of at least {mistakes.score:.2f} '
        f'count: there the F1 over all classes is the best, {mistakes.f1:.3f}.',
        markdown_table(['class', 'objects', 'AP', 'AP50', 'found', 'right'], rows),
    ]
    if len(present) > MOST_CLASSES:
        blocks.append(f'{len(present) - MOST_CLASSES} more are in {RESULTS}.')
    if len(present) < len(labels):
        blocks.append(f'{len(labels) - len(present)} of {len(labels)} classes have no object.')
    return blocks


def _share(value: float) -> str:
    return _NONE if value == ABSENT else f'{value:.1%}'
