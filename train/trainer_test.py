import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3.layers import SeededDropout
from mobilenet_v3.models import build_model
from train.run import Run, resolve_spec
from train.trainer import Trainer, decayed_kernels

LABELS = ('a', 'b', 'c')
STEPS_PER_EPOCH = 10.0


def make_trainer(config):
    tf_keras.utils.set_random_seed(0)
    task = Run(config, resolve_spec(config), LABELS).make_task()
    return Trainer(task, tf.distribute.get_strategy(), STEPS_PER_EPOCH, total_steps=100)


def endless(images, labels):
    batch = {'image': tf.constant(images), 'label': tf.constant(labels, tf.int64)}
    return iter(tf.data.Dataset.from_tensors(batch).repeat())


@pytest.fixture(scope='module')
def batch():
    """Four images [4, 32, 32, 3] in [-1, 1] and their labels, each image of its class's colour."""
    labels = np.array([0, 1, 2, 1])
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 32, 32, 3)).astype(np.float32)
    images[np.arange(4), :, :, labels] += 0.5
    return images, labels


@pytest.fixture(scope='module')
def constant_rate(tiny_config):
    """Makes configs with the rate 1 from the first step on."""

    def make(**train):
        config = tiny_config()
        config.schedule.warmup_epochs = 0.0
        config.schedule.learning_rate = 1.0
        config.train.update(train)
        return config

    return make


def gradients(trainer):
    """The gradients of the first step at rate 1, read back from the optimiser."""
    read = {}
    for variable in trainer.model.trainable_variables:
        moment = trainer.optimizer.get_slot(variable, 'momentum').numpy()
        mean_square = trainer.optimizer.get_slot(variable, 'mean_square').numpy()
        read[variable.name] = moment * np.sqrt(mean_square + trainer.task.config.optimizer.epsilon)
    return read


# --------------------------------------------------------------------------- weight decay


@pytest.fixture(scope='module')
def small():
    return build_model('small', multiplier=0.35, resolution=32, num_classes=3)


def test_every_convolution_but_the_depthwise_is_decayed(small):
    kernels = {w.name for w in small.trainable_weights if w.name.endswith('/kernel:0')}
    depthwise = {w.name for w in small.trainable_weights if '/depthwise_kernel:' in w.name}
    decayed = {kernel.name for kernel in decayed_kernels(small)}
    assert decayed == kernels
    assert len(depthwise) == 11
    assert not decayed & depthwise


@pytest.mark.parametrize(
    'layer',
    [
        'stem/conv',
        'bneck_2/expand/conv',
        'bneck_2/project/conv',
        'bneck_1/se/squeeze',
        'bneck_1/se/excite',
        'last/conv',
        'features/conv',
        'logits/conv',
    ],
)
def test_weight_decay_reaches(small, layer):
    assert any(small.get_layer(layer).kernel is kernel for kernel in decayed_kernels(small))


@pytest.fixture(scope='module')
def first_gradients(constant_rate, batch):
    """Start weights and gradients of the same first step without and with a large weight decay."""
    start, found = {}, []
    for weight_decay in (0.0, 0.5):
        trainer = make_trainer(constant_rate(weight_decay=weight_decay))
        start = {w.name: w.numpy() for w in trainer.model.trainable_variables}
        loss = trainer.train(endless(*batch), 1)
        found.append((loss, gradients(trainer)))
    return start, found


def test_the_gradient_of_weight_decay_is_its_rate_times_the_weight(first_gradients):
    # ½ · Σw² has the gradient w; without TF1's ½ it would be twice that.
    start, [(_, without), (_, decayed)] = first_gradients
    for name, weight in start.items():
        expected = 0.5 * weight if name.endswith('/kernel:0') else 0 * weight
        np.testing.assert_allclose(decayed[name] - without[name], expected, atol=2e-5, err_msg=name)


def test_the_reported_loss_leaves_weight_decay_out(first_gradients):
    _, [(without, _), (decayed, _)] = first_gradients
    assert without == decayed


# ---------------------------------------------------------------------------- one step


class Step:
    """A trainer of V3-Small before and after its first step."""

    def __init__(self, config, images, labels):
        self.trainer = make_trainer(config)
        self.images, self.labels = images, labels
        model = self.trainer.model
        self.start = [w.numpy() for w in model.weights]
        # The same dropout mask as in the step: it hangs on the step's number.
        self.logits = model(images, training=True).numpy()
        for weight, value in zip(model.weights, self.start, strict=True):
            weight.assign(value)  # BN's statistics moved
        self.loss = self.trainer.train(endless(images, labels), 1)


@pytest.fixture(scope='module')
def step(constant_rate, batch):
    config = constant_rate()
    config.model.name = 'small'
    config.model.multiplier = 0.35
    config.schedule.learning_rate = 0.01
    return Step(config, *batch)


def test_the_loss_is_smoothed_cross_entropy(step):
    log_p = step.logits - np.log(np.exp(step.logits).sum(axis=1, keepdims=True))
    targets = 0.9 * np.eye(3)[step.labels] + 0.1 / 3
    assert step.loss == pytest.approx(-(targets * log_p).sum(axis=1).mean(), rel=1e-5)


def test_a_step_changes_every_weight_and_statistic(step):
    model = step.trainer.model
    unchanged = [
        weight.name
        for weight, start in zip(model.weights, step.start, strict=True)
        if np.array_equal(weight.numpy(), start)
    ]
    assert not unchanged
    assert len(model.weights) > len(model.trainable_weights)


def test_a_step_moves_the_averaged_model_nine_tenths_of_the_way(step):
    pairs = zip(step.trainer.averaged.weights, step.trainer.model.weights, step.start, strict=True)
    for average, weight, start in pairs:
        expected = 0.1 * start + 0.9 * weight.numpy()
        np.testing.assert_allclose(average.numpy(), expected, atol=1e-5, err_msg=weight.name)


def test_a_step_is_counted_once(step):
    assert int(step.trainer.optimizer.iterations) == 1


# --------------------------------------------------------------------------- more steps


@pytest.fixture
def tiny(tiny_config):
    return make_trainer(tiny_config())


def test_the_loss_falls_on_a_fixed_set(tiny, batch):
    iterator = endless(*batch)
    losses = [tiny.train(iterator, 1) for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def test_steps_taken_together_equal_steps_taken_one_by_one(tiny, batch, tmp_path):
    start = tiny.checkpoint.write(str(tmp_path / 'start'))
    iterator = endless(*batch)
    one_by_one = np.mean([tiny.train(iterator, 1) for _ in range(3)])
    weights = tiny.model.get_weights() + tiny.averaged.get_weights()
    tiny.checkpoint.read(start)
    assert tiny.train(iterator, 3) == pytest.approx(one_by_one, rel=1e-6)
    for ours, expected in zip(
        tiny.model.get_weights() + tiny.averaged.get_weights(), weights, strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def test_mixed_bfloat16_keeps_weights_and_logits_in_float32(tiny_config, batch):
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy('mixed_bfloat16')
    try:
        trainer = make_trainer(tiny_config())
        assert np.isfinite(trainer.train(endless(*batch), 1))
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
    assert {weight.dtype for weight in trainer.model.weights} == {tf.float32}
    assert trainer.model.get_layer('stem/conv').compute_dtype == 'bfloat16'
    assert trainer.model(batch[0]).dtype == tf.float32


def test_a_weight_that_is_not_finite_is_named(tiny):
    assert tiny.first_not_finite() is None
    bias = tiny.model.get_layer('logits/conv').bias
    bias.assign([0.0, np.inf, 0.0])
    assert tiny.first_not_finite() == 'logits/conv/bias:0'


# ------------------------------------------------------------------------------ dropout


def dropout(step, rate=0.2, seed=0):
    layer = SeededDropout(rate)
    layer.follow(step, seed)
    return layer


def dropped(layer):
    return layer(tf.ones([100, 100]), training=True).numpy() == 0


def test_a_mask_is_a_function_of_the_step_and_the_seed():
    step = tf.Variable(3, dtype=tf.int64)
    mask = dropped(dropout(step))
    np.testing.assert_array_equal(dropped(dropout(step)), mask)
    assert (dropped(dropout(step, seed=1)) != mask).any()
    step.assign(4)
    assert (dropped(dropout(step)) != mask).any()


def test_a_traced_mask_follows_the_step():
    step = tf.Variable(0, dtype=tf.int64)
    layer = dropout(step)
    traced = tf.function(lambda: layer(tf.ones([100, 100]), training=True))
    masks = []
    for number in (0, 1, 0):
        step.assign(number)
        masks.append(traced().numpy())
    np.testing.assert_array_equal(masks[0], masks[2])
    assert (masks[0] != masks[1]).any()


def test_dropout_keeps_its_share_and_its_mean():
    values = dropout(tf.Variable(0, dtype=tf.int64))(tf.ones([100, 100]), training=True).numpy()
    assert set(np.unique(values)) == {0.0, np.float32(1.25)}
    assert (values > 0).mean() == pytest.approx(0.8, abs=0.02)


def test_dropout_is_the_identity_at_inference_and_at_rate_zero():
    x = tf.random.stateless_uniform([8, 8], seed=[1, 2])
    step = tf.Variable(0, dtype=tf.int64)
    np.testing.assert_array_equal(dropout(step)(x, training=False), x)
    np.testing.assert_array_equal(dropout(step, rate=0.0)(x, training=True), x)


def test_the_trainers_dropout_follows_its_optimiser(step):
    images, model = tf.constant(step.images), step.trainer.model
    start = [weight.numpy() for weight in model.weights]
    outputs = []
    for iterations in (5, 6, 5):
        step.trainer.optimizer.iterations.assign(iterations)
        outputs.append(model(images, training=True).numpy())
    for weight, value in zip(model.weights, start, strict=True):
        weight.assign(value)
    step.trainer.optimizer.iterations.assign(1)
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert (outputs[0] != outputs[1]).any()


# ---------------------------------------------------------------------- a batch in parts


def without_norm(config):
    """A trainer whose batch normalisation is frozen: parts otherwise have statistics of their own."""
    config.model.dropout = 0.0
    config.finetune.freeze_batch_norm = True
    return make_trainer(config)


def test_parts_of_a_batch_make_the_step_of_the_whole(constant_rate, batch):
    images, labels = batch
    whole = without_norm(constant_rate(batch_size=4))
    in_parts = without_norm(constant_rate(batch_size=4, parts=2))
    halves = tf.data.Dataset.from_tensor_slices({'image': images, 'label': labels}).batch(2)
    iterator = iter(halves.repeat())
    for _ in range(2):
        expected = whole.train(endless(images, labels), 1)
        assert in_parts.train(iterator, 1) == pytest.approx(expected, rel=1e-5)
    assert int(in_parts.optimizer.iterations) == 2
    for model in ('model', 'averaged'):
        pairs = zip(getattr(in_parts, model).weights, getattr(whole, model).weights, strict=True)
        for ours, other in pairs:
            np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-5, err_msg=ours.name)


def test_parts_drop_other_units():
    step, part = tf.Variable(3, dtype=tf.int64), tf.Variable(0, dtype=tf.int64)
    layer = SeededDropout(0.2)
    layer.follow(step, 0, part)
    masks = []
    for number in (0, 1, 0):
        part.assign(number)
        masks.append(dropped(layer))
    np.testing.assert_array_equal(masks[0], masks[2])
    assert (masks[0] != masks[1]).any()
