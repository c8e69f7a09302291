import pytest
from ml_collections import ConfigDict

from train.data.faults import skip_or_stop


def judge(faults, total, max_bad_fraction=0.5):
    config = ConfigDict({'max_bad_fraction': max_bad_fraction})
    skip_or_stop(faults, total, 'images are bad', config)


def test_what_is_good_is_not_mentioned(capsys):
    judge([], 0)
    assert capsys.readouterr() == ('', '')


def test_a_few_are_counted_and_some_of_them_named(capsys):
    judge([f'x{n}' for n in range(7)], 20)
    warning = 'warning: 7 of 20 images are bad: x0; x1; x2; x3; x4; …; they are skipped\n'
    assert capsys.readouterr() == ('', warning)


@pytest.mark.parametrize(('bad', 'total', 'most'), [(3, 5, 0.5), (2, 2, 1.0), (1, 1000, 0.0)])
def test_too_many_or_all_stop(bad, total, most):
    with pytest.raises(
        ValueError, match=rf'{bad} of {total} images .*max_bad_fraction = {most:g}: m'
    ):
        judge(['x'] * bad, total, most)
