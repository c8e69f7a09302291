import numpy as np
import pytest

from train.segmentation.scores import Scores, confusion_matrix

TRUTH = np.uint8([[0, 0, 0, 1], [1, 1, 255, 255]])
FOUND = np.int32([[0, 0, 1, 1], [1, 0, 2, 0]])


def test_every_pixel_that_is_not_ignored_counts_once():
    matrix = confusion_matrix(TRUTH, FOUND, 3)
    assert matrix.numpy().tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert matrix.dtype == np.int32


def test_the_figures_are_those_of_all_pixels():
    matrices = np.array([confusion_matrix(TRUTH, FOUND, 3)] * 2)
    scores = Scores.of(matrices)
    assert scores.pixels.tolist() == scores.found.tolist() == [6, 6, 0]
    np.testing.assert_allclose(scores.iou, [4 / 8, 4 / 8, np.nan])
    assert scores.miou == 0.5  # of the two classes that there are
    assert scores.accuracy == pytest.approx(8 / 12)


def test_a_class_that_is_only_found_lowers_the_mean():
    scores = Scores(np.array([[3, 1], [0, 0]]))
    assert scores.iou.tolist() == [0.75, 0.0]
    assert scores.miou == 0.375


def test_figures_of_images_are_not_averaged():
    small, large = np.array([[0, 1], [0, 1]]), np.array([[60, 0], [0, 40]])
    scores = Scores.of(np.stack([small, large]))
    np.testing.assert_allclose(scores.iou, [60 / 61, 41 / 42])


def test_many_pixels_do_not_overflow():
    matrices = np.full((3, 2, 2), 2**30, np.int32)
    assert Scores.of(matrices).matrix.tolist() == [[3 * 2**30] * 2] * 2


def test_no_pixel_is_no_division_by_zero():
    scores = Scores(np.zeros((2, 2), np.int64))
    assert (scores.miou, scores.accuracy) == (0.0, 0.0)
