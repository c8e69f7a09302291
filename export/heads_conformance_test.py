"""Every row of Tables 6, 7 and 8 through what is promised of a network with a head."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.calibrate import observe
from export.convert import convert_float, convert_int8
from export.deploy import deploy_form, deploy_graph
from export.quantize import quantized_model, to_pixel_grid
from export.whole_numbers import whole_number_model
from mobilenet_v3 import (
    DETECTORS,
    SEGMENTERS,
    SegmentationHead,
    build_detector,
    build_segmenter,
    count_detector,
    count_segmenter,
)
from train.tflite_file import TFLiteModel, dissect

SIZE = (97, 161)  # no side is a multiple of a stride
NUM_CLASSES = 5
ROWS = [*DETECTORS, *SEGMENTERS]
# Of each head and family one, for what takes long.
CHOSEN = ['v3_halved', 'v2_0.35', 'v3_r_aspp_256', 'small_rf2_lr_aspp_128']


def build(name):
    """The network of a row and its cost."""
    if name in DETECTORS:
        detector = DETECTORS[name]
        arguments = {'resolution': SIZE, 'num_classes': NUM_CLASSES, 'head': detector.head}
        model = build_detector(detector.backbone, **arguments)
        return model, count_detector(detector.backbone, **arguments)
    segmenter = SEGMENTERS[name]
    arguments = {'resolution': SIZE, 'num_classes': NUM_CLASSES, 'head': segmenter.head}
    model = build_segmenter(segmenter.backbone, **arguments)
    return model, count_segmenter(segmenter.backbone, **arguments)


def images(number, size=SIZE):
    return np.random.default_rng(0).uniform(-1, 1, (number, *size, 3)).astype(np.float32)


def settled(model, batch):
    """The network after a training batch, so that its activations are of order one."""
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the last batch
    model(batch, training=True)
    return model


def named(answers):
    """Answers by name, of networks with one output, too."""
    return answers if isinstance(answers, dict) else {'': answers}


def check_answers(model, expected, batch):
    answers = named(model(batch))
    assert set(answers) == set(expected)
    for key, values in expected.items():
        difference = np.abs(answers[key] - values)
        assert difference.mean() < 1e-4, key
        # Random weights amplify the last bits of a float, and most in the maps of a single pixel.
        assert difference.max() < 1e-3 * max(1.0, np.abs(values).max()), key


@pytest.mark.slow
@pytest.mark.parametrize('name', ROWS)
def test_a_row_is_counted_and_its_deploy_form_gives_what_it_gives(name):
    tf_keras.utils.set_random_seed(0)
    model, cost = build(name)
    assert model.count_params() == cost.total_params
    settled(model, images(4))
    expected = named(model(images(2), training=False))
    for form in ('fused', 'decomposed'):
        deployed = deploy_form(model, hard_swish=form)
        kinds = {type(layer).__name__ for layer in deployed.layers}
        assert not kinds & {'BatchNormalization', 'HardSigmoid', 'Scale'}
        check_answers(deployed, expected, images(2))


@pytest.mark.parametrize('name', ['small_halved', 'small_rf2_lr_aspp_128'])
def test_small_networks_with_heads_have_a_deploy_form(name):
    tf_keras.utils.set_random_seed(0)
    model = settled(build(name)[0], images(4))
    expected = named(model(images(1), training=False))
    check_answers(deploy_form(model, hard_swish='decomposed'), expected, images(1))


@pytest.mark.slow
@pytest.mark.parametrize('name', CHOSEN)
def test_the_float_file_is_one_piece_and_answers_as_keras(name, tmp_path):
    tf_keras.utils.set_random_seed(0)
    model = settled(build(name)[0], images(4))
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_float(deploy_form(model, hard_swish='fused')))
    anatomy = dissect(path)
    assert (anatomy.partitions, anatomy.outside) == (1, {})
    expected = named(model(images(1), training=False))
    check_answers(TFLiteModel(path), expected, images(1))


def check_int8(model, path, size, pieces=1):
    """So many pieces, no float op, and the answers of the quantized Keras model."""
    graph = deploy_graph(model, hard_swish='decomposed')
    quantized = quantized_model(graph, observe(graph, images(16, size)))
    path.write_bytes(convert_int8(quantized))
    anatomy = dissect(path)
    assert (anatomy.partitions, anatomy.float_ops) == (pieces, {})
    file = TFLiteModel(path)
    outside = {'QUANTIZE': 1 + len(file.output_names)}  # from uint8 and back
    assert anatomy.outside == outside | ({'AVERAGE_POOL_2D': 1} if pieces > 1 else {})
    batch = images(2, size)
    expected = named(whole_number_model(quantized)(to_pixel_grid(pixels(batch))))
    answers = named(file(pixels(batch)))
    scales = list(file.output_scales.values())
    for key, scale in zip(expected, scales, strict=True):
        # A sum within a float's last bit of a half rounds either way; random weights make it more.
        assert np.abs(answers[key] - expected[key].numpy()).mean() < 0.5 * scale, key


def pixels(batch):
    """Images of whole pixels."""
    return np.round((batch + 1) * 127.5).astype(np.float32) / np.float32(127.5) - 1


@pytest.mark.slow
@pytest.mark.parametrize('name', CHOSEN)
def test_the_int8_file_is_one_piece_and_answers_as_keras(name, tmp_path):
    tf_keras.utils.set_random_seed(0)
    check_int8(settled(build(name)[0], images(8)), tmp_path / 'model.tflite', SIZE)


@pytest.mark.slow
@pytest.mark.parametrize(('pooling', 'pieces'), [('paper', 2), ('global', 1)])
def test_large_windows_cost_a_second_piece(pooling, pieces, tmp_path):
    tf_keras.utils.set_random_seed(0)
    size = (33, 1001)
    model = build_segmenter(
        SEGMENTERS['small_rf2_lr_aspp_128'].backbone,
        resolution=size,
        num_classes=3,
        output_stride=8,
        head=SegmentationHead(filters=16, pooling=pooling),
    )
    check_int8(settled(model, images(4, size)), tmp_path / 'model.tflite', size, pieces)


@pytest.mark.parametrize('pooling', ['paper', 'global'])
def test_a_wide_image_has_the_corners_and_windows_of_keras_in_the_file(pooling, tmp_path):
    """Odd sides, and with the paper's pooling two windows of the gate."""
    tf_keras.utils.set_random_seed(0)
    size = (33, 1001)
    model = build_segmenter(
        SEGMENTERS['small_rf2_lr_aspp_128'].backbone,
        resolution=size,
        num_classes=3,
        output_stride=8,
        head=SegmentationHead(filters=16, pooling=pooling),
    )
    settled(model, images(4, size))
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_float(deploy_form(model, hard_swish='fused')))
    anatomy = dissect(path)
    assert anatomy.partitions == 1
    assert anatomy.ops.get('AVERAGE_POOL_2D', 0) == (pooling == 'paper')
    assert anatomy.ops['RESIZE_BILINEAR'] == (2 if pooling == 'paper' else 1)
    batch = images(1, size)
    batch[:, :, 500:] *= 0.1  # what the two windows see differs
    expected = named(model(batch, training=False))
    check_answers(TFLiteModel(path), expected, batch)
    logits = expected['']
    assert not np.allclose(logits[:, :, 0], logits[:, :, -1])
    assert tf.reduce_all(tf.math.is_finite(logits))
