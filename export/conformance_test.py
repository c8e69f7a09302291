"""Every network of the table through everything that is promised of a network."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.calibrate import calibrate
from export.convert import convert_float, convert_int8
from export.deploy import deploy_form, deploy_graph
from export.quantize import quantized_model, to_pixel_grid
from export.whole_numbers import whole_number_model
from mobilenet_v3 import SPECS, build_backbone, build_model, count
from mobilenet_v3.cost import endpoint_shapes
from mobilenet_v3.spec import ModelSpec, Normalize, endpoints
from train.tflite_file import TFLiteModel, dissect

RESOLUTION = 64
NUM_CLASSES = 7

# name: (h-swish ops, trainable parameters at 1000 classes). A new entry of SPECS fails until it
# stands here, counted by hand from its paper's table.
EXPECTED = {
    'large': (21, 5_483_032),
    'small': (19, 2_946_568),
    'small_1024': (19, 2_542_856),
    'large_minimalistic': (0, 3_924_288),
    'small_minimalistic': (0, 2_044_736),
    'v1': (0, 4_231_976),
    'v2': (0, 3_504_872),
    'mnasnet_a1': (0, 3_887_038),
    'mnasnet_small': (0, 2_030_264),
    'proxyless_mobile': (0, 4_080_512),
}


def gates_first(spec: ModelSpec) -> ModelSpec:
    """Squeeze-and-excite before the activation, where blocks expand."""

    def moved(block):
        return dataclasses.replace(
            block, se=block.se and dataclasses.replace(block.se, before_activation=True)
        )

    return dataclasses.replace(spec, blocks=tuple(moved(block) for block in spec.blocks))


IMAGENET = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
TORCH = {'padding': 'symmetric', 'normalize': IMAGENET, 'batch_norm_epsilon': 1e-5}
# Definitions of elsewhere, which imported weights ask for.
FOREIGN = {
    'torch small': dataclasses.replace(SPECS['small_1024'], **TORCH),
    'gates first': dataclasses.replace(gates_first(SPECS['small_1024']), **TORCH),
    'symmetric only': dataclasses.replace(SPECS['small_1024'], padding='symmetric'),
    'keras v1': dataclasses.replace(SPECS['v1'], padding='after'),
}


def test_every_network_is_known_here():
    assert set(SPECS) == set(EXPECTED)


@pytest.fixture(scope='module', params=list(SPECS))
def name(request):
    return request.param


@pytest.fixture(scope='module')
def model(name):
    return normalized_model(name)


def normalized_model(name, multiplier=1.0):
    """The network after a training batch, so that its activations are of order one."""
    tf_keras.utils.set_random_seed(0)
    model = build_model(name, multiplier=multiplier, resolution=RESOLUTION, num_classes=NUM_CLASSES)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the last batch
    model(images(8), training=True)
    return model


def images(number, seed=0):
    """Soft spots of colour, in whole pixels as a photo has them, in the scale of training."""
    spots = np.random.default_rng(seed).uniform(0, 255, (number, 5, 5, 3))
    pixels = tf.round(tf.image.resize(spots, (RESOLUTION, RESOLUTION), 'bicubic'))
    return np.clip(pixels, 0, 255).astype(np.float32) / np.float32(127.5) - 1


def test_parameters_are_those_of_the_count_and_of_the_papers(name, model):
    cost = count(name, resolution=RESOLUTION, num_classes=NUM_CLASSES)
    assert model.count_params() == cost.total_params
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == cost.params
    assert count(name).params == EXPECTED[name][1]


def test_each_convolution_has_the_shape_that_is_counted(name, model):
    check_costs(name, model, RESOLUTION)


def check_costs(name, model, resolution):
    """MAdds layer by layer: kernel and output of each Keras layer against cost.py."""
    for cost in count(name, resolution=resolution, num_classes=NUM_CLASSES).layers:
        layer = model.get_layer(cost.name if '/se/' in cost.name else f'{cost.name}/conv')
        kernel = layer.weights[0].shape
        assert tuple(kernel[:2]) == cost.kernel
        assert layer.output_shape == (None, *cost.output, cost.channels)
        weights = int(np.prod(kernel))
        assert cost.madds == weights * cost.output[0] * cost.output[1]


def test_the_model_is_flat_and_gives_finite_logits(model):
    logits = model(images(2), training=False)
    assert logits.shape == (2, NUM_CLASSES)
    assert np.all(np.isfinite(logits))
    assert not any(isinstance(layer, tf_keras.Model) for layer in model.layers)


def test_every_weight_gets_a_gradient(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images(4), training=True) ** 2)
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True
    ):
        assert gradient is not None, weight.name
        assert float(tf.reduce_max(tf.abs(gradient))) > 0, weight.name


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / 'model.keras')
    loaded = tf_keras.models.load_model(tmp_path / 'model.keras')
    np.testing.assert_array_equal(loaded(images(1)), model(images(1)))


def test_endpoints_have_the_shapes_that_are_told(name):
    backbone = build_backbone(name, resolution=(RESOLUTION, 96))
    shapes = {key: shape[1:] for key, shape in backbone.output_shape.items()}
    expected = endpoint_shapes(SPECS[name], (RESOLUTION, 96))
    assert list(expected) == ['C1', 'C2', 'C3', 'C4', 'C5']
    assert {key: shapes[key] for key in expected} == expected
    assert {key: shapes[source] for key, source in endpoints(SPECS[name]).items()} == expected


@pytest.mark.parametrize('output_stride', [16, 8])
def test_output_stride_keeps_resolution(name, output_stride):
    backbone = build_backbone(name, resolution=RESOLUTION, output_stride=output_stride)
    side = RESOLUTION // output_stride
    assert backbone.output_shape['C5'][1:3] == (side, side)


def test_other_widths_sizes_and_channels_build(name):
    model = build_model(name, multiplier=0.35, resolution=(33, 48), num_classes=2, input_channels=1)
    cost = count(name, multiplier=0.35, resolution=(33, 48), num_classes=2, input_channels=1)
    assert model.count_params() == cost.total_params
    assert model(np.zeros((1, 33, 48, 1), np.float32)).shape == (1, 2)


@pytest.mark.slow
def test_the_float_file_is_one_piece_with_one_op_an_h_swish(name, model, tmp_path):
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_float(model))
    anatomy = dissect(path)
    assert anatomy.ops.get('HARD_SWISH', 0) == EXPECTED[name][0]
    assert (anatomy.partitions, anatomy.outside) == (1, {})
    batch = images(3)
    expected = model(batch, training=False).numpy()
    np.testing.assert_allclose(TFLiteModel(path)(batch), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('form', ['fused', 'decomposed'])
def test_the_deploy_form_gives_what_the_model_gives(name, model, form):
    deployed = deploy_form(model, hard_swish=form)
    kinds = {type(layer).__name__ for layer in deployed.layers}
    # Every factor finds a convolution: nothing is multiplied by a constant.
    assert not kinds & {'BatchNormalization', 'HardSigmoid', 'Scale'}
    assert ('HardSwish' in kinds) == (form == 'fused' and EXPECTED[name][0] > 0)
    batch = images(3)
    expected = model(batch, training=False).numpy()
    # Random weights amplify the last bits of a float, too.
    differences = np.abs(deployed(batch) - expected)
    assert differences.mean() < 1e-4
    assert differences.max() < 1e-3


@pytest.mark.slow
def test_the_int8_file_is_one_piece_and_answers_as_keras(name, model, tmp_path):
    check_int8(name, model, tmp_path / 'model.tflite')


@pytest.mark.parametrize('resolution', [(64, 64), (65, 97)])
@pytest.mark.parametrize('definition', FOREIGN)
def test_definitions_of_elsewhere_cost_what_is_counted(definition, resolution):
    spec = FOREIGN[definition]
    model = build_model(spec, resolution=resolution, num_classes=NUM_CLASSES)
    check_costs(spec, model, resolution)
    cost = count(spec, resolution=resolution, num_classes=NUM_CLASSES)
    assert model.count_params() == cost.total_params
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == cost.params


@pytest.mark.slow
@pytest.mark.parametrize('definition', FOREIGN)
def test_definitions_of_elsewhere_run_in_one_piece(definition, tmp_path):
    model = normalized_model(FOREIGN[definition])
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_float(deploy_form(model, hard_swish='fused')))
    anatomy = dissect(path)
    assert (anatomy.partitions, anatomy.outside) == (1, {})
    # Keras's V1 pads as TFLite's SAME does at even sizes, and the converter sees that.
    pads = 0 if definition == 'keras v1' else 5
    assert anatomy.ops.get('PAD', 0) == pads
    batch = images(3)
    expected = model(batch, training=False).numpy()
    np.testing.assert_allclose(TFLiteModel(path)(batch), expected, atol=1e-3, rtol=1e-3)
    check_int8(model.name, model, path)


@pytest.mark.slow
@pytest.mark.parametrize('multiplier', [0.35, 0.75, 1.25])
@pytest.mark.parametrize('v3', [name for name in SPECS if name.startswith(('large', 'small'))])
def test_so_are_the_widths_of_v3(v3, multiplier, tmp_path):
    check_int8(v3, normalized_model(v3, multiplier), tmp_path / 'model.tflite')


def check_int8(name, model, path):
    """One partition, no float op, and the answers of the quantized Keras model."""
    graph = deploy_graph(model, hard_swish='decomposed')
    quantized = quantized_model(graph, calibrate(graph, images(16), search_images=0))
    path.write_bytes(convert_int8(quantized))
    anatomy = dissect(path)
    assert anatomy.float_ops == {}
    # uint8 to int8 at the image, and back at the logits.
    assert (anatomy.partitions, anatomy.outside) == (1, {'QUANTIZE': 2})
    assert anatomy.ops.get('ADD', 0) >= EXPECTED[name][0]
    assert 'HARD_SWISH' not in anatomy.ops
    batch = images(16, seed=1)
    expected = whole_number_model(quantized)(to_pixel_grid(batch)).numpy()
    file = TFLiteModel(path)
    errors = np.abs(file(batch) - expected).mean(axis=1) / file.output_scale  # of each image
    # A mean that lies within a float's last bit of a half may round either way, and in a network of
    # random weights that grows; so not every image.
    assert np.median(errors) < 0.5
