import io
import json

import numpy as np
import pytest
from PIL import Image

from train.answers.detection_report import count_mistakes, write_report
from train.answers.evaluation import Evaluation
from train.data.source import listed_split
from train.detection import coco

SQUARES = np.array([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.1, 0.6, 0.4, 0.9]], np.float32)


@pytest.fixture
def statistics():
    """Two images of three objects: all found; then one found, one missed, one mistake."""
    true = {
        'true_boxes': np.stack([SQUARES] * 2),
        'true_classes': np.array([[0, 1, 1]] * 2, np.int32),
        'valid': np.ones((2, 3), bool),
        'crowd': np.array([[False] * 3, [False, False, True]]),
        'areas': np.zeros((2, 3), np.float32),
        'size': np.array([[100, 200]] * 2, np.int32),
    }
    return {
        **true,
        'boxes': np.stack([SQUARES, SQUARES[[0, 0, 2]]]),
        'classes': np.array([[0, 1, 1], [0, 1, 1]], np.int32),
        'scores': np.array([[0.9, 0.8, 0.7], [0.6, 0.65, 0.1]], np.float32),
    }


def evaluation(statistics, labels):
    picture = io.BytesIO()
    Image.new('RGB', (200, 100)).save(picture, 'PNG')
    split = listed_split(len(statistics['size']), lambda number: {'image': picture.getvalue()})
    figures = coco.evaluate(statistics, len(labels)).figures
    return Evaluation('a run', 'voc:x', 'test', split, labels, statistics, figures, ('a note',))


def test_mistakes_are_counted_where_the_f1_is_best(statistics):
    found = count_mistakes(statistics, coco.evaluate(statistics, 3))
    # Four right and one wrong of five objects; what finds the crowd is neither.
    assert found.score == pytest.approx(0.6)
    assert found.f1 == pytest.approx(2 * 4 / (5 + 5))
    assert found.found.tolist() == [2, 2, 0]
    assert found.right.tolist() == [2, 2, 0]
    assert found.wrong.tolist() == [0, 1, 0]
    assert (found.missed_of.tolist(), found.wrong_of.tolist()) == ([0, 1], [0, 1])


def test_a_report_has_figures_classes_curves_and_the_worst_images(statistics, tmp_path):
    told = write_report(tmp_path, evaluation(statistics, ('ca|t', 'dog', 'bird')))
    assert told.startswith('mAP ')
    assert told.endswith('% on 2 images with 5 objects')
    report = (tmp_path / 'report.md').read_text()
    assert report.count('| `ar_') == report.count('| `map') == 6
    assert '| AP of objects above 96² pixels | `map_large` | – |' in report
    assert '| ca&#124;t | 2 | 100.0% | 100.0% | 100.0% | 100.0% |' in report
    assert '| dog | 3 |' in report
    assert '1 of 3 classes have no object.' in report
    assert 'Assumed: a note.' in report
    for picture in ('precision_recall.png', 'worst.png'):
        assert f']({picture})' in report
        assert Image.open(tmp_path / picture).size[0] > 400
    results = json.loads((tmp_path / 'results.json').read_text())
    assert results['worst'] == [{'example': 1, 'missed': 1, 'wrong': 1}]
    assert (results['examples'], results['objects'], results['split']) == (2, 5, 'test')
    assert [c['objects'] for c in results['classes']] == [2, 3, 0]
    assert results['classes'][0]['map50'] == pytest.approx(1.0)


def test_a_detector_without_mistakes_has_no_worst_images(statistics, tmp_path):
    right = {name: values[:1] for name, values in statistics.items()}
    write_report(tmp_path, evaluation(right, ('cat', 'dog')))
    assert 'there is no mistake' in (tmp_path / 'report.md').read_text()
    assert not (tmp_path / 'worst.png').exists()


def test_a_detector_that_finds_nothing_is_reported(statistics, tmp_path):
    nothing = {**statistics, 'scores': np.zeros((2, 3), np.float32)}
    told = write_report(tmp_path, evaluation(nothing, ('cat', 'dog')))
    assert told.startswith('mAP 0.0%')
    assert json.loads((tmp_path / 'results.json').read_text())['worst'][0]['missed'] == 3


def test_data_without_objects_are_reported(statistics, tmp_path):
    empty = {**statistics, 'valid': np.zeros((2, 3), bool)}
    assert write_report(tmp_path, evaluation(empty, ('cat', 'dog'))).startswith('mAP –')
