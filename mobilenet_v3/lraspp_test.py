import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3 import build_segmenter, count_segmenter
from mobilenet_v3.head_tables import SEGMENTERS
from mobilenet_v3.heads import SegmentationHead
from mobilenet_v3.lraspp import segmentation_head
from mobilenet_v3.tables import get_spec

SMALL = SEGMENTERS['small_rf2_lr_aspp_128'].backbone
SIZE = (96, 160)


@pytest.fixture(scope='module', params=['lr_aspp', 'r_aspp'])
def head(request):
    return SegmentationHead(request.param, 32)


@pytest.fixture(scope='module')
def segmenter(head):
    tf_keras.utils.set_random_seed(0)
    return build_segmenter(SMALL, resolution=SIZE, num_classes=5, head=head)


def images(number, size=SIZE):
    return np.random.default_rng(0).uniform(-1, 1, (number, *size, 3)).astype(np.float32)


def test_every_pixel_gets_a_logit_of_each_class(segmenter):
    logits = segmenter(images(2))
    assert logits.shape == (2, *SIZE, 5)
    assert logits.dtype == tf.float32


@pytest.mark.parametrize(('kind', 'stride'), [('lr_aspp', 8), ('r_aspp', 16)])
def test_logits_of_the_heads_own_size_are_resized_to_the_inputs(kind, stride):
    head = SegmentationHead(kind, 16)
    model, coarse = (
        build_segmenter(SMALL, resolution=(97, 161), num_classes=2, head=head, upsample=upsample)
        for upsample in (True, False)
    )
    coarse.set_weights(model.get_weights())
    logits = coarse(images(1, (97, 161)))
    assert logits.shape == (1, -(-97 // stride), -(-161 // stride), 2)
    expected = tf.image.resize(logits, (97, 161))
    np.testing.assert_allclose(model(images(1, (97, 161))), expected, atol=1e-5)


@pytest.mark.parametrize('output_stride', [8, 16, 32])
@pytest.mark.parametrize('resolution', [32, (33, 50), (97, 161)])
def test_any_size_and_stride_has_the_weights_and_shapes_that_are_counted(
    head, output_stride, resolution
):
    arguments = {
        'resolution': resolution,
        'num_classes': 3,
        'output_stride': output_stride,
        'head': head,
    }
    model = build_segmenter(SMALL, **arguments)
    cost = count_segmenter(SMALL, **arguments, resizes=True)
    assert model.count_params() == cost.total_params
    resized = [layer.name for layer in model.layers if type(layer).__name__ == 'Resize']
    assert sorted(resized) == sorted(layer.name for layer in cost.layers if layer.kernel == (2, 2))
    for layer in cost.layers:
        own = layer.name in resized or '/se/' in layer.name
        keras = model.get_layer(layer.name if own else f'{layer.name}/conv')
        assert keras.output_shape == (None, *layer.output, layer.channels)


def test_weights_fit_any_resolution_stride_and_pooling(head, segmenter):
    for size, output_stride, upsample in ((32, 32, True), ((97, 640), 8, False)):
        model = build_segmenter(
            SMALL,
            resolution=size,
            num_classes=5,
            output_stride=output_stride,
            head=head,
            upsample=upsample,
        )
        assert [w.name for w in model.weights] == [w.name for w in segmenter.weights]


@pytest.mark.parametrize(('pooling', 'windows'), [('paper', (1, 2)), ('global', (1, 1))])
def test_wide_maps_are_pooled_in_windows_or_as_a_whole(pooling, windows):
    head = SegmentationHead(pooling=pooling)
    model = build_segmenter(SMALL, resolution=(64, 1024), output_stride=8, head=head)
    assert model.get_layer('lraspp/gate/pool').output_shape == (None, *windows, 288)


def test_windows_are_the_means_of_49_columns_20_apart_and_gates_lie_between_them():
    """The paper's map of 1024 × 2048 at stride 16."""
    spec = dataclasses.replace(SMALL, output_stride=16)
    outputs = {
        'last': tf_keras.Input((64, 128, 1)),
        'bneck_3/depthwise': tf_keras.Input((128, 256, 1)),
    }
    logits = segmentation_head(outputs, spec, num_classes=2, head=SegmentationHead(filters=1))
    model = tf_keras.Model(list(outputs.values()), logits)
    model.get_layer('lraspp/gate/conv').set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    parts = [model.get_layer(f'lraspp/gate/{name}').output for name in ('pool', 'resize')]
    ramp = np.broadcast_to(np.linspace(-2, 2, 128)[:, None], (1, 64, 128, 1)).astype(np.float32)
    means, gate = tf_keras.Model(model.inputs, parts)([ramp, np.zeros((1, 128, 256, 1))])
    expected = [ramp[0, :49, i : i + 49].mean() for i in (0, 20, 40, 60)]
    np.testing.assert_allclose(np.ravel(means), expected, rtol=1e-4)
    hard_sigmoid = (np.array(expected) + 3) / 6
    assert gate.shape == (1, 64, 128, 1)
    np.testing.assert_allclose(gate[0, 0, :16, 0], [hard_sigmoid[0]] * 16, rtol=1e-4)
    np.testing.assert_allclose(np.mean(gate[0, 0, 31:33, 0]), hard_sigmoid[:2].mean(), rtol=1e-4)
    np.testing.assert_array_equal(gate[0, 0], gate[0, -1])


def test_every_weight_gets_a_gradient(segmenter):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(segmenter(images(4), training=True) ** 2)
    for weight, gradient in zip(
        segmenter.trainable_weights, tape.gradient(loss, segmenter.trainable_weights), strict=True
    ):
        assert gradient is not None, weight.name
        assert float(tf.reduce_max(tf.abs(gradient))) > 0, weight.name


def test_it_is_saved_and_loaded(segmenter, tmp_path):
    segmenter.save(tmp_path / 'model.keras')
    loaded = tf_keras.models.load_model(tmp_path / 'model.keras')
    np.testing.assert_array_equal(loaded(images(1)), segmenter(images(1)))


@pytest.mark.parametrize('name', ['v1', 'v2', 'mnasnet_a1', 'large_minimalistic'])
def test_other_backbones_carry_the_heads(name, head):
    model = build_segmenter(
        name, multiplier=0.5, resolution=64, num_classes=2, head=head, input_channels=1
    )
    cost = count_segmenter(
        name, multiplier=0.5, resolution=64, num_classes=2, head=head, input_channels=1
    )
    assert model.count_params() == cost.total_params
    assert model(np.zeros((1, 64, 64, 1), np.float32)).shape == (1, 64, 64, 2)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match='num_classes is 1; expected at least 2'):
        build_segmenter(get_spec('small'), num_classes=1)
