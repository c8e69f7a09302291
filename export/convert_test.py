import collections

import numpy as np
import pytest
import tensorflow as tf

from export import convert
from export.calibrate import observe
from export.deploy import deploy_form, deploy_graph
from export.quantize import quantized_model, to_pixel_grid
from mobilenet_v3 import build_backbone
from mobilenet_v3.spec_file import load_model_spec
from train.tflite_file import TFLiteModel, dissect, open_interpreter

SOFTMAX = convert.Finish(tf.nn.softmax)

DTYPES = {'uint8': np.uint8, 'int8': np.int8, 'float32': np.float32}


@pytest.fixture(scope='module')
def quantized(tiny_model, soft_images):
    graph = deploy_graph(tiny_model, hard_swish='decomposed')
    return quantized_model(graph, observe(graph, soft_images(16)))


@pytest.fixture
def write(tmp_path):
    """Writes the content of a file."""

    def write(content):
        path = tmp_path / 'model.tflite'
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize('io', list(DTYPES))
def test_int8_has_the_types_that_are_asked_for(quantized, write, io, soft_images):
    path = write(convert.convert_int8(quantized, io=io))
    interpreter = open_interpreter(path)
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert image['dtype'] == output['dtype'] == DTYPES[io]
    assert list(image['shape_signature']) == [1, 32, 32, 3]
    anatomy = dissect(path)
    # Floats only where they come in and go out.
    assert anatomy.float_ops == ({'DEQUANTIZE': 1, 'SUB': 1} if io == 'float32' else {})
    assert anatomy.partitions == 1
    images = soft_images(8)
    grid = to_pixel_grid(images)
    answers = TFLiteModel(path)(images)
    expected = quantized(grid, training=False).numpy()
    assert np.abs(answers - expected).mean() < 0.1 * expected.std()


@pytest.mark.parametrize('io', ['uint8', 'float32'])
def test_probabilities_are_those_of_the_logits(quantized, write, io, soft_images):
    path = write(convert.convert_int8(quantized, SOFTMAX, io=io))
    anatomy = dissect(path)
    assert anatomy.ops['SOFTMAX'] == 1
    assert 'SOFTMAX' not in anatomy.float_ops
    images = soft_images(8)
    answers = TFLiteModel(path)(images)
    np.testing.assert_allclose(answers.sum(axis=-1), 1, atol=3 / 256)
    logits = quantized(to_pixel_grid(images), training=False)
    np.testing.assert_allclose(answers, tf.nn.softmax(logits), atol=0.02)


def test_float_is_the_models(tiny_model, write, soft_images):
    images = soft_images(4)
    expected = tiny_model(images, training=False).numpy()
    for model in (tiny_model, deploy_form(tiny_model, hard_swish='fused')):
        path = write(convert.convert_float(model))
        np.testing.assert_allclose(TFLiteModel(path)(images), expected, atol=1e-5)
        assert list(open_interpreter(path).get_input_details()[0]['shape']) == [1, 32, 32, 3]
        assert dissect(path).ops['HARD_SWISH'] == 7
    path = write(convert.convert_float(tiny_model, SOFTMAX))
    np.testing.assert_allclose(TFLiteModel(path)(images), tf.nn.softmax(expected), atol=1e-5)


def test_a_gate_costs_fewer_ops_in_deploy_form(tiny_model, write):
    plain = dissect(write(convert.convert_float(tiny_model))).ops
    deployed = deploy_form(tiny_model, hard_swish='fused')
    ops = dissect(write(convert.convert_float(deployed))).ops
    gone = collections.Counter(plain) - collections.Counter(ops)
    # Of each of the two gates: the 3 that was added, and the sixth.
    assert gone['MUL'] == 2
    assert 'ADD' not in ops


@pytest.mark.parametrize('probabilities', [False, True])
def test_the_other_schemes_answer_near_the_float_model(
    tiny_model, write, soft_images, probabilities
):
    """Tolerances are of the spread of the answers."""
    images = soft_images(8)
    fused = deploy_form(tiny_model, hard_swish='fused')
    decomposed = deploy_form(tiny_model, hard_swish='decomposed')
    options = {'finish': SOFTMAX if probabilities else convert.AS_IT_IS}
    schemes = {
        'int16': (0.1, convert.convert_int16(decomposed, iter(images), **options)),
        'dynamic': (0.3, convert.convert_dynamic(fused, **options)),
        'float16': (0.02, convert.convert_float16(fused, **options)),
    }
    expected = tiny_model(images, training=False).numpy()
    if probabilities:
        expected = tf.nn.softmax(expected).numpy()
    size = len(convert.convert_float(fused, **options))
    for scheme, (tolerance, content) in schemes.items():
        model = TFLiteModel(write(content))
        difference = np.abs(model(images) - expected).mean() / expected.std()
        print(f'{scheme}: {difference:.4f} of the spread, {len(content) / size:.2f} of the size')
        assert difference < tolerance, scheme
        for details in (
            model._interpreter.get_input_details,
            model._interpreter.get_output_details,
        ):
            assert details()[0]['dtype'] == np.float32
    int16 = dissect(write(schemes['int16'][1]))
    assert set(int16.float_ops) <= {'DEQUANTIZE'}


def test_a_network_with_several_outputs_keeps_them(tiny_spec, write):
    model = build_backbone(load_model_spec(str(tiny_spec)), resolution=32)
    path = write(convert.convert_float(deploy_form(model, hard_swish='fused')))
    shapes = [tuple(detail['shape']) for detail in open_interpreter(path).get_output_details()]
    assert sorted(shapes) == sorted((1, *t.shape[1:]) for t in model.output.values())


def test_two_conversions_are_the_same_bytes(tiny_model, quantized, soft_images):
    grid = to_pixel_grid(soft_images(2))
    before = quantized(grid, training=False).numpy()
    content = convert.convert_int8(quantized)
    np.testing.assert_array_equal(quantized(grid, training=False), before)
    assert convert.convert_int8(quantized) == content
    assert convert.convert_float(tiny_model) == convert.convert_float(tiny_model)
