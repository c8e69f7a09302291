"""Files that we export as sources of weights: what comes back, and what cannot."""

import dataclasses

import numpy as np
import pytest
import tf_keras

from export.calibrate import calibrate
from export.convert import convert_float
from export.deploy import deploy_form, deploy_graph
from export.quantize import quantized_model
from mobilenet_v3 import build_model
from mobilenet_v3.spec import Normalize
from mobilenet_v3.spec_file import load_model_spec
from train.weights.carry import carry
from train.weights.fit import fit
from train.weights.tflite import read_tflite


def test_a_float_file_comes_back(tiny_model, tiny_spec, soft_images, tmp_path):
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_float(tiny_model))
    spec = load_model_spec(str(tiny_spec))
    fitted, layers = fit(spec, read_tflite(str(path)))
    model = build_model(fitted, resolution=32, num_classes=3)
    carry(layers, fitted, model, 'keep')
    images = soft_images(4)
    expected = tiny_model(images, training=False)
    np.testing.assert_allclose(model(images, training=False), expected, atol=1e-5)


def test_the_constants_of_the_images_stay_constants_in_int8(tiny_spec, soft_images):
    normalize = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    spec = dataclasses.replace(load_model_spec(str(tiny_spec)), normalize=normalize)
    trained = build_model(spec, resolution=32, num_classes=3)
    for layer in trained.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the last batch
    trained(soft_images(32), training=True)
    graph = deploy_graph(trained, hard_swish='decomposed')
    model = quantized_model(graph, calibrate(graph, soft_images(8), search_images=0))
    learn = {weight.name for weight in model.trainable_weights}
    assert any(name.startswith('stem/conv') for name in learn)
    assert not any(name.startswith('normalize/conv') for name in learn)


def test_a_deploy_form_is_refused(tiny_model, tmp_path):
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_float(deploy_form(tiny_model, hard_swish='fused')))
    message = '2 of its hard sigmoids have their 1/6 in the weights of other layers, as our own'
    with pytest.raises(ValueError, match=message):
        read_tflite(str(path))


@pytest.mark.parametrize(
    'content', [b'', b'hello', b'\x00\x00\x00\x00TFL3', b'\x20\0\0\0TFL3' * 99]
)
def test_what_is_no_file_is_refused(content, tmp_path):
    path = tmp_path / 'model.tflite'
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r'is no TFLite file|cannot be read as a network of convol'
    ):
        read_tflite(str(path))


def test_a_truncated_file_is_refused(tiny_model, tmp_path):
    path = tmp_path / 'model.tflite'
    whole = convert_float(tiny_model)
    for part in (0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(ValueError, match='cannot be read as a network of convolutions'):
            read_tflite(str(path))
