"""The paper's Figures 7, 8 and 9 from what was measured, a row or a panel for each device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.latency import Ratio
from benchmark.paper.figures import (
    BLACK,
    BLUE,
    CURVES,
    GREEN,
    MARKERS,
    ORANGE,
    PAPER,
    VERMILION,
    Point,
    known_points,
    legend,
    line,
    log_ms,
    note,
    paper_figure,
    save,
    ticks,
)
from benchmark.paper.grid import ENTRIES, MULTIPLIERS, RESOLUTIONS, Entry
from benchmark.paper.measured import DeviceResults, MeasuredGrid
from benchmark.paper.paper_tables import TABLE_3, TABLE_5
from benchmark.paper.top1 import known_top1
from train.plots import plain, pyplot

# Fig. 8 and Table 5, from no h-swish to h-swish everywhere
FORMS = (
    ('ReLU', 'large_relu', BLACK),
    ('h-swish @112', 'large_hs112', GREEN),
    ('h-swish @80 (V3)', 'large', BLUE),
    ('h-swish @16', 'large_hs16', VERMILION),
)
# Fig. 9: what each step adds to the one before it, from the seed of the search on
STEPS = (
    ('MnasNet-A1, the seed', 'mnasnet_a1_1_224_float32'),
    ('V3’s rows without §5', 'fig9_start_1_224_float32'),
    ('+ larger squeeze-and-excite', 'fig9_large_se_1_224_float32'),
    ('+ efficient last stage', 'fig9_last_stage_1_224_float32'),
    ('+ h-swish', 'fig9_hard_swish_1_224_float32_decomposed'),
    ('+ optimized h-swish', 'fig9_hard_swish_1_224_float32'),
    ('+ stem of 16: V3-Large', 'large_1_224_float32'),
)
_PHONES = (('P-1 ms', 'Pixel 1', ORANGE), ('P-2 ms', 'Pixel 2', GREEN), ('P-3 ms', 'Pixel 3', BLUE))


def figure_7(measured: MeasuredGrid, path: Path) -> str:
    """Multipliers and resolutions: latency against top-1 where known, and multiply-adds."""
    figure, axes = _grid(len(measured.devices), 2, 4.8)
    for (left, right), device in zip(axes, measured.devices, strict=True):
        for curve in CURVES[:2]:
            ms = lambda key, device=device: _ms(device, key)  # noqa: E731
            points = known_points(measured, curve, ms)
            line(left, points, curve.color, f'{curve.label}: multiplier at 224²')
            line(left, _resolutions(measured, device, curve.network), curve.color, style='--')
            _cost(right, device, curve.network, curve.color, curve.label)
        left.set(title=f'{plain(device.name)}: top-1, where known', ylabel='ImageNet top-1 (%)')
        left.set_xlabel('latency (ms)')
        log_ms(left)
        right.set(title=f'{plain(device.name)}: what a multiply-add costs', xscale='log')
        right.set(xlabel='multiply-adds (millions)', ylabel='ms per 100 million multiply-adds')
        ticks(right.xaxis, (10, 20, 50, 100, 200, 350))
        right.margins(x=0.08, y=0.12)
        right.grid(alpha=0.3)
    _legend_7(figure)
    save(figure, path)
    return (
        'Figure 7. Left: top-1 against latency, where an accuracy is known. Right: latency '
        'for its multiply-adds, of every multiplier at 224² and every resolution at × 1: of two '
        'files with as many multiply-adds the lower one is the faster. '
        + _missing_resolutions(measured)
    )


def figure_8(measured: MeasuredGrid, path: Path) -> str:
    """What h-swish costs over ReLU, optimized and not, by multiplier; and latency against top-1."""
    figure, axes = _grid(len(measured.devices), 2, 4.8)
    for (left, right), device in zip(axes, measured.devices, strict=True):
        for name, network, color in FORMS:
            for form, style in (('fused', '-'), ('decomposed', '--')):
                label = name if form == 'fused' else ''
                xs, ratios = _over_relu(device, network, form)
                _intervals(right, xs, ratios, color)
                face = color if form == 'fused' else 'none'
                medians = [ratio.median for ratio in ratios]
                right.plot(
                    xs, medians, style, color=color, marker='o', markerfacecolor=face, label=label
                )
            _both_forms(left, measured, device, network, color)
        for _, network, color in FORMS:
            right.plot([1.0], [_paper_over_relu(network, 'P-1 ms')], color=color, **PAPER)
            no_opt = _paper_over_relu(network, 'P-1 (no-opt) ms')
            right.plot([1.0], [no_opt], color=color, **{**PAPER, 'marker': 'D'})
        right.set(
            title=f'{plain(device.name)}: latency against ReLU’s',
            xlabel='width multiplier',
            ylabel='latency / latency with ReLU',
            xticks=MULTIPLIERS,
        )
        right.grid(alpha=0.3)
        left.set(title=f'{plain(device.name)}: top-1, where known', xlabel='latency (ms)')
        left.set_ylabel('ImageNet top-1 (%)')
        log_ms(left)
    _legend_8(figure, axes[0][1])
    save(figure, path)
    return (
        'Figure 8. V3-Large with h-swish from N channels on. Solid, filled: optimized (one op '
        'HARD_SWISH); dashed, open: without it. Right: what h-swish costs at every '
        'multiplier, with 95 % intervals. '
        'Accuracies of the ablations are known at × 1 only.'
    )


def figure_9(measured: MeasuredGrid, path: Path) -> str:
    """Latency of each step from the seed to V3-Large, relative to the seed."""
    figure, axes = _grid(1, len(measured.devices), 4.6)
    for axis, device in zip(axes[0], measured.devices, strict=True):
        places = range(len(STEPS))
        for place, (_, key) in zip(places, STEPS, strict=True):
            latency, ratio = device.latency(key), device.ratio(key, STEPS[0][1])
            if latency is None or ratio is None:
                middle = axis.get_yaxis_transform()
                axis.text(0.5, place, 'missing', transform=middle, va='center', color='gray')
                continue
            _intervals(axis, [place], [ratio], VERMILION, flat=True)
            axis.plot([ratio.median], [place], 'o', color=VERMILION, markersize=8)
            text, at = f'{latency.median_ms:.2f} ms', (ratio.median, place)
            axis.annotate(text, at, (0, 9), textcoords='offset points', ha='center')
        for title, _, color in _PHONES:
            first, *_, last = (paper_figure(TABLE_3, key, title) for _, key in STEPS)
            if first and last:
                axis.plot([1, last / first], [0, len(STEPS) - 1], color=color, **PAPER)
        axis.set(title=plain(device.name), xlabel='latency / latency of MnasNet-A1')
        axis.set_yticks(list(places), [label for label, _ in STEPS])
        axis.set_ylim(len(STEPS) - 0.5, -0.7)
        axis.margins(x=0.1)
        axis.grid(alpha=0.3)
    _legend_9(figure)
    save(figure, path)
    return (
        'Figure 9. Latency of the steps from MnasNet-A1, the seed, to V3-Large, 224², as the ratio '
        'within a round and its 95 % interval. Departs from '
        'the paper, which does not write its steps down: §5’s changes are undone on V3’s own rows '
        'and made again one by one. Accuracies of the steps: missing.'
    )


def _grid(rows: int, columns: int, height: float) -> tuple[Any, Any]:
    """Axes [rows, columns]."""
    return pyplot().subplots(
        rows, columns, figsize=(6.2 * max(columns, 1) + 0.4, height * rows + 0.8),
        squeeze=False, layout='constrained',
    )  # fmt: skip


def _ms(device: DeviceResults, key: str) -> float | None:
    latency = device.latency(key)
    return latency.median_ms if latency else None


def _resolutions(measured: MeasuredGrid, device: DeviceResults, network: str) -> list[Point]:
    points = []
    for resolution in RESOLUTIONS:
        key = Entry(network, resolution=resolution).key
        ms, known = _ms(device, key), known_top1(measured, key)
        if ms is not None and known is not None:
            points.append(Point(ms, *known, label=f'{resolution}²'))
    return points if len(points) > 1 else []  # 224² alone is a point of the multipliers


def _missing_resolutions(measured: MeasuredGrid) -> str:
    missing = [
        f'{name} {resolution}²'
        for name, network in (('Large', 'large'), ('Small', 'small'))
        for resolution in RESOLUTIONS
        if known_top1(measured, Entry(network, resolution=resolution).key) is None
    ]
    return f'No accuracy is known of: {", ".join(missing)}.' if missing else ''


def _cost(axis: Any, device: DeviceResults, network: str, color: str, label: str) -> None:
    """Latency per multiply-add: multipliers solid, resolutions dashed and open."""
    multipliers = [(Entry(network, m), f'× {m:g}') for m in MULTIPLIERS]
    resolutions = [(Entry(network, resolution=r), f'{r}²') for r in RESOLUTIONS]
    for entries, style, face, offset in (
        (multipliers, 'o-', color, (5, -12)),
        (resolutions, 'D--', 'none', (-8, 8)),
    ):
        points = [
            (entry.cost().madds / 1e6, ms / (entry.cost().madds / 1e8), text)
            for entry, text in entries
            if (ms := _ms(device, entry.key)) is not None
        ]
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        axis.plot(xs, ys, style, color=color, markerfacecolor=face)
        for x, y, text in points:
            note(axis, text, (x, y), offset, color)


def _over_relu(device: DeviceResults, network: str, form: str) -> tuple[list[float], list[Ratio]]:
    """Multipliers, and the latency relative to ReLU at the same multiplier."""
    suffix = '' if form == 'fused' else '_decomposed'
    ratios = [
        (m, device.ratio(f'{Entry(network, m).key}{suffix}', Entry('large_relu', m).key))
        for m in MULTIPLIERS
    ]
    found = [(m, ratio) for m, ratio in ratios if ratio]
    return [m for m, _ in found], [ratio for _, ratio in found]


def _intervals(
    axis: Any, places: Sequence[float], ratios: Sequence[Ratio], color: str, *, flat: bool = False
) -> None:
    """The 95 % interval of each ratio as a bar: upright, or flat where the ratio is on the x axis."""
    for place, ratio in zip(places, ratios, strict=True):
        if ratio.low is not None:
            ends, here = [ratio.low, ratio.high], [place, place]
            axis.plot(
                *((ends, here) if flat else (here, ends)), color=color, alpha=0.45, linewidth=3
            )


def _paper_over_relu(network: str, title: str) -> float:
    ours, relu = (paper_figure(TABLE_5, Entry(name).key, title) for name in (network, 'large_relu'))
    return ours / relu if ours and relu else float('nan')


def _both_forms(
    axis: Any, measured: MeasuredGrid, device: DeviceResults, network: str, color: str
) -> None:
    for suffix, style, face in (('', '-', color), ('_decomposed', '--', 'none')):
        points = []
        for multiplier in MULTIPLIERS:
            key = f'{Entry(network, multiplier).key}{suffix}'
            known = known_top1(measured, key) if key in ENTRIES else None
            ms = _ms(device, key)
            if ms is not None and known is not None:
                points.append((ms, *known))
        axis.plot([p[0] for p in points], [p[1] for p in points], style, color=color, alpha=0.6)
        for x, y, source in points:
            axis.plot([x], [y], MARKERS[source], color=color, markerfacecolor=face, markersize=8)


def _handle(label: str, **form: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **{'color': 'gray', **form}, label=label)


def _legend_7(figure: Any) -> None:
    handles = [_handle(c.label, color=c.color) for c in CURVES[:2]]
    handles += [
        _handle('multiplier at 224²', marker='o'),
        _handle('resolution at × 1', marker='D', linestyle='--', markerfacecolor='none'),
        *(
            _handle(f'left, top-1: {source}', marker=marker, linestyle='none')
            for source, marker in MARKERS.items()
        ),
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=4, fontsize=9)


def _legend_8(figure: Any, axis: Any) -> None:
    more = [
        _handle('right: the paper, not optimized', **{**PAPER, 'marker': 'D'}),
        _handle('optimized h-swish', marker='o'),
        _handle('not optimized', marker='o', linestyle='--', markerfacecolor='none'),
    ]
    legend(figure, axis, hollow='right: the paper, Pixel 1', more=more)


def _legend_9(figure: Any) -> None:
    handles = [_handle('here', color=VERMILION, marker='o', linestyle='none')]
    handles += [_handle(f'the paper, {phone}', **{**PAPER, 'color': c}) for _, phone, c in _PHONES]
    figure.legend(handles=handles, loc='outside lower center', ncols=4, fontsize=9)
