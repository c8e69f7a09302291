"""Which classes are taken for which, as counts and as a figure."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from train.plots import plain, pyplot, save_figure

MOST_COUNTS = 25  # classes up to which the cells hold numbers
MOST_NAMES = 60  # classes up to which the axes hold names
MOST_CELLS = 100  # a side; more classes share cells
LARGEST_TOLD = 99_999  # of the counts up to which cells hold them; else shares of the row
LEAST_TOLD = 0.005  # of the shares
MOST_PAIRS = 25  # beside the matrix of many classes
_LONGEST_NAME = 28  # characters in a figure


class Pair(NamedTuple):
    """Examples of one class that are taken for another."""

    label: int
    prediction: int
    examples: int


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Labels beside predictions of examples, int [N] each, of so many classes.

    Attributes:
      counts: how many examples each entry stands for, int [N]; None: one.
      unit: what an example is called.
    """

    labels: np.ndarray
    predictions: np.ndarray
    num_classes: int
    counts: np.ndarray | None = None
    unit: str = 'examples'

    @classmethod
    def of_matrix(cls, matrix: np.ndarray, unit: str) -> 'Confusion':
        """Of counts [k, k] whose rows are the labels."""
        labels, predictions = np.nonzero(matrix)
        return cls(labels, predictions, len(matrix), matrix[labels, predictions], unit)

    @functools.cached_property
    def examples(self) -> np.ndarray:
        """How many examples each class has, [k]."""
        return self._count(self.labels, self.counts)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """How often each class is the answer, [k]."""
        return self._count(self.predictions, self.counts)

    @functools.cached_property
    def right(self) -> np.ndarray:
        """How many examples of each class are found, [k]."""
        hits = self.labels == self.predictions
        return self._count(self.labels[hits], None if self.counts is None else self.counts[hits])

    @functools.cached_property
    def pairs(self) -> list[Pair]:
        """The mistakes, the most frequent first."""
        wrong = self.labels != self.predictions
        both = np.stack([self.labels[wrong], self.predictions[wrong]], axis=-1)
        found, places = np.unique(both, axis=0, return_inverse=True)
        each = np.ones(len(both), np.int64) if self.counts is None else self.counts[wrong]
        counts = np.zeros(len(found), np.int64)
        np.add.at(counts, places.reshape(-1), each)
        order = np.argsort(-counts, kind='stable')
        return [Pair(int(found[i, 0]), int(found[i, 1]), int(counts[i])) for i in order]

    def matrix(self, size: int) -> np.ndarray:
        """Counts [side, side], rows are the labels, each cell of `size`² classes."""
        side = -(-self.num_classes // size)
        counts = np.zeros((side, side), np.int64)
        each = 1 if self.counts is None else self.counts
        np.add.at(counts, (self.labels // size, self.predictions // size), each)
        return counts

    def _count(self, classes: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        total = np.zeros(self.num_classes, np.int64)
        np.add.at(total, classes, 1 if counts is None else counts)
        return total


def plot_confusion(
    path: str | os.PathLike, confusion: Confusion, labels: Sequence[str], title: Sequence[str]
) -> None:
    """Draws the matrix, each row as shares of its examples; of many classes the worst pairs too.

    Args:
      path: of the PNG.
      confusion: what to draw.
      labels: of the classes.
      title: its lines; of long ones the end is shown.
    """
    names = [plain(_short(label)) for label in labels]
    many = len(labels) > MOST_COUNTS
    side = 9.0 if many else max(4.5, 0.4 * len(labels) + 2.5)  # inches
    figure, axes = pyplot().subplots(
        1,
        2 if many else 1,
        figsize=(side + 8.0, side + 0.5) if many else (side + 1.5, side),
        squeeze=False,
        layout='constrained',
        width_ratios=(side, 6.0) if many else None,
    )
    longest = round(13 * side)
    lines = [line if len(line) <= longest else f'…{line[-longest:]}' for line in title]
    figure.suptitle(plain('\n'.join(lines)), fontsize=10)
    _draw_matrix(figure, axes[0, 0], confusion)
    _name_classes(axes[0, 0], names)
    if many:
        _draw_pairs(axes[0, 1], confusion, names)
    save_figure(figure, path)


def _draw_matrix(figure: Any, axis: Any, confusion: Confusion) -> None:
    from matplotlib.colors import PowerNorm

    counts = confusion.matrix(_classes_a_cell(confusion.num_classes))
    # Rows without examples stay empty.
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.ma.masked_invalid(counts / np.where(sums, sums, np.nan))
    # Rare mistakes would be white on a linear scale.
    image = axis.imshow(shares, cmap='Blues', norm=PowerNorm(0.5, 0, 1), interpolation='nearest')
    figure.colorbar(image, ax=axis, shrink=0.8, label='share of the row', pad=0.02)
    axis.set(xlabel='prediction', ylabel='true class')
    if confusion.num_classes > MOST_COUNTS:
        return
    for row, column in zip(*counts.nonzero(), strict=True):
        color = 'white' if shares[row, column] > 0.4 else 'black'
        text = f'{counts[row, column]}'
        if counts.max() > LARGEST_TOLD:
            text = f'{shares[row, column]:.0%}' if shares[row, column] >= LEAST_TOLD else ''
        axis.text(column, row, text, ha='center', va='center', color=color, fontsize=9)


def _name_classes(axis: Any, names: list[str]) -> None:
    """Names along both axes; of many classes their numbers."""
    if len(names) <= MOST_NAMES:
        size = 9 if len(names) <= MOST_COUNTS else 7
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
        axis.set_yticks(range(len(names)), names, fontsize=size)
        return
    classes = _classes_a_cell(len(names))
    ticks = range(0, -(-len(names) // classes), 10)
    for one, what in ((axis.xaxis, 'prediction'), (axis.yaxis, 'true class')):
        one.set_ticks(ticks, [f'{tick * classes}' for tick in ticks])
        cell = f', {classes} to a cell' if classes > 1 else ''
        one.set_label_text(f'number of the {what}{cell}')


def _classes_a_cell(num_classes: int) -> int:
    return -(-num_classes // MOST_CELLS)


def _draw_pairs(axis: Any, confusion: Confusion, names: list[str]) -> None:
    """Bars of the most frequent mistakes."""
    pairs = confusion.pairs[:MOST_PAIRS]
    axis.set_title(f'most frequent of {len(confusion.pairs)} kinds of mistakes', fontsize=10)
    axis.barh(range(len(pairs)), [pair.examples for pair in pairs], color='#d3e4f3')
    axis.set_ylim(MOST_PAIRS - 0.5, -0.5)
    axis.set_yticks([])
    axis.set_xlabel(confusion.unit)
    axis.xaxis.get_major_locator().set_params(integer=True)
    for position, pair in enumerate(pairs):
        text = f' {pair.examples}  {names[pair.label]} → {names[pair.prediction]}'
        axis.text(0, position, text, va='center', fontsize=9)
    for side in ('top', 'right'):
        axis.spines[side].set_visible(False)


def _short(label: str) -> str:
    label = ' '.join(label.split())
    return label if len(label) <= _LONGEST_NAME else f'{label[: _LONGEST_NAME - 1].rstrip()}…'
