import pytest

from benchmark.latency import Ratio, summarize, turn_of
from benchmark.paper import claims
from benchmark.paper.claims import AccuracyClaim, CountClaim, LatencyClaim
from benchmark.paper.measured import Accuracy, DeviceResults, MeasuredGrid

LARGE, V2 = 'large_1_224_float32', 'v2_1_224_float32'


def device(**round_medians_ms):
    """A device that measured each key in rounds of one run."""
    latencies = {
        key: summarize(
            [turn_of([ms]) for ms in rounds],
            model=key,
            sha256=key,
            size_bytes=1,
            threads=1,
            xnnpack=True,
        )
        for key, rounds in round_medians_ms.items()
    }
    return DeviceResults('host', {}, (), (), latencies, ())


@pytest.mark.parametrize(
    ('sense', 'low', 'high', 'verdict'),
    [
        ('faster', 0.80, 0.90, 'borne out'),
        ('faster', 1.10, 1.20, 'not borne out'),
        ('faster', 0.95, 1.01, 'noise does not decide'),
        ('faster', 0.95, 1.00, 'noise does not decide'),
        ('slower', 1.02, 1.06, 'borne out'),
        ('slower', 0.90, 0.99, 'not borne out'),
        ('slower', 0.99, 1.10, 'noise does not decide'),
        ('comparable', 0.96, 1.04, 'within 5 %'),
        ('comparable', 1.01, 1.04, 'slower, within 5 %'),
        ('comparable', 0.96, 0.99, 'faster, within 5 %'),
        ('comparable', 0.80, 0.94, 'faster by more than 5 %'),
        ('comparable', 1.06, 1.10, 'not borne out'),
        ('comparable', 1.04, 1.06, 'slower, perhaps within 5 %'),
        ('comparable', 0.94, 0.96, 'faster, perhaps within 5 %'),
        ('comparable', 0.94, 1.06, 'noise does not decide'),
    ],
)
def test_the_whole_interval_decides(sense, low, high, verdict):
    assert claims.judge(Ratio('a', 'b', (low + high) / 2, low, high), sense) == verdict


def test_without_an_interval_the_noise_does_not_decide():
    assert claims.judge(Ratio('a', 'b', 0.5, None, None), 'faster') == 'noise does not decide'


def test_a_claim_is_judged_by_the_ratios_within_rounds():
    claim = LatencyClaim('', '', LARGE, V2, 'faster')
    drifting = [1.0, 2.0, 4.0, 8.0, 4.0, 2.0]
    ratio, verdict = claims.judge_latency(
        claim, device(**{LARGE: [0.8 * ms for ms in drifting], V2: drifting})
    )
    assert ratio.median == pytest.approx(0.8)
    assert verdict == 'borne out'


def test_a_claim_of_which_one_file_is_missing_is_not_measured():
    claim = LatencyClaim('', '', LARGE, V2, 'faster')
    assert claims.judge_latency(claim, device(**{LARGE: [1.0] * 6})) == (None, 'not measured')


@pytest.mark.parametrize(
    ('sense', 'low', 'high', 'verdict'),
    [
        ('faster', 0.81, 0.99, 'direction borne out, effect smaller'),
        ('faster', 0.78, 0.85, 'borne out'),
        ('faster', 0.50, 0.95, 'borne out'),
        ('faster', 0.50, 0.69, 'direction borne out, effect larger'),
        ('faster', 0.95, 1.05, 'noise does not decide'),
        ('faster', 1.05, 1.10, 'not borne out'),
        ('slower', 1.01, 1.09, 'direction borne out, effect smaller'),
        ('slower', 1.05, 1.15, 'borne out'),
        ('slower', 1.21, 1.40, 'direction borne out, effect larger'),
        ('slower', 0.90, 0.95, 'not borne out'),
    ],
)
def test_direction_and_size_beside_all_phones_of_the_paper_are_told_apart(
    sense, low, high, verdict
):
    paper = (1.1, 1.2) if sense == 'slower' else (0.8, 0.7)
    assert claims.judge(Ratio('a', 'b', (low + high) / 2, low, high), sense, paper) == verdict


def test_a_claim_is_judged_beside_its_own_figures():
    claim = LatencyClaim('', '', LARGE, V2, 'faster', {'P-1': 0.797})
    found = claims.judge_latency(claim, device(**{LARGE: [0.953] * 6, V2: [1.0] * 6}))
    assert found[1] == 'direction borne out, effect smaller'


@pytest.mark.parametrize(
    ('ours', 'theirs', 'comparable', 'verdict'),
    [
        (0.752, 0.720, True, 'borne out'),
        (0.752, 0.740, True, 'direction borne out, effect smaller'),
        (0.752, 0.700, True, 'direction borne out, effect larger'),
        (0.720, 0.752, True, 'not borne out'),
        (0.752, 0.750, True, 'noise does not decide'),
        (0.752, 0.720, False, 'not measured'),
    ],
)
def test_accuracy_decides_beyond_its_noise_and_on_imagenet_only(ours, theirs, comparable, verdict):
    def accuracy(top1):
        return Accuracy(top1, 50_000, 'imagenet2012', comparable)

    measured = MeasuredGrid((), {LARGE: accuracy(ours), V2: accuracy(theirs)}, ())
    found, judged = claims.judge_accuracy(AccuracyClaim('', '', LARGE, V2, 3.2), measured)
    assert judged == verdict
    if comparable:
        assert found[0] == pytest.approx(100 * (ours - theirs))
        assert 0.5 < found[1] < 0.6  # 1.96 · √2 · √(75 · 25 / 50,000)


@pytest.mark.parametrize(('saved', 'verdict'), [(30, 'borne out'), (20, 'not borne out')])
def test_multiply_adds_are_counted(saved, verdict):
    claim = CountClaim('', '', LARGE, 'large_original_last_1_224_float32', saved)
    found, judged = claims.judge_count(claim)
    assert found == pytest.approx(34.3, abs=0.05)
    assert judged == verdict
