import numpy as np
import pytest
import tf_keras

from train.weights.unfold import folded_norms, unfold_norms


@pytest.fixture
def folded(tiny_model):
    """`tiny_model` with every normalisation folded into its convolution, but for a bias."""
    model = tf_keras.models.clone_model(tiny_model)
    model.set_weights(tiny_model.get_weights())
    model.get_layer('dropout').rate = 0.0
    for norm in model.layers:
        if isinstance(norm, tf_keras.layers.BatchNormalization):
            conv = model.get_layer(norm.name.removesuffix('bn') + 'conv')
            gamma, beta, mean, variance = norm.get_weights()
            scale = gamma / np.sqrt(variance + norm.epsilon)
            (kernel,) = conv.get_weights()
            is_depthwise = isinstance(conv, tf_keras.layers.DepthwiseConv2D)
            conv.set_weights([kernel * (scale[:, None] if is_depthwise else scale)])
            ones = np.ones_like(scale)
            passed = ones - np.float32(norm.epsilon)
            norm.set_weights([ones, beta - mean * scale, 0 * ones, passed])
    return model


def trained_answers(model, images):
    """What a model answers in training, whose statistics stay."""
    weights = model.get_weights()
    answers = model(images, training=True).numpy()
    model.set_weights(weights)
    return answers


def test_the_answers_stay_and_training_starts_from_them(folded, tiny_model, soft_images):
    images = soft_images(64)
    expected = tiny_model(images, training=False).numpy()
    np.testing.assert_allclose(folded(images, training=False), expected, atol=1e-4)
    spread = expected.std()
    # Folded, the statistics of a batch make another network of it.
    assert np.abs(trained_answers(folded, images) - expected).mean() > 0.3 * spread
    # Four blocks, of which one does not expand, stem and last.
    assert unfold_norms(folded, [images[:32], images[32:]]) == 13
    np.testing.assert_allclose(folded(images, training=False), expected, atol=1e-4)
    assert np.abs(trained_answers(folded, images) - expected).mean() < 1e-2 * spread


def test_statistics_are_those_of_the_images(folded, soft_images):
    images = soft_images(16)
    stem = tf_keras.Model(folded.input, folded.get_layer('stem/bn').input)(images).numpy()
    unfold_norms(folded, [images])
    _, _, mean, variance = folded.get_layer('stem/bn').get_weights()
    np.testing.assert_allclose(mean, stem.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(variance, stem.var((0, 1, 2)), rtol=1e-3, atol=1e-6)


def test_a_network_with_statistics_is_left_alone(tiny_model):
    assert folded_norms(tiny_model) == []

    def never():
        raise AssertionError
        yield

    before = tiny_model.get_weights()
    assert unfold_norms(tiny_model, never()) == 0
    for ours, theirs in zip(tiny_model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
