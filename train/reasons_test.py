import pytest
import tensorflow as tf

from train.reasons import reason


def test_what_is_wrong_in_a_graph_is_not_where():
    invert = tf.function(tf.linalg.inv)
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        invert(tf.zeros([2, 2]))
    assert str(raised.value).startswith('Graph execution error')
    assert reason(raised.value) == 'Input is not invertible.'


def test_what_is_wrong_with_an_op_is_told_without_its_names(tmp_path):
    with pytest.raises(tf.errors.OpError) as raised:
        tf.io.write_file(str(tmp_path), 'a folder')
    assert '[Op:WriteFile]' in str(raised.value)
    assert reason(raised.value) == f'{tmp_path}; Is a directory'


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
