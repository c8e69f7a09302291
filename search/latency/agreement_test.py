import pytest
from PIL import Image

from mobilenet_v3.tables import SPECS
from search.latency.agreement import Agreement, plot_agreement
from search.latency.correction import Correction, Observed, weights_mb
from search.latency.form import FileForm

PARTS = FileForm(64, 10).parts(SPECS['small'])
PAIRS = ((1.0, 1.0), (2.0, 1.8), (1.5, 1.6), (3.0, 4.0))  # predicted, measured


@pytest.fixture
def agreement():
    return Agreement([Observed(PARTS, *pair) for pair in PAIRS], None)


def test_errors_and_their_median(agreement):
    assert agreement.errors() == pytest.approx([0, 1 / 9, -1 / 16, -1 / 4])
    assert agreement.median_error == pytest.approx((1 / 9 + 1 / 16) / 2)


def test_ranks_that_agree_and_ranks_that_do_not(agreement):
    assert agreement.rank_correlation == pytest.approx(1)
    swapped = [Observed(PARTS, *pair) for pair in (*PAIRS[:3], (1.9, 4.0))]
    # One network moves from the last place to the third: 1 - 6 · 2 / (4 · 15).
    assert Agreement(swapped, None).rank_correlation == pytest.approx(0.8)


def test_a_correction_counts(agreement):
    correction = Correction('paper', '', 'float32', 64, 1.1, 0.01, 10)
    corrected = Agreement(agreement.observed, correction)
    expected = 1.1 * 3.0 + 0.01 * weights_mb(PARTS)
    assert corrected.predicted_ms()[3] == pytest.approx(expected)
    assert corrected.errors(corrected=False) == agreement.errors()
    assert 'corrected: 1.100 × sum + 0.0100 ms' in corrected.said()
    assert 'no correction' in agreement.said()


def test_the_report_holds_every_network(agreement):
    report = agreement.markdown('paper', {'threads': 1}, 'check.png')
    assert 'threads 1' in report
    assert '| 4.0000 | 3.0000 | -25.0% |' in report
    assert '![predicted against measured](check.png)' in report


def test_the_plot_is_a_picture(agreement, tmp_path):
    plot_agreement(tmp_path / 'check.png', agreement, 'paper')
    with Image.open(tmp_path / 'check.png') as picture:
        assert picture.width > 400
