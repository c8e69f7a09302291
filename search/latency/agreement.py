"""How well predicted latencies agree with measured ones: errors, rank correlation, a plot."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search.latency.correction import Correction, Observed
from train.markdown import escape, markdown_table
from train.plots import plain, pyplot, save_figure

BAND = 0.08  # of relative error, drawn in the plot


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Networks that were measured, and the correction of their predictions.

    Attributes:
      observed: networks to which the correction was not fitted.
      correction: None where it did not help.
    """

    observed: Sequence[Observed]
    correction: Correction | None

    def errors(self, *, corrected: bool = True) -> list[float]:
        """Predicted / measured - 1 of each network."""
        return [each.error(self.correction if corrected else None) for each in self.observed]

    def predicted_ms(self) -> list[float]:
        """Of each network, corrected."""
        return [(1 + each.error(self.correction)) * each.measured_ms for each in self.observed]

    @property
    def median_error(self) -> float:
        """The median of the errors' sizes."""
        return float(np.median(np.abs(self.errors())))

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of predicted and measured latencies."""
        measured = [each.measured_ms for each in self.observed]
        return float(np.corrcoef(_ranks(self.predicted_ms()), _ranks(measured))[0, 1])

    def said(self) -> str:
        """Errors and correlation in two lines."""
        plain_errors = np.abs(self.errors(corrected=False))
        lines = [
            f'{len(self.observed)} networks: error median {self.median_error:.1%}, largest '
            f'{np.max(np.abs(self.errors())):.1%}; rank correlation {self.rank_correlation:.3f}'
        ]
        if self.correction is None:
            lines.append('no correction: it would not have helped')
        else:
            lines.append(
                f'corrected: {self.correction.factor:.3f} × sum + {self.correction.ms_per_mb:.4f} ms '
                f'for each MB of weights, fitted to {self.correction.networks} other networks; '
                f'without: median {np.median(plain_errors):.1%}, largest {plain_errors.max():.1%}'
            )
        return '\n'.join(lines)

    def markdown(self, device: str, facts: Mapping[str, Any], picture: str) -> str:
        """A report."""
        told = escape(', '.join(f'{name} {value}' for name, value in facts.items()))
        rows = [
            [f'{each.measured_ms:.4f}', f'{predicted:.4f}', f'{error:+.1%}']
            for each, predicted, error in zip(
                self.observed, self.predicted_ms(), self.errors(), strict=True
            )
        ]
        table = markdown_table(['measured ms', 'predicted ms', 'error'], rows, left=0)
        said = '\n\n'.join(self.said().splitlines())
        return (
            f'# Predicted and measured latencies on {escape(device)}\n\n{told}.\n\n{said}\n\n'
            f'![predicted against measured]({picture})\n\n{table}\n'
        )


def plot_agreement(path: str | os.PathLike, agreement: Agreement, device: str) -> None:
    """Draws predicted over measured milliseconds, with a band of relative errors."""
    measured = [each.measured_ms for each in agreement.observed]
    predicted = agreement.predicted_ms()
    figure, axis = pyplot().subplots(figsize=(5.4, 5))
    ends = np.array([0.95 * min(measured + predicted), 1.05 * max(measured + predicted)])
    axis.plot(ends, ends, color='black', linewidth=0.8)
    axis.fill_between(
        ends, (1 - BAND) * ends, (1 + BAND) * ends, color='#dddddd', label=f'± {BAND:.0%}'
    )
    axis.scatter(measured, predicted, s=18, color='#1f5f99', label='a network')
    axis.set(
        xlabel='measured, ms',
        ylabel='predicted from its parts, ms',
        xlim=ends,
        ylim=ends,
        title=plain(
            f'{device}: median error {agreement.median_error:.1%}, '
            f'rank correlation {agreement.rank_correlation:.3f}'
        ),
    )
    axis.title.set_fontsize(10)
    axis.legend(frameon=False)
    figure.tight_layout()
    save_figure(figure, path)


def _ranks(values: Sequence[float]) -> np.ndarray:
    """The place of each value, equal ones share the middle of theirs."""
    array = np.asarray(values)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    return below + (equal - 1) / 2
