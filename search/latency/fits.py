"""Latencies of parts between the widths that were measured.

NetAdapt meets widths by the thousand. Within one kind of part (the same kernel, stride, size, gate …)
the time is close to a sum of products of its widths, a term for each convolution, so a few dozen
measured widths tell all those between them.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from benchmark.blocks.parts import Part

_SPARE_ROWS = 3  # beyond the unknowns, without which a fit says nothing of its error


@dataclasses.dataclass(frozen=True)
class Kind:
    """A part without its widths.

    Attributes:
      part: with every width 0.
      expands: whether a block has an expansion convolution, a head features.
    """

    part: Part
    expands: bool


def kind_of(part: Part) -> Kind:
    """The kind of a part: what must be the same for its latency to follow from others'."""
    expands = part.expansion not in (0, part.in_channels)
    return Kind(
        dataclasses.replace(part, in_channels=0, expansion=0, filters=0, se_width=0), expands
    )


def terms(part: Part) -> list[float]:
    """What the latency of a part is a sum of, up to factors: 1, and each convolution's work."""
    fan_in, wide, out = part.in_channels, part.expansion or part.in_channels, part.filters
    found = [1.0, float(wide), float(wide * out)]
    if part.expansion not in (0, part.in_channels):
        found.append(float(fan_in * wide))
    if part.se_width:
        found.append(float(wide * part.se_width))
    return found


class Fits:
    """Fits of the kinds of parts of one table, made when they are asked for.

    Args:
      measured: parts with their net latencies in milliseconds.
    """

    def __init__(self, measured: Iterable[tuple[Part, float]]) -> None:
        self._measured: dict[Kind, list[tuple[Part, float]]] = {}
        for part, net_ms in measured:
            self._measured.setdefault(kind_of(part), []).append((part, net_ms))
        self._fits: dict[Kind, _Fit | None] = {}

    def net_ms(self, part: Part) -> float | None:
        """The latency of a part; None where too few of its kind were measured, or none so wide."""
        kind = kind_of(part)
        if kind not in self._fits:
            self._fits[kind] = _fit(self._measured.get(kind, []))
        fit = self._fits[kind]
        return None if fit is None else fit.net_ms(part)


@dataclasses.dataclass(frozen=True)
class _Fit:
    """Factors of the terms, and the least and the largest of each width that were measured."""

    factors: list[float]
    spans: list[tuple[int, int]]

    def net_ms(self, part: Part) -> float | None:
        pairs = zip(self.spans, _widths(part), strict=True)
        if not all(low <= width <= high for (low, high), width in pairs):
            return None
        summands = zip(self.factors, terms(part), strict=True)
        return max(0.0, sum(factor * term for factor, term in summands))


def _fit(measured: list[tuple[Part, float]]) -> _Fit | None:
    """The factors that make the relative errors small; None where there are too few rows."""
    if not measured:
        return None
    matrix = np.array([terms(part) for part, _ in measured])
    scale = matrix.max(axis=0)
    matrix /= scale
    # A width that is the same in all rows makes terms that cannot be told apart: the least solution
    # shares between them, which is right for that width.
    if len(measured) < np.linalg.matrix_rank(matrix) + _SPARE_ROWS:
        return None
    net_ms = np.array([ms for _, ms in measured])
    weights = 1 / np.maximum(net_ms, np.median(net_ms) / 10)
    factors, *_ = np.linalg.lstsq(matrix * weights[:, None], net_ms * weights, rcond=None)
    columns = zip(*(_widths(part) for part, _ in measured), strict=True)
    return _Fit((factors / scale).tolist(), [(min(column), max(column)) for column in columns])


def _widths(part: Part) -> tuple[int, int, int, int]:
    return part.in_channels, part.expansion, part.filters, part.se_width
