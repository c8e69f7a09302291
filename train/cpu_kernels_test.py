import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3 import build_model
from mobilenet_v3.spec import BlockSpec, ConvSpec, ModelSpec, SqueezeExcite
from train.cpu_kernels import use_cpu_kernels

SPEC = ModelSpec(
    name='tiny',
    stem=ConvSpec(3, 8, 'hard_swish', stride=2),
    blocks=(
        BlockSpec(5, 16, 8, SqueezeExcite(), 'hard_swish', 2),
        BlockSpec(5, 16, 8, None, 'relu', 1),
        BlockSpec(3, 16, 8, SqueezeExcite(gate='sigmoid', before_activation=True), 'relu', 1),
        BlockSpec(3, 16, 8, SqueezeExcite(), 'relu', 2),
    ),
    last=ConvSpec(1, 32, 'hard_swish', scaling='input'),
    features=ConvSpec(1, 24, 'hard_swish', batch_norm=False, scaling='grow_only'),
)


@pytest.fixture(scope='module')
def images():
    return tf.constant(np.random.default_rng(1).normal(0, 2, (4, 33, 33, 3)), tf.float32)


@pytest.fixture
def models(images):
    """The same network twice, the second one with the other kernels."""
    plain, fast = (build_model(SPEC, resolution=33, num_classes=3) for _ in range(2))
    rng = np.random.default_rng(0)
    # Weights as large as their inputs ask, so that h-swish meets both of its bends.
    weights = [rng.normal(0, 0.5, w.shape).astype(np.float32) for w in plain.get_weights()]
    plain.set_weights([np.abs(w) for w in weights])
    for layer in plain.layers:
        if layer.name.endswith('/se/excite'):  # gates between their bends, where they have a slope
            size = np.abs(tf_keras.Model(plain.input, layer.output)(images)).max()
            layer.set_weights([w / size for w in layer.get_weights()])
    fast.set_weights(plain.get_weights())
    use_cpu_kernels(fast)
    return plain, fast


def test_outputs_agree(models, images):
    plain, fast = (model(images, training=False) for model in models)
    assert plain.shape == fast.shape == (4, 3)
    np.testing.assert_allclose(plain, fast, rtol=1e-4)


def test_gradients_of_weights_and_images_agree(models, images):
    @tf.function
    def gradients(model):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(model(images, training=False) ** 2)
        return tape.gradient(loss, [images, *model.trainable_variables])

    for plain, fast in zip(*map(gradients, models), strict=True):
        np.testing.assert_allclose(plain, fast, rtol=1e-3, atol=1e-4 * np.abs(plain).max())


def test_weights_and_configs_stay(models, tmp_path):
    plain, fast = models
    assert [w.name for w in plain.weights] == [w.name for w in fast.weights]
    assert [x.get_config() for x in plain.layers] == [x.get_config() for x in fast.layers]
    saved = tf.train.Checkpoint(model=fast).write(str(tmp_path / 'saved'))
    tf.train.Checkpoint(model=plain).read(saved).assert_consumed()
