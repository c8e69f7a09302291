import numpy as np
import pytest

from benchmark.untrained import noise_images, our_float, our_int8, settle_statistics
from train.tflite_file import dissect


def test_settled_statistics_are_those_of_a_batch_and_leave_the_layer_as_it_was():
    import tf_keras

    norm = tf_keras.layers.BatchNormalization(momentum=0.99)
    model = tf_keras.Sequential([tf_keras.Input((16, 16, 3)), norm])
    settle_statistics(model)
    # Uniform in [-1, 1]: mean 0, variance 1/3; 2048 values a channel.
    np.testing.assert_allclose(norm.moving_mean, np.zeros(3), atol=0.05)
    np.testing.assert_allclose(norm.moving_variance, np.full(3, 1 / 3), atol=0.03)
    assert norm.momentum == 0.99


@pytest.fixture
def settled(tiny_spec):
    import mobilenet_v3
    from mobilenet_v3.spec_file import load_model_spec

    model = mobilenet_v3.build_model(load_model_spec(str(tiny_spec)), resolution=32, num_classes=4)
    settle_statistics(model)
    return model


@pytest.mark.parametrize(('form', 'swishes'), [('fused', 7), ('decomposed', 0)])
def test_a_float_file_has_the_form_that_is_asked_for(settled, tmp_path, form, swishes):
    path = tmp_path / 'x.tflite'
    path.write_bytes(our_float(settled, hard_swish=form))
    assert dissect(path).ops.get('HARD_SWISH', 0) == swishes


def test_ranges_are_those_of_the_images_given(settled, tmp_path):
    from train.tflite_file import TFLiteModel

    scales = []
    for images in (None, noise_images(settled) / 100):
        path = tmp_path / 'x.tflite'
        path.write_bytes(our_int8(settled, images=images))
        scales.append(TFLiteModel(path).output_scale)
    assert scales[1] != scales[0] > 0
