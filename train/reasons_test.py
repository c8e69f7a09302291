import pytest
import tensorflow as tf

from train.reasons import reason


def test_what_is_wrong_in_a_graph_is_not_where():
    invert = tf.function(tf.linalg.inv)
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        invert(tf.zeros([2, 2]))
    assert str(raised.value).startswith('Graph execution error')
    assert reason(raised.value) == 'Input is not invertible.'


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (ValueError('came 3\nexpected 4'), 'came 3'),
        (ValueError('\n  indented'), 'indented'),
        (KeyError(), 'KeyError'),
    ],
)
def test_other_errors_begin_with_it(error, line):
    assert reason(error) == line
