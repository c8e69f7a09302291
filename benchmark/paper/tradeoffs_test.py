import pytest

from benchmark.latency import summarize, turn_of
from benchmark.paper import tradeoffs
from benchmark.paper.grid import MULTIPLIERS, RESOLUTIONS, Entry
from benchmark.paper.measured import Accuracy, DeviceResults, MeasuredGrid

# Latency grows with multiplier and resolution alike: × 0.5 takes half, 160² takes (160/224)².
LARGE = {Entry('large', m).key: 4.0 * m for m in MULTIPLIERS}
AT_RESOLUTIONS = {Entry('large', resolution=r).key: 4.0 * (r / 224) ** 2 for r in RESOLUTIONS}


def device(latencies_ms):
    rest = {'size_bytes': 1, 'threads': 1, 'xnnpack': True}
    latencies = {
        key: summarize([turn_of([ms])] * 6, model=key, sha256=key, **rest)
        for key, ms in latencies_ms.items()
    }
    return DeviceResults('host', {}, (), (), latencies, ())


def measured(**top1):
    accuracies = {key: Accuracy(value, 50_000, 'imagenet2012', True) for key, value in top1.items()}
    return MeasuredGrid((), accuracies, ())


def finding(name, latencies, accuracies=None):
    found = tradeoffs.findings(accuracies or measured(), device(latencies))
    return next(f for f in found if name in f.text)


def test_each_resolution_stands_beside_the_multiplier_of_its_latency():
    rows = tradeoffs.same_latency(measured(), device({**LARGE, **AT_RESOLUTIONS}), 'large')
    by_resolution = {row.resolution: row for row in rows}
    at_224 = by_resolution[224]
    assert (at_224.multiplier, at_224.multiplier_top1) == (1.0, 75.3)
    at_160 = by_resolution[160]
    assert at_160.multiplier == pytest.approx(0.51, abs=0.01)
    assert 69.2 < at_160.multiplier_top1 < 70
    assert at_160.top1 is None
    assert by_resolution[96].multiplier is None  # faster than the narrowest


def test_small_stands_beside_the_large_of_its_latency_by_reproduced_accuracies():
    small = {Entry('small').key: 2.0}
    found = finding('V3-Small is nearly 3 points', {**LARGE, **small})
    assert 'V3-Large × 0.50 reaches 69.2 %, V3-Small 68.2 %: -1.0 points' in found.found
    assert 'independent reproduction: against' in found.found
    assert found.verdict == 'not measured'


def test_accuracies_measured_here_decide():
    small = Entry('small').key
    top1 = dict.fromkeys(LARGE, 0.6)
    found = finding(
        'V3-Small is nearly 3 points',
        {**LARGE, small: 2.0},
        measured(**top1, **{small: 0.63}),
    )
    assert found.verdict == 'borne out'
    assert '+3.0 points' in found.found
    found = finding(
        'V3-Small is nearly 3 points',
        {**LARGE, small: 2.0},
        measured(**top1, **{small: 0.61}),
    )
    assert found.verdict == 'direction borne out, effect smaller'


def test_a_small_that_is_faster_than_every_large_stands_beside_the_narrowest():
    found = finding('V3-Small is nearly 3 points', {**LARGE, Entry('small').key: 1.0})
    assert 'no V3-Large is as fast: × 0.35 takes 1.40 ms with 64.3 %' in found.found
    assert 'in favour' in found.found


def test_resolutions_decide_when_all_accuracies_are_measured():
    latencies = {**LARGE, **AT_RESOLUTIONS}
    top1 = dict.fromkeys(LARGE, 0.6) | {key: 0.65 for key in AT_RESOLUTIONS if key not in LARGE}
    resolution = 'better trade-off than multiplier (V3-Large)'
    assert finding(resolution, latencies).verdict == 'not measured'
    assert tradeoffs.resolution_is_open(measured(), device(latencies))
    assert finding(resolution, latencies, measured(**top1)).verdict == 'borne out'
    assert tradeoffs.resolution_is_open(measured(**top1), device(latencies))  # Small is missing


def test_resolution_is_decided_by_the_accuracies_of_both_networks():
    keys = [Entry(n, m).key for n in ('large', 'small') for m in MULTIPLIERS]
    others = [Entry(n, resolution=r).key for n in ('large', 'small') for r in RESOLUTIONS]
    top1 = {**dict.fromkeys(others, 0.65), **dict.fromkeys(keys, 0.6)}
    small = {key.replace('large', 'small'): ms for key, ms in {**LARGE, **AT_RESOLUTIONS}.items()}
    everywhere = device({**LARGE, **AT_RESOLUTIONS, **small})
    assert not tradeoffs.resolution_is_open(measured(**top1), everywhere)
    undecided = dict.fromkeys(top1, 0.6)
    assert tradeoffs.resolution_is_open(measured(**undecided), everywhere)


def test_hard_swish_everywhere_stands_beside_widening_by_the_papers_gain():
    latencies = {**LARGE, Entry('large_hs16').key: 4.4}
    found = finding('h-swish in the whole network', latencies)
    assert 'widened to that, V3-Large gains +0.47 points, @16 +0.20' in found.found
    assert 'of @16 the paper' in found.found
    assert found.verdict == 'not measured'


def test_without_latencies_nothing_is_found():
    assert {f.verdict for f in tradeoffs.findings(measured(), device({}))} == {'not measured'}
    assert tradeoffs.same_latency(measured(), device({}), 'large') == []
