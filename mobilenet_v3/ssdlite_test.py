import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3 import build_detector, count_detector
from mobilenet_v3.anchors import detector_anchors
from mobilenet_v3.heads import DetectionHead
from mobilenet_v3.tables import get_spec
from mobilenet_v3.transforms import halve_tail

SMALL = halve_tail(get_spec('small_1024'), first_expansion=False)


@pytest.fixture(scope='module')
def detector():
    tf_keras.utils.set_random_seed(0)
    return build_detector(SMALL, resolution=(96, 128), num_classes=3)


def images(number, size=(96, 128)):
    return np.random.default_rng(0).uniform(-1, 1, (number, *size, 3)).astype(np.float32)


def test_every_anchor_gets_a_box_and_a_logit_of_each_class_and_the_background(detector):
    answers = detector(images(2))
    number = len(detector_anchors(SMALL, (96, 128)))
    assert answers['boxes'].shape == (2, number, 4)
    assert answers['scores'].shape == (2, number, 4)
    assert answers['boxes'].dtype == answers['scores'].dtype == tf.float32


def test_classes_start_at_one_percent(detector):
    scores = tf.sigmoid(detector(np.zeros((1, 96, 128, 3), np.float32))['scores'])
    assert float(tf.reduce_mean(scores)) == pytest.approx(0.01, rel=0.1)


def test_answers_stand_in_the_order_of_the_anchors():
    """Only the cells that see a bright corner answer differently, and their anchors lie there."""
    tf_keras.utils.set_random_seed(0)
    model = build_detector(SMALL, resolution=256, num_classes=1)
    dark = np.zeros((1, 256, 256, 3), np.float32)
    bright = dark.copy()
    bright[:, -8:, :8] = 1.0  # bottom left
    # Means over the whole image, in squeeze-and-excite, reach every cell: the rest stays small.
    change = np.abs(model(bright)['boxes'] - model(dark)['boxes'])[0].max(axis=1)
    first = slice(0, 16 * 16 * 3)
    strongest = detector_anchors(SMALL, 256)[first][np.argmax(change[first])]
    assert strongest[0] > 0.8
    assert strongest[1] < 0.2


@pytest.mark.parametrize('ask', [build_detector, count_detector, detector_anchors])
def test_a_backbone_that_ends_at_stride_16_is_refused(ask):
    fine = dataclasses.replace(SMALL, blocks=SMALL.blocks[:8])
    with pytest.raises(ValueError, match='small_1024 has no feature map at stride 32 for SSDLite'):
        ask(fine, resolution=64)


def test_weights_are_those_that_are_counted(detector):
    cost = count_detector(SMALL, resolution=(96, 128), num_classes=3)
    assert detector.count_params() == cost.total_params
    trainable = sum(int(np.prod(w.shape)) for w in detector.trainable_weights)
    assert trainable == cost.params


@pytest.mark.parametrize(
    ('model', 'multiplier', 'resolution', 'channels'),
    [('v1', 1.0, 64, 3), ('v2', 0.35, (33, 50), 1), ('mnasnet_a1', 0.5, (161, 97), 3)],
)
def test_each_convolution_has_the_shape_that_is_counted(model, multiplier, resolution, channels):
    built = build_detector(
        model,
        multiplier=multiplier,
        resolution=resolution,
        num_classes=2,
        input_channels=channels,
    )
    for cost in count_detector(
        model,
        multiplier=multiplier,
        resolution=resolution,
        num_classes=2,
        input_channels=channels,
    ).layers:
        layer = built.get_layer(cost.name if '/se/' in cost.name else f'{cost.name}/conv')
        assert layer.output_shape == (None, *cost.output, cost.channels)
        assert cost.madds == np.prod(layer.weights[0].shape) * np.prod(cost.output)


def test_every_weight_gets_a_gradient(detector):
    with tf.GradientTape() as tape:
        answers = detector(images(4), training=True)
        loss = tf.reduce_sum(answers['boxes'] ** 2) + tf.reduce_sum(answers['scores'] ** 2)
    for weight, gradient in zip(
        detector.trainable_weights, tape.gradient(loss, detector.trainable_weights), strict=True
    ):
        assert gradient is not None, weight.name
        assert float(tf.reduce_max(tf.abs(gradient))) > 0, weight.name


def test_it_is_saved_and_loaded(detector, tmp_path):
    detector.save(tmp_path / 'model.keras')
    loaded = tf_keras.models.load_model(tmp_path / 'model.keras')
    for key, expected in detector(images(1)).items():
        np.testing.assert_array_equal(loaded(images(1))[key], expected)


def test_weights_fit_any_resolution(detector):
    model = build_detector(SMALL, resolution=33, num_classes=3)
    assert [w.name for w in model.weights] == [w.name for w in detector.weights]


def test_a_head_without_extra_maps_stands_on_c4_and_c5():
    head = DetectionHead(extras=())
    model = build_detector('small', resolution=64, num_classes=1, head=head)
    assert model.output_shape['boxes'] == (None, len(detector_anchors(SMALL, 64, head)), 4)


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match='expected at least 1, the background not counted'):
        build_detector('small', num_classes=0)
