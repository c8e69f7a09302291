import numpy as np

from train.answers import classification

LABELS = ('a', 'b', 'c')


def test_the_best_classes_come_first():
    logits = np.array([[0.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    scores = np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.3]])
    found = classification.predictions(logits, scores, LABELS, top=2)
    assert found == [
        [{'label': 'b', 'score': 0.7}, {'label': 'c', 'score': 0.2}],
        [{'label': 'a', 'score': 0.3}, {'label': 'b', 'score': 0.3}],
    ]
    assert classification.rows(found[0]) == [('b', '70.0%'), ('c', '20.0%')]
    assert len(classification.predictions(logits, scores, LABELS, top=9)[0]) == 3


def test_scores_that_are_alike_are_told_apart_by_logits():
    logits, scores = np.array([[40.0, 41.0, 0.0]]), np.array([[1.0, 1.0, 0.0]])
    assert classification.predictions(logits, scores, LABELS, 1)[0][0]['label'] == 'b'


def test_a_tile_says_what_and_where():
    found = [{'label': label, 'score': 0.25} for label in 'abcd']
    tile = classification.tile(np.zeros((4, 4, 3), np.uint8), 'photo.jpg', found, 'abcd')
    assert [line.text for line in tile.lines] == ['a', 'b', 'c', 'photo.jpg']
    assert [line.bold for line in tile.lines] == [True, False, False, False]
