import numpy as np
import pytest
import tf_keras

from mobilenet_v3 import build_model, carry_keras_weights

applications = tf_keras.applications


def keras_v3(constructor, alpha, minimalistic, **options):
    return constructor(
        input_shape=(64, 64, 3),
        alpha=alpha,
        minimalistic=minimalistic,
        weights=None,
        include_preprocessing=False,
        classifier_activation=None,
        **options,
    )


def keras_v2(alpha, **options):
    return applications.MobileNetV2(
        input_shape=(64, 64, 3), alpha=alpha, weights=None, classifier_activation=None, **options
    )


def randomize(model):
    """Random weights with BN statistics far from their start, and outputs of order one."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, gamma.shape),
                    rng.normal(0, 0.3, beta.shape),
                    rng.normal(0, 0.3, mean.shape),
                    rng.uniform(0.2, 1.5, variance.shape),
                ]
            )
        elif layer.weights:
            layer.set_weights(
                [
                    w + rng.normal(0, 0.02, w.shape) if w.ndim == 1 else w
                    for w in layer.get_weights()
                ]
            )


V3 = [
    (constructor, f'{name}_minimalistic' if minimalistic else full, alpha, minimalistic)
    for constructor, name, full in (
        (applications.MobileNetV3Large, 'large', 'large'),
        (applications.MobileNetV3Small, 'small', 'small_1024'),
    )
    for minimalistic in (False, True)
    for alpha in (0.75, 1.0)
]
V2_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


def check_same_function(source, ours):
    randomize(source)
    carry_keras_weights(source, ours)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    expected = source(images, training=False).numpy()
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(ours(images, training=False).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(('constructor', 'name', 'alpha', 'minimalistic'), V3)
def test_v3_computes_what_keras_computes(constructor, name, alpha, minimalistic):
    ours = build_model(name, multiplier=alpha, resolution=64, num_classes=10)
    check_same_function(keras_v3(constructor, alpha, minimalistic, classes=10), ours)


@pytest.mark.parametrize('alpha', V2_ALPHAS)
def test_v2_computes_what_keras_computes(alpha):
    ours = build_model('v2', multiplier=alpha, resolution=64, num_classes=10)
    check_same_function(keras_v2(alpha, classes=10), ours)


def test_a_source_without_top_leaves_our_head_alone():
    ours = build_model('v2', multiplier=0.35, resolution=64, num_classes=7)
    before = ours.get_layer('logits/conv').get_weights()[0]
    source = keras_v2(0.35, include_top=False)
    randomize(source)
    carry_keras_weights(source, ours)
    np.testing.assert_array_equal(ours.get_layer('logits/conv').get_weights()[0], before)
    np.testing.assert_array_equal(
        ours.get_layer('stem/conv').get_weights()[0], source.get_layer('Conv1').get_weights()[0]
    )


def test_a_source_of_another_shape_is_listed_and_changes_nothing():
    ours = build_model('small', resolution=64, num_classes=10)  # 1280 features, Keras has 1024
    before = [w.copy() for w in ours.get_weights()]
    source = keras_v3(applications.MobileNetV3Small, 1.0, False, classes=10)
    with pytest.raises(ValueError, match=r'Conv_2: .*\(1, 1, 576, 1024\).*features/conv'):
        carry_keras_weights(source, ours)
    for old, new in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_source_of_another_family_is_listed():
    ours = build_model('small_1024', resolution=64, num_classes=10)
    with pytest.raises(
        ValueError, match='does not fit small_1024; build ours with the same network'
    ):
        carry_keras_weights(keras_v2(1.0, classes=10), ours)
