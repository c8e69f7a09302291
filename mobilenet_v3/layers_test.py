import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3.layers import Resize


def test_a_factor_of_two_is_that_of_keras():
    x = np.random.default_rng(0).uniform(size=(2, 5, 7, 3)).astype(np.float32)
    keras = tf_keras.layers.UpSampling2D(2, interpolation='bilinear')
    np.testing.assert_allclose(Resize((10, 14))(x), keras(x), atol=1e-6)


def test_pixels_keep_their_centres():
    """A ramp stays a ramp: pixel i of n has its centre at (i + 1/2) / n of the width."""
    ramp = ((np.arange(6) + 0.5) / 6).astype(np.float32)[None, None, :, None]
    resized = np.ravel(Resize((1, 9))(ramp))
    expected = (np.arange(9) + 0.5) / 9
    np.testing.assert_allclose(resized[1:-1], expected[1:-1], atol=1e-6)
    np.testing.assert_allclose(resized[[0, -1]], ramp.ravel()[[0, -1]])


def test_the_type_stays():
    x = tf.ones([1, 2, 2, 1], tf.float16)
    assert Resize((3, 3), dtype='float16')(x).dtype == tf.float16


@pytest.mark.parametrize('size', [(0, 4), (4,), (4.0, 4)])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=r'expected \(height, width\) of at least 1'):
        Resize(size)
