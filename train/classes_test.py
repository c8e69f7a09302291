import pytest

from configs import base
from train.classes import check_labels, open_matching, read_labels
from train.data.labels import numbered

COLORS = ('blue', 'green', 'red')


@pytest.fixture
def config(image_folder):
    config = base.get_config().data
    config.dataset = f'folder:{image_folder}'
    return config


def first_label(source):
    return int(next(iter(source.split.examples()))['label'])


def test_the_same_classes_match(config):
    source = open_matching(config, COLORS, 'model')
    assert (source.labels, first_label(source)) == (COLORS, 0)


def test_a_model_may_have_a_background_before_them(config):
    labels = ('background', *COLORS)
    source = open_matching(config, labels, 'model')
    assert (source.labels, first_label(source)) == (labels, 1)


@pytest.mark.parametrize(('count', 'label'), [(3, 0), (4, 1)])
def test_classes_without_names_match_by_number_and_take_those_of_the_data(config, count, label):
    source = open_matching(config, numbered(count), 'model')
    assert source.labels == (('background',) * (count - 3) + COLORS)
    assert first_label(source) == label


@pytest.mark.parametrize(
    ('labels', 'words'),
    [
        (('blue', 'red', 'green'), "class 1 is 'green' there, 'red' here"),
        (('x', *COLORS), "3 there, 4 here: class 0 is 'blue' there, 'x' here"),
        (('blue', 'green'), '3 there, 2 here'),
    ],
)
def test_other_classes_are_refused(config, labels, words):
    with pytest.raises(ValueError, match=f'has other classes than model: {words}; give data of'):
        open_matching(config, labels, 'model')


def test_labels_are_a_line_each(tmp_path):
    path = tmp_path / 'labels.txt'
    path.write_text('\ufefftench, Tinca tinca\n\n goldfish\n')
    assert read_labels(path) == ('tench, Tinca tinca', 'goldfish')
    path.write_text('cell\n')
    assert read_labels(path) == ('cell',)  # of a detector
    path.write_text('\n')
    with pytest.raises(ValueError, match='names no classes; expected one a line'):
        read_labels(path)


def test_names_that_are_given_are_as_many_as_classes():
    check_labels(None, 3, 'model', 'detection')
    check_labels(COLORS, 3, 'model', 'detection')
    with pytest.raises(ValueError, match=r'^--labels names 3 classes, model has 2$'):
        check_labels(COLORS, 2, 'model', 'classification')


def test_equal_names_are_for_classifiers_alone():
    twice = ('crane', 'crane', 'hen')
    check_labels(twice, 3, 'model', 'classification')
    for task in ('detection', 'segmentation'):
        with pytest.raises(
            ValueError, match=rf'names crane more than once; expected names of {task}'
        ):
            check_labels(twice, 3, 'model', task)
