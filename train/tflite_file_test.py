import numpy as np
import pytest
import tensorflow as tf

from train.testing import write_tflite
from train.tflite_file import (
    TFLiteModel,
    dequantize,
    dissect,
    ends_with_softmax,
    open_interpreter,
    quantize,
    read_identity,
)


@pytest.mark.parametrize('content', [b'', b'hello', b'\x00' * 100, b'PK\x03\x04TFLITE'])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / 'no.tflite'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'no.tflite is not a TFLite file: bytes 4 to 8 are'):
        read_identity(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / 'cut.tflite'
    path.write_bytes(b'\x1c\x00\x00\x00TFL3' + b'\xff' * 40)
    with pytest.raises(ValueError, match=r'cut.tflite cannot be run: .*export or copy it again'):
        dissect(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'is not a file, expected a \.tflite file'):
        open_interpreter(tmp_path / 'nowhere.tflite')


def test_real_values_survive_the_way_through_a_tensor():
    detail = {'dtype': np.int8, 'quantization': (0.05, -3)}
    values = np.array([-1.0, 0.0, 0.024, 0.026, 5.0], np.float32)
    steps = quantize(values, detail)
    assert steps.tolist() == [-23, -3, -3, -2, 97]
    np.testing.assert_allclose(dequantize(steps, detail), [-1.0, 0.0, 0.0, 0.05, 5.0], atol=1e-6)


def test_values_beyond_the_range_are_clipped():
    detail = {'dtype': np.uint8, 'quantization': (1.0, 128)}
    assert quantize(np.array([-1000.0, 1000.0]), detail).tolist() == [0, 255]


@pytest.mark.parametrize('probabilities', [True, False])
@pytest.mark.parametrize('quantized', [True, False])
def test_a_softmax_at_the_end_is_seen(tmp_path, tiny_model, soft_images, probabilities, quantized):
    images = soft_images(8) if quantized else None
    path = tmp_path / 'x.tflite'
    write_tflite(path, tiny_model, images=images, probabilities=probabilities)
    assert ends_with_softmax(path) == probabilities


def test_several_outputs_bear_their_names(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3), tf.float32)])
    def serve(image):
        return {'z': image * 2.0, 'a': tf.argmax(image, axis=-1, output_type=tf.int32)}

    function = serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    path = tmp_path / 'two.tflite'
    path.write_bytes(converter.convert())
    model = TFLiteModel(path)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 3)).astype(np.float32)
    answers = model(images)
    np.testing.assert_array_equal(answers['z'], images * 2)
    np.testing.assert_array_equal(answers['a'], images.argmax(-1))
    assert answers['a'].dtype == np.int32  # labels are no steps of something
    assert model.output_scales == {'a': 0.0, 'z': 0.0}
    shapes = dict(zip(model.output_names, model.output_shapes, strict=True))
    assert shapes == {'a': (1, 4, 4), 'z': (1, 4, 4, 3)}
