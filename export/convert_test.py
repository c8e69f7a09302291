import dataclasses

import numpy as np
import pytest
import tf_keras

from export import convert
from export.tflite_file import TFLiteModel, dissect, open_interpreter
from mobilenet_v3 import build_model, get_spec


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).uniform(-1, 1, (16, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope='module')
def model(images):
    """A narrow V3 of five blocks, one of each kind: with and without SE, expansion and residual."""
    tf_keras.utils.set_random_seed(0)
    small = get_spec('small')
    spec = dataclasses.replace(small, blocks=small.blocks[:5])
    model = build_model(spec, multiplier=0.5, resolution=32, num_classes=4)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    return model


@pytest.fixture(scope='module')
def int8_file(model, images, tmp_path_factory):
    path = tmp_path_factory.mktemp('int8') / 'model.tflite'
    path.write_bytes(convert.convert_int8(model, images))
    return path


def test_int8_is_uint8_outside_and_has_no_float_op_inside(int8_file):
    interpreter = open_interpreter(int8_file)
    assert interpreter.get_input_details()[0]['dtype'] == np.uint8
    assert interpreter.get_output_details()[0]['dtype'] == np.uint8
    anatomy = dissect(int8_file)
    assert anatomy.float_ops == {}
    assert anatomy.ops['HARD_SWISH'] == 7  # stem, two in each of two blocks, last, features


def test_int8_answers_near_the_float_model(model, int8_file, images):
    expected = model(images, training=False).numpy()
    # The pixels that a phone would give: whole numbers.
    answers = TFLiteModel(int8_file)(images)
    step = open_interpreter(int8_file).get_output_details()[0]['quantization'][0]
    assert np.abs(answers - expected).mean() < 4 * step


def test_the_batch_is_fixed_at_one(int8_file):
    detail = open_interpreter(int8_file).get_input_details()[0]
    assert list(detail['shape_signature']) == [1, 32, 32, 3]


def test_partitions_and_what_stands_outside_them_are_told(int8_file):
    # XNNPACK has no int8 HARD_SWISH: each one cuts the network.
    anatomy = dissect(int8_file)
    assert anatomy.partitions > 1
    assert anatomy.outside['HARD_SWISH'] == 7
    assert 'CONV_2D' not in anatomy.outside
