from pathlib import Path

import pytest
from PIL import Image

from mobilenet_v3.tables import SPECS
from search.algorithms.netadapt import Point, Step
from search.report import Facts, adapt_page, sampling_page, write_page
from search.sampling import Judgement, Sample

FACTS = Facts(
    'netadapt from small', 'ms', 1.0, 0.7, 'folder:photos', 'table:t.csv', 'images held out'
)


def point(name, latency, accuracy):
    return Point(name, f'{name}: 96 → 72', SPECS['small'], latency, accuracy)


SEED = point('seed', 1.0, 0.8)
STEPS = [
    Step((point('a', 0.9, 0.79), point('b', 0.9, None)), point('a', 0.9, 0.79), 0.1),
    Step((point('c', 0.7, 0.75),), point('c', 0.7, 0.75), 0.1),
]
SAMPLES = [
    Sample((0, 1), Judgement(0.5, 0.9, 0.49)),
    Sample((1, 1), Judgement(None, 0.6, 0.0)),
    Sample((0, 0), Judgement(0.4, 0.7, 0.4)),
    Sample((0, 1), Judgement(0.5, 0.9, 0.49)),
]


def test_the_path_of_netadapt_is_told_and_drawn(tmp_path):
    page = adapt_page(tmp_path, SEED, STEPS, FACTS)
    assert '| 1 | a: 96 → 72 | 0.9 | 79.0% | 0.1 | 2 | 1 |' in page
    assert '| b: 96 → 72 | 0.9 | diverged | diverged |' in page
    assert '| c: 96 → 72 | 0.7 | 75.0% | -0.2 |' in page
    with Image.open(tmp_path / 'path.png') as picture:
        assert picture.width > 400


def test_samples_are_counted_with_those_that_diverged(tmp_path):
    page = sampling_page(tmp_path, SAMPLES, FACTS)
    assert (
        '4 samples, 3 architectures, of which 1 diverged and had no reward; 1 meet the ta' in page
    )
    assert '| 00 | 0.4000 | 40.0% | 0.7 |' in page
    assert '| 01 |' not in page  # rewarded more, but too slow
    assert (tmp_path / 'samples.png').stat().st_size > 1000


@pytest.mark.parametrize('retrained', [None, {'averaged': {'top1': 0.612}}])
def test_the_page_says_what_was_found(tmp_path, retrained):
    body = adapt_page(tmp_path, SEED, STEPS, FACTS)
    said = write_page(tmp_path, body, FACTS, 0.7, retrained, Path('spec.json'))
    assert '0.70 of the seed (target 0.7)' in said
    assert ('top-1 61.2%' in said) == (retrained is not None)
    assert 'data:image/png' in (tmp_path / 'report.html').read_text()
