import pytest
import tensorflow as tf

from train.replicas import images_by_counted


@pytest.mark.parametrize(('counted', 'factor'), [(8.0, 0.5), (1.0, 4.0), (0.0, 4.0)])
def test_nothing_that_counts_is_no_division_by_zero(counted, factor):
    assert float(images_by_counted(tf.constant(4.0), tf.constant(counted))) == factor
