from types import SimpleNamespace

import numpy as np
import pytest

from train.file_forms import FORMS, log_probabilities

IMAGE = (1, 32, 48, 3)
RAW = {'boxes': (1, 60, 4), 'scores': (1, 60, 5)}
SUPPRESSED = {'boxes': (1, 3, 4), 'classes': (1, 3), 'count': (1,), 'scores': (1, 3)}


def model(outputs, inputs=(IMAGE,)):
    """What FORMS asks of a file."""
    return SimpleNamespace(
        input_shapes=list(inputs),
        output_shapes=list(outputs.values()),
        output_names=tuple(outputs),
    )


@pytest.mark.parametrize(
    ('task', 'outputs', 'classes'),
    [
        ('classification', {'logits': (1, 7)}, 7),
        ('detection', RAW, 4),
        ('detection', SUPPRESSED, None),
    ],
)
def test_the_number_of_classes_is_read_from_shapes(task, outputs, classes):
    assert FORMS[task]('x.tflite', model(outputs), False).classes == classes


@pytest.mark.parametrize(
    ('task', 'outputs', 'inputs', 'message'),
    [
        ('classification', {'logits': (1, 1)}, (IMAGE,), 'x is no classifier of images'),
        ('classification', {'logits': (1, 2, 2)}, (IMAGE,), 'x is no classifier of images'),
        ('classification', RAW, (IMAGE,), 'x is no classifier of images'),
        ('classification', {'logits': (1, 7)}, (IMAGE, IMAGE), 'x is no classifier of images'),
        ('classification', {'logits': (1, 7)}, ((2, 32, 48, 3),), 'x is no classifier of images'),
        ('detection', {'logits': (1, 7)}, (IMAGE,), r"x is no detector: .*outputs {'logits'"),
        ('detection', RAW, ((1, 32, 48, 4),), 'x is no detector'),
        ('detection', {**RAW, 'other': (1, 2)}, (IMAGE,), 'x is no detector'),
    ],
)
def test_a_file_of_another_kind_is_refused(task, outputs, inputs, message):
    with pytest.raises(ValueError, match=message):
        FORMS[task]('x', model(outputs, inputs), False)


def test_rows_beyond_the_count_are_no_detections():
    given = {
        'boxes': np.array([[[-0.1, 0, 0.5, 1.2]] * 3] * 2, np.float32),
        'classes': np.array([[2.0, 1.0, np.nan]] * 2, np.float32),  # what the memory held
        'scores': np.array([[0.9, 0.8, np.nan]] * 2, np.float32),
        'count': np.array([2.0, 0.0], np.float32),
    }
    found = FORMS['detection']('x', model(SUPPRESSED), False).outputs(given)
    np.testing.assert_allclose(found['scores'], [[0.9, 0.8, 0.0], [0.0, 0.0, 0.0]], rtol=1e-6)
    assert found['classes'].tolist() == [[2, 1, 0], [0, 0, 0]]
    assert found['classes'].dtype == np.int32
    np.testing.assert_allclose(found['boxes'][0, 0], [0, 0, 0.5, 1])


@pytest.mark.parametrize('sigmoid', [True, False])
def test_raw_scores_are_logits(sigmoid):
    p = np.array([0.0, 0.25, 0.999, 1.0], np.float32)
    given = {'boxes': np.zeros((1, 4, 4)), 'scores': p}
    found = FORMS['detection']('x', model(RAW), sigmoid).outputs(given)
    scores = 1 / (1 + np.exp(-found['scores'])) if sigmoid else found['scores']
    np.testing.assert_allclose(scores, p, atol=1e-6)
    assert np.isfinite(found['scores']).all()


def test_the_softmax_of_logarithms_is_what_they_are_of():
    logits = log_probabilities(np.array([[0.75, 0.25, 0.0]], np.float32))
    np.testing.assert_allclose(np.exp(logits), [[0.75, 0.25, 0.0]], atol=1e-6)
