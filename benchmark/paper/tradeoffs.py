"""The paper's claims that weigh latency against accuracy along a curve of networks.

Paper: §6.2, Fig. 7 (V3-Small against a narrower V3-Large; resolution against multiplier) and §6.2.1,
Fig. 8 (h-swish everywhere against widening). Each needs accuracies, which are trained, not counted:
where they were not measured here, the verdict is 'not measured', and what follows from the measured
latencies with the accuracies of independent reproductions is said beside it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from benchmark.paper.claims import Verdict, judge_effect
from benchmark.paper.grid import MULTIPLIERS, RESOLUTIONS, Entry
from benchmark.paper.measured import DeviceResults, MeasuredGrid
from benchmark.paper.paper_tables import paper_top1
from benchmark.paper.top1 import SOURCES, curve_top1

# Accuracies on 50,000 images that differ by less are not told apart (95 %, two trainings aside).
_NOISE_POINTS = 0.5
_SMALL_POINTS = 3  # V3-Small above V3-Large at its latency; the paper: “nearly 3”
_RESOLUTION = 'resolution is a better trade-off than multiplier'
_HINTS: dict[Verdict, str] = {
    'borne out': 'in favour',
    'direction borne out, effect smaller': 'in favour of the direction, by less',
    'direction borne out, effect larger': 'in favour, by more',
    'not borne out': 'against',
    'noise does not decide': 'undecided',
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a device's latencies say of such a claim."""

    text: str
    source: str
    found: str
    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class SameLatency:
    """A resolution of a network, and the multiplier at 224² that takes as long.

    Attributes:
      multiplier: between those that were measured; None beyond them.
      multiplier_top1: percent, interpolated; None where that is unknown.
      top1: percent at the resolution, measured here; None where it was not.
    """

    resolution: int
    latency_ms: float
    multiplier: float | None
    multiplier_top1: float | None
    top1: float | None


def findings(measured: MeasuredGrid, device: DeviceResults) -> list[Finding]:
    """All of them, for one device."""
    return [
        _small_against_large(measured, device),
        *(_resolution_against_multiplier(measured, device, name) for name in ('large', 'small')),
        _hard_swish_against_width(measured, device),
    ]


def resolution_is_open(measured: MeasuredGrid, device: DeviceResults) -> bool:
    """Whether resolution against multiplier (§6.2) is not decided, for V3-Large or V3-Small."""
    return any(
        finding.text.startswith(_RESOLUTION)
        and finding.verdict in ('not measured', 'noise does not decide')
        for finding in findings(measured, device)
    )


def same_latency(measured: MeasuredGrid, device: DeviceResults, network: str) -> list[SameLatency]:
    """Each measured resolution of a network beside the multiplier of the same latency."""
    curve = _multiplier_curve(device, network)
    known = curve_top1(measured, [Entry(network, m).key for m, _ in curve]) if curve else None
    rows = []
    for resolution in RESOLUTIONS:
        key = Entry(network, resolution=resolution).key
        latency = device.latency(key)
        if latency is None:
            continue
        ms = latency.median_ms
        multiplier = _at(ms, curve, [m for m, _ in curve])
        top1 = _at(ms, curve, known[0]) if known else None
        rows.append(SameLatency(resolution, ms, multiplier, top1, measured.imagenet_top1(key)))
    return rows


def _small_against_large(measured: MeasuredGrid, device: DeviceResults) -> Finding:
    text = 'V3-Small is nearly 3 points more accurate than V3-Large narrowed to its latency'
    source, small = '§6.2, Fig. 7', Entry('small').key
    latency, curve = device.latency(small), _multiplier_curve(device, 'large')
    if latency is None or len(curve) < 2:
        return Finding(text, source, 'latencies of both are missing', 'not measured')
    known = curve_top1(measured, [*(Entry('large', m).key for m, _ in curve), small])
    if known is None:
        return Finding(text, source, 'accuracies are missing', 'not measured')
    *large_top1, small_top1 = known[0]
    ms = latency.median_ms
    large = _at(ms, curve, large_top1)
    multiplier = _at(ms, curve, [m for m, _ in curve])
    if large is None or multiplier is None:
        (narrowest, its_ms), *_ = curve
        if ms > its_ms:
            found = f'V3-Small takes {ms:.2f} ms, more than any V3-Large measured'
            return Finding(text, source, found, 'not measured')
        found = (
            f'no V3-Large is as fast: × {narrowest:g} takes {its_ms:.2f} ms with '
            f'{large_top1[0]:.1f} %, V3-Small {ms:.2f} ms with {small_top1:.1f} %'
        )
        large = large_top1[0]  # slower than V3-Small, and yet the least accurate of its kind
    else:
        found = (
            f'in the {ms:.2f} ms of V3-Small, V3-Large × {multiplier:.2f} reaches {large:.1f} %, '
            f'V3-Small {small_top1:.1f} %: {small_top1 - large:+.1f} points'
        )
    return _with_source(text, source, found, known[1], small_top1 - large, _SMALL_POINTS)


def _resolution_against_multiplier(
    measured: MeasuredGrid, device: DeviceResults, network: str
) -> Finding:
    text = f'{_RESOLUTION} (V3-{network.capitalize()})'
    source = '§6.2, Fig. 7'
    rows = [
        row
        for row in same_latency(measured, device, network)
        if row.multiplier and row.resolution != 224
    ]
    if not rows:
        return Finding(text, source, 'latencies are missing', 'not measured')
    found = 'latencies: the table below'
    gains = [
        row.top1 - row.multiplier_top1
        for row in rows
        if row.top1 is not None and row.multiplier_top1 is not None
    ]
    multipliers = [Entry(network, m).key for m, _ in _multiplier_curve(device, network)]
    known = curve_top1(measured, multipliers)
    if len(gains) < len(rows) or known is None or known[1] != SOURCES[0]:
        found += (
            '; top-1 at the resolutions was not all measured here: it would have to exceed that of '
            'the multiplier of the same latency'
        )
        return Finding(text, source, found, 'not measured')
    verdict = judge_effect(min(gains) - _NOISE_POINTS, max(gains) + _NOISE_POINTS, ())
    return Finding(text, source, found, verdict)


def _hard_swish_against_width(measured: MeasuredGrid, device: DeviceResults) -> Finding:
    text = 'h-swish in the whole network (@16) is slightly better than widening V3-Large'
    source, everywhere = '§6.2.1, Fig. 8', Entry('large_hs16').key
    latency, curve = device.latency(everywhere), _multiplier_curve(device, 'large')
    keys = [Entry('large', m).key for m, _ in curve]
    base = Entry('large').key
    if latency is None or len(curve) < 2 or base not in keys:
        return Finding(text, source, 'latencies of both are missing', 'not measured')
    known = curve_top1(measured, [*keys, everywhere])
    by_reproduction = known is None
    known = known or curve_top1(measured, keys)
    widened = _at(latency.median_ms, curve, known[0]) if known else None
    if known is None or widened is None:
        found = f'@16 takes {latency.median_ms:.2f} ms, outside of the multipliers that are known'
        return Finding(text, source, found, 'not measured')
    gain_of_width = widened - known[0][keys.index(base)]
    if by_reproduction:
        gain = (paper_top1(everywhere) or 0) - (paper_top1(base) or 0)
    else:
        gain = known[0][-1] - known[0][keys.index(base)]
    found = (
        f'@16 takes {latency.median_ms:.2f} ms; widened to that, V3-Large gains '
        f'{gain_of_width:+.2f} points, @16 {gain:+.2f}'
    )
    top1_of = f'{known[1]}, of @16 the paper' if by_reproduction else known[1]
    return _with_source(text, source, found, top1_of, gain - gain_of_width)


def _with_source(
    text: str, source: str, found: str, top1_of: str, gain: float, *points: float
) -> Finding:
    """Accuracies that were not measured here decide nothing; what they say is told."""
    verdict = judge_effect(gain - _NOISE_POINTS, gain + _NOISE_POINTS, points)
    if top1_of != SOURCES[0]:
        return Finding(
            text, source, f'{found} (top-1: {top1_of}: {_HINTS[verdict]})', 'not measured'
        )
    return Finding(text, source, found, verdict)


def _multiplier_curve(device: DeviceResults, network: str) -> list[tuple[float, float]]:
    """(Multiplier, ms) of a network at 224² that were measured, from narrow to wide."""
    latencies = [(m, device.latency(Entry(network, m).key)) for m in MULTIPLIERS]
    return [(m, latency.median_ms) for m, latency in latencies if latency]


def _at(ms: float, curve: Sequence[tuple[float, float]], values: Sequence[float]) -> float | None:
    """The value at a latency, linear in its logarithm between neighbours; None beyond the curve."""
    times = [time for _, time in curve]
    if len(times) < 2 or times != sorted(times) or not times[0] <= ms <= times[-1]:
        return None
    return float(np.interp(np.log(ms), np.log(times), values[: len(times)]))
