import numpy as np
import pytest
from PIL import Image

from train.answers.confusion import Confusion, Pair, plot_confusion

LABELS = np.array([0, 0, 0, 1, 1, 3, 3, 3])
PREDICTIONS = np.array([0, 2, 2, 1, 0, 3, 3, 2])


@pytest.fixture
def confusion():
    return Confusion(LABELS, PREDICTIONS, num_classes=5)


def test_classes_are_counted(confusion):
    assert confusion.examples.tolist() == [3, 2, 0, 3, 0]
    assert confusion.predicted.tolist() == [2, 1, 3, 2, 0]
    assert confusion.right.tolist() == [1, 1, 0, 2, 0]


def test_mistakes_stand_by_their_frequency(confusion):
    assert confusion.pairs == [Pair(0, 2, 2), Pair(1, 0, 1), Pair(3, 2, 1)]
    assert Confusion(LABELS, LABELS, 5).pairs == []


def test_a_cell_may_hold_several_classes(confusion):
    expected = np.zeros((5, 5), int)
    for label, prediction in zip(LABELS, PREDICTIONS, strict=True):
        expected[label, prediction] += 1
    np.testing.assert_array_equal(confusion.matrix(1), expected)
    assert confusion.matrix(2).tolist() == [[3, 2, 0], [0, 3, 0], [0, 0, 0]]


@pytest.mark.parametrize('num_classes', [2, 26, 61, 1001])
def test_every_number_of_classes_is_drawn(tmp_path, num_classes):
    rng = np.random.default_rng(0)
    confusion = Confusion(*rng.integers(0, num_classes, (2, 300)), num_classes)
    names = [f'$class {i}' for i in range(num_classes)]
    plot_confusion(tmp_path / 'x.png', confusion, names, ('a model', 'data'))
    with Image.open(tmp_path / 'x.png') as picture:
        width, height = picture.size
        assert 400 < height < 1500
        assert (width > 1.5 * height) == (num_classes > 25)  # the pairs stand beside the matrix


def test_no_mistake_and_no_example_are_drawn(tmp_path):
    zeros = np.zeros(3, int)
    plot_confusion(tmp_path / 'x.png', Confusion(zeros, zeros, 40), ['a'] * 40, ('m', 'd'))
    assert (tmp_path / 'x.png').is_file()


def test_a_matrix_of_counts_says_the_same(confusion):
    counted = Confusion.of_matrix(confusion.matrix(1), 'pixels')
    for name in ('examples', 'predicted', 'right'):
        np.testing.assert_array_equal(getattr(counted, name), getattr(confusion, name))
    assert counted.pairs == confusion.pairs
    np.testing.assert_array_equal(counted.matrix(2), confusion.matrix(2))


def test_counts_that_fill_no_cell_become_shares(tmp_path):
    matrix = np.array([[10_000_000, 20_000, 0], [1, 1, 0], [0, 0, 0]])
    names = ['a', 'b', 'c']
    plot_confusion(tmp_path / 'x.png', Confusion.of_matrix(matrix, 'pixels'), names, ('m', 'd'))
    assert (tmp_path / 'x.png').is_file()
