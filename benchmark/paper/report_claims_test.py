import pytest

from benchmark.latency import Ratio, summarize, turn_of
from benchmark.paper import report_claims
from benchmark.paper.claims import LatencyClaim, judge
from benchmark.paper.measured import DeviceResults, MeasuredGrid

SMALL, V2 = 'small_1_224_float32', 'v2_0.35_224_float32'


def device(**ms):
    rest = {'size_bytes': 1, 'threads': 1, 'xnnpack': True}
    latencies = {
        key: summarize([turn_of([value])] * 6, model=key, sha256=key, **rest)
        for key, value in ms.items()
    }
    return DeviceResults('host', {}, (), (), latencies, ())


@pytest.mark.parametrize(
    ('small_ms', 'effect', 'verdict', 'counted'),
    [
        (1.038, '+3.8 %', 'slower by 3.8 %, within 5 %', '1 slower, within 5 %'),
        (0.97, '−3.0 %', 'faster by 3.0 %, within 5 %', '1 faster, within 5 %'),
        (0.90, '−10.0 %', 'faster by 10.0 %', '1 faster by more than 5 %'),
        (1.0, '+0.0 %', 'within 5 %', '1 within 5 %'),
        (1.10, '+10.0 %', 'not borne out: slower by 10.0 %', '1 not borne out'),
    ],
)
def test_comparable_is_said_plainly_and_counted_apart(small_ms, effect, verdict, counted):
    measured = MeasuredGrid((device(**{SMALL: small_ms, V2: 1.0}),), {}, ())
    text = report_claims.render(measured)
    claim = next(line for line in text.splitlines() if 'comparable to V2 0.35’s' in line)
    assert claim.endswith(f'| {effect} | {verdict} |')
    summary = report_claims.summary(measured.devices[0])
    assert counted in summary.split('; ')
    assert summary.startswith('0 borne out; ')
    assert summary.endswith('; 42 not measured')


def test_a_comparison_that_the_noise_does_not_decide_tells_its_direction():
    claim = LatencyClaim('', '', SMALL, V2, 'comparable')
    ratio = Ratio('a', 'b', 1.048, 1.037, 1.057)
    verdict = judge(ratio, claim.sense)
    told = report_claims._verdict(claim, ratio, verdict)
    assert told == 'slower by 4.8 %, perhaps within 5 %'
