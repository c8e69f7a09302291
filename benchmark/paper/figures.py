"""The paper's Figures 1, 2 and 6 from what was measured; how all figures look.

A colour is a network, a marker tells who found the accuracy, a hollow square is the paper's own
point. Colours: Okabe and Ito's, which colour-blind readers tell apart.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.paper.grid import ENTRIES, MULTIPLIERS, Entry
from benchmark.paper.measured import MeasuredGrid
from benchmark.paper.paper_tables import README, TABLE_3, Table
from benchmark.paper.top1 import SOURCES, Source, known_top1
from train.plots import plain, pyplot

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, GRAY = (
    '#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#000000', '#767676',
)  # fmt: skip
MARKERS: dict[Source, str] = dict(zip(SOURCES, ('o', 's', '^'), strict=True))
PAPER: dict[str, Any] = {
    'marker': 's',
    'markerfacecolor': 'none',
    'markersize': 9,
    'linestyle': 'none',
}
DPI = 110


class Curve(NamedTuple):
    """A network with its multipliers, as it is drawn."""

    label: str
    network: str
    multipliers: tuple[float, ...]
    color: str


class Point(NamedTuple):
    """One network: where it lies, who found its accuracy, what is written beside it."""

    x: float
    top1: float
    source: Source
    label: str


CURVES = (
    Curve('V3-Large', 'large', MULTIPLIERS, BLUE),
    Curve('V3-Small', 'small', MULTIPLIERS, VERMILION),
    Curve('V2', 'v2', MULTIPLIERS, GREEN),
    Curve('MnasNet-A1', 'mnasnet_a1', (0.35, 0.5, 0.75, 1.0), PURPLE),
    Curve('MnasNet-small', 'mnasnet_small', (1.0,), GRAY),
    Curve('ProxylessNAS', 'proxyless_mobile', (1.0,), ORANGE),
    Curve('Large-minimalistic', 'large_minimalistic', (1.0,), SKY),
    Curve('Small-minimalistic', 'small_minimalistic', (1.0,), BLACK),
)


def figure_1(measured: MeasuredGrid, path: Path) -> str:
    """Latency against top-1; returns what the caption has to say of this picture."""
    panels = 1 + len(measured.devices)
    figure, axes = pyplot().subplots(
        1, panels, figsize=(5.6 * panels, 5), sharey=True, squeeze=False, layout='constrained'
    )
    left, *others = axes[0]
    for curve in CURVES:
        points = _paper_points(curve, 'P-1 ms')
        line(left, points, curve.color, curve.label, hollow=True)
    left.set(title='the paper: Pixel 1', ylabel='ImageNet top-1 (%)')
    for axis, device in zip(others, measured.devices, strict=True):
        for curve in CURVES:
            line(axis, known_points(measured, curve, _ms_on(device.latencies)), curve.color)
        axis.set_title(f'here: {plain(device.name)}')
    for axis in axes[0]:
        log_ms(axis)
        axis.set_xlabel('latency (ms), one thread, batch 1')
    legend(figure, left)
    save(figure, path)
    return (
        'Figure 1. Latency against ImageNet top-1, 224²; the number at a point is the multiplier. '
        + _undrawn(measured)
    )


def figure_2(measured: MeasuredGrid, path: Path) -> str:
    """Multiply-adds against top-1."""
    figure, axis = pyplot().subplots(figsize=(8.4, 5.6), layout='constrained')
    for curve in CURVES:
        points = known_points(measured, curve, lambda key: ENTRIES[key].cost().madds / 1e6)
        line(axis, points, curve.color, curve.label)
        paper = _paper_points(curve, 'MAdds M')
        axis.plot([p.x for p in paper], [p.top1 for p in paper], color=curve.color, **PAPER)
    axis.set(xscale='log', xlabel='multiply-adds (millions)', ylabel='ImageNet top-1 (%)')
    ticks(axis.xaxis, (25, 50, 100, 200, 400))
    axis.grid(alpha=0.3)
    legend(figure, axis, hollow='the paper’s multiply-adds and top-1')
    save(figure, path)
    return (
        'Figure 2. Multiply-adds, counted here, against ImageNet top-1, 224²; the number at a '
        'point is the multiplier. ' + _undrawn(measured)
    )


def figure_6(path: Path) -> str:
    """Sigmoid and swish and their hard counterparts."""
    figure, axis = pyplot().subplots(figsize=(6.4, 4.6), layout='constrained')
    x = np.linspace(-6, 6, 601)
    sigmoid, hard = 1 / (1 + np.exp(-x)), np.clip(x + 3, 0, 6) / 6
    axis.plot(x, sigmoid, color=BLUE, label='sigmoid')
    axis.plot(x, hard, color=BLUE, linestyle='--', label='h-sigmoid: relu6(x + 3) / 6')
    axis.plot(x, x * sigmoid, color=VERMILION, label='swish: x · sigmoid(x)')
    axis.plot(x, x * hard, color=VERMILION, linestyle='--', label='h-swish: x · relu6(x + 3) / 6')
    axis.set(xlabel='x', ylim=(-0.6, 6.2))
    axis.grid(alpha=0.3)
    axis.legend()
    save(figure, path)
    apart = np.abs(sigmoid - hard).max(), np.abs(x * (sigmoid - hard)).max()
    return (
        'Figure 6. Sigmoid and swish and their hard counterparts, computed. They differ by up to '
        f'{apart[0]:.2f} (sigmoid) and {apart[1]:.2f} (swish) in [-6, 6].'
    )


def known_points(
    measured: MeasuredGrid, curve: Curve, x_of: Callable[[str], float | None]
) -> list[Point]:
    """The points of a curve whose x and accuracy are known."""
    points = []
    for multiplier in curve.multipliers:
        key = Entry(curve.network, multiplier).key
        x, known = x_of(key), known_top1(measured, key)
        if x is not None and known is not None:
            points.append(Point(x, *known, label=_multiplier(curve, multiplier)))
    return points


def line(
    axis: Any,
    points: Sequence[Point],
    color: str,
    label: str = '',
    *,
    hollow: bool = False,
    style: str = '-',
) -> None:
    """A curve through its points, each with its marker and label; empty ones for the legend."""
    axis.plot([p.x for p in points], [p.top1 for p in points], style, color=color, label=label)
    for point in points:
        form = PAPER if hollow else {'marker': MARKERS[point.source], 'markersize': 7}
        axis.plot([point.x], [point.top1], color=color, **form)
        note(axis, point.label, (point.x, point.top1), (6, -11), color)


def note(
    axis: Any, text: str, at: tuple[float, float], offset: tuple[float, float], color: str
) -> None:
    """Small text beside a point, with a white rim, so that it can be read over a line."""
    from matplotlib.patheffects import withStroke

    axis.annotate(
        text,
        at,
        offset,
        textcoords='offset points',
        fontsize=8,
        color=color,
        path_effects=[withStroke(linewidth=2.5, foreground='white')],
    )


def legend(
    figure: Any,
    axis: Any,
    *,
    hollow: str = 'the paper’s latency and top-1',
    more: Sequence[Any] = (),
) -> None:
    """Under the figure: the lines of `axis` that have a label, the markers, and more."""
    from matplotlib.lines import Line2D

    entries = [handle for handle in axis.get_lines() if not str(handle.get_label()).startswith('_')]
    entries += [
        Line2D([], [], color='gray', marker=marker, linestyle='none', label=f'top-1: {source}')
        for source, marker in MARKERS.items()
    ]
    entries.append(Line2D([], [], color='gray', label=hollow, **PAPER))
    entries += more
    columns = min(len(entries), max(3, int(figure.get_figwidth() // 2.6)))
    figure.legend(handles=entries, loc='outside lower center', ncols=columns, fontsize=9)


def log_ms(axis: Any) -> None:
    """A logarithmic axis of milliseconds with plain numbers."""
    axis.set_xscale('log')
    axis.margins(x=0.09)
    low, high = axis.get_xlim()
    steps = [base * 10.0**power for power in range(-3, 6) for base in (1, 1.5, 2, 3, 5, 7)]
    ticks(axis.xaxis, [step for step in steps if low <= step <= high])
    axis.grid(alpha=0.3)


def ticks(axis: Any, values: Sequence[float]) -> None:
    """Ticks at plain numbers on a logarithmic axis."""
    axis.set_ticks(list(values), [f'{value:g}' for value in values])
    axis.set_ticks([], minor=True)


def save(figure: Any, path: Path) -> None:
    """Writes a PNG and lets the figure go."""
    figure.savefig(path, dpi=DPI)
    pyplot().close(figure)


def paper_figure(table: Table, key: str, title: str) -> float | None:
    """The paper's figure of a file in a column; None where the table has none."""
    column = next((i for i, c in enumerate(table.columns) if c.title == title), None)
    for row in table.rows:
        if column is not None and row.keys[:1] == (key,):
            figure = row.figures[column]
            return None if figure is None or isinstance(figure, str) else float(figure)
    return None


def _paper_points(curve: Curve, title: str) -> list[Point]:
    points = []
    for multiplier in curve.multipliers:
        key = Entry(curve.network, multiplier).key
        for table in (TABLE_3, README):
            x, top1 = paper_figure(table, key, title), paper_figure(table, key, 'Top-1')
            if x is not None and top1 is not None:
                points.append(Point(x, top1, 'the paper', _multiplier(curve, multiplier)))
    return points


def _multiplier(curve: Curve, multiplier: float) -> str:
    return f'{multiplier:g}' if len(curve.multipliers) > 1 else ''


def _ms_on(latencies: dict) -> Callable[[str], float | None]:
    return lambda key: latencies[key].median_ms if key in latencies else None


def _undrawn(measured: MeasuredGrid) -> str:
    """Names the networks that no accuracy is known of."""
    names = [
        f'{curve.label} × {multiplier:g}'
        for curve in CURVES
        for multiplier in curve.multipliers
        if known_top1(measured, Entry(curve.network, multiplier).key) is None
    ]
    return f'Not drawn, as no accuracy is known: {", ".join(names)}.' if names else ''
