import numpy as np
import pytest

from train.detection.coco import ABSENT, FIGURES, evaluate

SQUARES = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9], [0.2, 0.6, 0.4, 0.8]])


def statistics(images=2, *, boxes=3, size=(100, 100), **changes):
    """Images with the same three objects of classes 0, 1, 1, all found, and room for more."""
    shape = (images, boxes + 2)
    true = {
        'true_boxes': np.zeros((*shape, 4), np.float32),
        'true_classes': np.zeros(shape, np.int32),
        'valid': np.zeros(shape, bool),
        'crowd': np.zeros(shape, bool),
        'areas': np.zeros(shape, np.float32),
        'size': np.tile(np.array(size, np.int32), (images, 1)),
    }
    true['true_boxes'][:, :boxes] = SQUARES[:boxes]
    true['true_classes'][:, :boxes] = (0, 1, 1)[:boxes]
    true['valid'][:, :boxes] = True
    found = {
        'boxes': true['true_boxes'].copy(),
        'classes': true['true_classes'].copy(),
        'scores': np.where(true['valid'], 0.9, 0.0).astype(np.float32),
    }
    return {**true, **found, **changes}


def test_what_is_found_exactly_has_one_everywhere():
    result = evaluate(statistics(size=(400, 400)), 2)
    # The objects have sides of 80 and 160 pixels; none is small.
    small = {'map_small', 'ar_small'}
    assert {name for name, value in result.figures.items() if value == ABSENT} == small
    recalls = {'ar_1': (1.0 + 0.5) / 2}  # one detection an image of a class with two objects
    for name in FIGURES:
        if name not in small:
            assert result.figures[name] == pytest.approx(recalls.get(name, 1.0)), name
    assert result.objects.tolist() == [2, 4]


def test_nothing_found_is_zero_and_nothing_to_find_is_absent():
    nothing = np.zeros((2, 5), np.float32)
    assert evaluate(statistics(scores=nothing), 2).figures['map'] == 0
    result = evaluate(statistics(valid=np.zeros((2, 5), bool)), 2)
    assert set(result.figures.values()) == {ABSENT}
    assert result.class_map.tolist() == [ABSENT, ABSENT]


def test_the_sizes_are_those_of_the_image():
    # Sides of 20 and 40 pixels: small and medium.
    figures = evaluate(statistics(size=(100, 100)), 2).figures
    assert (figures['map_small'], figures['map_medium'], figures['map_large']) == (1, 1, ABSENT)
    # The second object covers a hundredth of its box.
    areas = np.zeros((2, 5), np.float32)
    areas[:, 1] = 16.0
    figures = evaluate(statistics(areas=areas), 2).figures
    assert (figures['map_small'], figures['map_medium']) == (1, ABSENT)


def test_precision_by_hand():
    """One class, one image, two objects: found, wrong, found at an overlap of 0.62."""
    stats = statistics(1, boxes=2, true_classes=np.zeros((1, 4), np.int32))
    third = SQUARES[1] + [0.0, 0.0, 0.0, -0.15]  # 0.4 × 0.25 of 0.4 × 0.4
    stats['boxes'] = np.array([[SQUARES[0], SQUARES[2], third, third * 0]], np.float32)
    stats['scores'] = np.array([[0.9, 0.8, 0.7, 0.0]], np.float32)
    stats['classes'] = np.zeros((1, 4), np.int32)
    result = evaluate(stats, 1)
    # Up to recall ½ the precision is 1, then 2/3 where the third counts: of 101 recalls 51 and 50.
    both, one = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert result.figures['map50'] == pytest.approx(both)
    assert result.figures['map75'] == pytest.approx(one)
    assert result.figures['map'] == pytest.approx((3 * both + 7 * one) / 10)  # .50, .55 and .60
    assert result.class_map50 == pytest.approx([both])
    assert result.figures['ar_100'] == pytest.approx((3 * 1.0 + 7 * 0.5) / 10)


def test_a_crowd_is_neither_target_nor_mistake():
    crowd = np.zeros((2, 5), bool)
    crowd[:, 1] = True
    missed = statistics(crowd=crowd)
    missed['scores'][:, 1] = 0.0
    assert evaluate(missed, 2).figures['map'] == pytest.approx(1.0)
    found_in_it = statistics(crowd=crowd)
    assert evaluate(found_in_it, 2).figures['map'] == pytest.approx(1.0)
    assert evaluate(found_in_it, 2).objects.tolist() == [2, 2]


def test_classes_without_objects_do_not_count():
    result = evaluate(statistics(), 4)
    assert result.figures['map'] == pytest.approx(1.0)
    assert result.class_map.tolist() == pytest.approx([1.0, 1.0, ABSENT, ABSENT])


def test_nothing_is_printed(capsys):
    evaluate(statistics(), 2)
    assert capsys.readouterr() == ('', '')


def test_it_is_told_which_detections_find_which_objects():
    stats = statistics(1, boxes=3)
    stats['boxes'] = SQUARES[[2, 0, 2, 1, 0]][None].astype(np.float32)
    stats['classes'] = np.array([[1, 0, 1, 1, 0]], np.int32)
    stats['scores'] = np.array([[0.6, 0.9, 0.5, 0.7, 0.0]], np.float32)
    stats['crowd'][0, 1] = True
    result = evaluate(stats, 2)
    # The third finds what the first has found, the fourth a crowd, the fifth is none.
    assert result.hits.tolist() == [[1, 1, 0, -1, -1]]
    np.testing.assert_allclose(result.found_by, [[0.9, 0.0, 0.6, 0.0, 0.0]])
