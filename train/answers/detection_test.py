import numpy as np

from train.answers import detection

LABELS = ('cat', 'dog')
FOUND = {
    'boxes': np.array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 0, 0]]], np.float32),
    'scores': np.array([[0.25, 0.75, 0.0]], np.float32),
    'classes': np.array([[1, 0, 0]], np.int32),
}


def test_the_best_detections_come_first_and_padding_is_none():
    (told,) = detection.predictions({}, FOUND, LABELS, top=100)
    assert told == [
        {'label': 'cat', 'score': 0.75, 'box': [0.5, 0.5, 1.0, 1.0]},
        {'label': 'dog', 'score': 0.25, 'box': [0.0, 0.0, 0.5, 0.5]},
    ]
    assert detection.predictions({}, FOUND, LABELS, top=1) == [told[:1]]
    assert detection.rows(told)[0] == ('cat', '75.0%', '0.500 0.500 1.000 1.000')


def test_a_tile_counts_and_draws_what_was_found():
    pixels = np.zeros((20, 40, 3), np.uint8)
    (told,) = detection.predictions({}, FOUND, LABELS, top=100)
    tile = detection.tile(pixels, 'photo.jpg', [told[0], *told], LABELS)
    assert [(line.text, line.right) for line in tile.lines] == [
        ('cat', '2'),
        ('dog', '1'),
        ('photo.jpg', ''),
    ]
    assert tile.picture.size == (400, 200)
    assert np.asarray(tile.picture).any()
    nothing = detection.tile(pixels, 'photo.jpg', [], LABELS)
    assert [line.text for line in nothing.lines] == ['nothing', 'photo.jpg']
    assert not np.asarray(nothing.picture).any()


def test_many_classes_are_summed_up():
    labels = [f'class {i}' for i in range(9)]
    found = [{'label': label, 'score': 0.5, 'box': [0, 0, 1, 1]} for label in labels]
    tile = detection.tile(np.zeros((4, 4, 3), np.uint8), 'x', found, labels)
    assert [(line.text, line.right) for line in tile.lines[4:]] == [('others', '5'), ('x', '')]
