import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from configs import base
from train.optimizer import (
    MomentumTF1,
    MovingAverage,
    RMSPropTF1,
    WarmupSchedule,
    make_optimizer,
)

START = np.array([1.0, -2.0, 0.5], np.float32)
GRADIENTS = np.array([[0.5, -1.0, 0.0], [0.25, 3.0, 1e-3], [-2.0, 0.0, 1e-3]], np.float32)

# Two replicas on one CPU, which have to be asked for before TensorFlow starts: a process of its own.
TWO_REPLICAS = """
import json
import tensorflow as tf
import tf_keras
from train.optimizer import MovingAverage, RMSPropTF1

cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])

with strategy.scope():
    weight = tf.Variable([1.0])
    optimizer = RMSPropTF1(0.1, rho=0.9, momentum=0.0, epsilon=0.5)
    models = []
    for _ in range(2):
        layer = tf_keras.layers.BatchNormalization(momentum=0.5, input_shape=(1,))
        models.append(tf_keras.Sequential([layer]))
    average = MovingAverage(models[0], models[1], 0.9)
average.start()

@tf.function
def optimize(gradient):
    strategy.run(lambda: optimizer.apply_gradients([(tf.identity(gradient), weight)]))

@tf.function
def move(values, number):
    def replica_step(x):
        models[0](x, training=True)
        models[0].layers[0].gamma.assign_add(tf.ones([1]))
        average.update(number)
    strategy.run(replica_step, args=(values,))

def value(context):  # replica 0 sees a constant 2, replica 1 a constant 4
    return tf.fill([3, 1], 2.0 + 2.0 * context.replica_id_in_sync_group)

def read(model):
    return {name: float(getattr(model.layers[0], name).numpy()[0])
            for name in ('gamma', 'moving_mean', 'moving_variance')}

for gradient in (1.0, 2.0):
    optimize(tf.constant([gradient]))
values = strategy.experimental_distribute_values_from_function(value)
for number in range(3):
    move(values, tf.constant(number, tf.int64))
copies = strategy.experimental_local_results(weight)
print(json.dumps({
    'weights': [float(copy.numpy()[0]) for copy in copies],
    'model': read(models[0]),
    'averaged': read(models[1]),
}))
"""


@pytest.fixture(scope='module')
def two_replicas(run_python, tmp_path_factory):
    """What two replicas hold after TWO_REPLICAS."""
    result = run_python('-c', TWO_REPLICAS, cwd=tmp_path_factory.mktemp('replicas'))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def tf1_rmsprop(rate, rho, momentum, epsilon):
    """The weights after each of GRADIENTS, in float64."""
    weight, mean_square, moment = START.astype(np.float64), np.ones(3), np.zeros(3)
    weights = []
    for gradient in GRADIENTS.astype(np.float64):
        mean_square = rho * mean_square + (1 - rho) * gradient**2
        moment = momentum * moment + rate * gradient / np.sqrt(mean_square + epsilon)
        weight = weight - moment
        weights.append(weight)
    return weights


def schedule_config(**changes):
    return ConfigDict(
        {
            'kind': 'exponential',
            'learning_rate': 0.1,
            'base_batch_size': 4096,
            'warmup_epochs': 5.0,
            'decay': 0.99,
            'decay_epochs': 3.0,
            'power': 0.9,
            **changes,
        }
    )


def rates(steps, *, batch_size=4096, steps_per_epoch=10.0, total_steps=1000, **changes):
    schedule = WarmupSchedule(schedule_config(**changes), batch_size, steps_per_epoch, total_steps)
    return np.array([float(schedule(step)) for step in steps])


def batch_norm_model():
    return tf_keras.Sequential([tf_keras.layers.BatchNormalization(input_shape=(2,))])


# ------------------------------------------------------------------------------- RMSProp


@pytest.mark.parametrize('momentum', [0.9, 0.0])
@pytest.mark.parametrize('epsilon', [0.002, 1.0])
def test_rmsprop_equals_tf1_over_three_steps(momentum, epsilon):
    optimizer = RMSPropTF1(0.1, rho=0.9, momentum=momentum, epsilon=epsilon)
    weight = tf.Variable(START)
    for gradient, expected in zip(GRADIENTS, tf1_rmsprop(0.1, 0.9, momentum, epsilon), strict=True):
        optimizer.apply_gradients([(tf.constant(gradient), weight)])
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)


def test_rmsprops_first_update_by_hand():
    optimizer = RMSPropTF1(0.1, rho=0.75, momentum=0.9, epsilon=0.25)
    weight = tf.Variable([1.0])
    optimizer.apply_gradients([(tf.constant([2.0]), weight)])
    # Mean square 0.75 · 1 + 0.25 · 4 = 1.75; the root of 1.75 + 0.25 is √2.
    np.testing.assert_allclose(weight.numpy(), [1 - 0.1 * 2 / np.sqrt(2)], rtol=1e-6)


def test_rmsprop_follows_a_schedule_and_counts_its_steps():
    schedule = tf_keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.0])
    optimizer = RMSPropTF1(schedule, momentum=0.0)
    weight = tf.Variable([1.0])
    for _ in range(2):
        optimizer.apply_gradients([(tf.constant([1.0]), weight)])
    first = 1 - 1 / np.sqrt(1 + 0.002)  # the second update has rate 0
    np.testing.assert_allclose(weight.numpy(), [first], atol=1e-6)
    assert int(optimizer.iterations) == 2


def test_rmsprop_sums_the_gradients_of_replicas(two_replicas):
    weight, mean_square = 1.0, 1.0
    for gradient in (2.0, 4.0):
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        weight -= 0.1 * gradient / np.sqrt(mean_square + 0.5)
    np.testing.assert_allclose(two_replicas['weights'], [weight, weight], rtol=1e-6)


# ------------------------------------------------------------------------------ momentum


def test_momentum_is_the_heavy_ball_of_tf1():
    """As TF1's: what was gathered moves by the rate of now, 0.1 in the first step and 0.01 then."""
    rates = tf_keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.01])
    optimizer, weight = MomentumTF1(rates, momentum=0.9), tf.Variable(START)
    expected, gathered = START.astype(np.float64), np.zeros(3)
    for gradient, rate in zip(GRADIENTS, (0.1, 0.01, 0.01), strict=True):
        optimizer.apply_gradients([(tf.constant(gradient), weight)])
        gathered = 0.9 * gathered + gradient
        expected = expected - rate * gathered
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)


def test_the_rate_of_a_variable_may_differ():
    optimizer = MomentumTF1(0.1, momentum=0.9)
    fast, slow = tf.Variable([1.0]), tf.Variable([1.0])
    optimizer.set_rate_factors([(slow, 0.5)])
    optimizer.apply_gradients([(tf.constant([1.0]), fast), (tf.constant([1.0]), slow)])
    np.testing.assert_allclose([fast.numpy()[0], slow.numpy()[0]], [0.9, 0.95], rtol=1e-6)


@pytest.mark.parametrize(('kind', 'expected'), [('rmsprop', RMSPropTF1), ('momentum', MomentumTF1)])
def test_a_config_names_the_optimizer(kind, expected):
    config = base.get_config().optimizer
    config.kind = kind
    assert type(make_optimizer(config, 0.1)) is expected


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('kind', 'adam', r"config\.optimizer\.kind is 'adam'; expected rmsprop or momentum"),
        ('momentum', 1.0, r'config\.optimizer\.momentum is 1\.0; expected in \[0, 1\)'),
        ('rho', 1.5, r'config\.optimizer\.rho is 1\.5; expected in \[0, 1\)'),
        ('epsilon', -1.0, r'config\.optimizer\.epsilon is -1\.0; expected at least 0'),
    ],
)
def test_an_optimizer_that_is_none_is_refused(field, value, message):
    config = base.get_config().optimizer
    config[field] = value
    with pytest.raises(ValueError, match=message):
        make_optimizer(config, 0.1)


# ------------------------------------------------------------------------------ schedule


def test_the_rate_falls_by_one_percent_every_third_epoch():
    epochs = np.arange(5, 30)
    expected = 0.1 * 0.99 ** (epochs // 3)
    np.testing.assert_allclose(rates(epochs * 10), expected, rtol=1e-5)


def test_the_rate_is_constant_between_two_falls():
    np.testing.assert_allclose(rates(range(60, 90)), 0.1 * 0.99**2, rtol=1e-5)


def test_the_warmup_is_linear_up_to_the_full_rate():
    ramp = rates(range(50))
    # Nothing of the decay before its end: it begins at the papers' rate.
    np.testing.assert_allclose(ramp, 0.1 * np.arange(1, 51) / 50, rtol=1e-5)


def test_the_first_update_is_not_wasted_on_a_rate_of_zero():
    assert rates([0])[0] == pytest.approx(0.1 / 50)


@pytest.mark.parametrize(('batch_size', 'peak'), [(4096, 0.1), (128, 0.1 / 32), (8192, 0.2)])
def test_the_rate_is_linear_in_the_batch(batch_size, peak):
    assert rates([0], batch_size=batch_size, warmup_epochs=0.0)[0] == pytest.approx(peak)


@pytest.mark.parametrize('steps_per_epoch', [2.5, 312.78])
def test_epochs_of_a_fractional_number_of_steps(steps_per_epoch):
    last = int(6 * steps_per_epoch)  # the last step that begins before epoch 6
    before, after = rates([last, last + 1], steps_per_epoch=steps_per_epoch, warmup_epochs=0.0)
    if last == 6 * steps_per_epoch:
        before = rates([last - 1], steps_per_epoch=steps_per_epoch, warmup_epochs=0.0)[0]
    assert before == pytest.approx(0.1 * 0.99)
    assert after == pytest.approx(0.1 * 0.99**2)


def test_the_cosine_falls_from_the_end_of_the_warmup_to_zero():
    values = rates([49, 50, 525, 1000], kind='cosine')
    np.testing.assert_allclose(values, [0.1, 0.1, 0.05, 0.0], atol=1e-7)


def test_the_power_falls_from_the_end_of_the_warmup_to_zero():
    values = rates([49, 50, 525, 1000], kind='poly')
    np.testing.assert_allclose(values, [0.1, 0.1, 0.1 * 0.5**0.9, 0.0], rtol=1e-6)


def test_the_cosine_never_rises_after_the_warmup():
    values = rates(range(50, 1001, 5), kind='cosine')
    assert (np.diff(values) <= 0).all()


def test_a_run_that_is_all_warmup_still_has_rates():
    values = rates(range(10), kind='cosine', total_steps=10)
    np.testing.assert_allclose(values, 0.1 * np.arange(1, 11) / 50, rtol=1e-5)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match=r"schedule\.kind is 'linear'; expected exponential, c"):
        rates([0], kind='linear')


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('learning_rate', 0.0),
        ('learning_rate', -0.1),
        ('learning_rate', float('nan')),
        ('base_batch_size', 0),
        ('warmup_epochs', -1.0),
        ('warmup_epochs', float('nan')),
        ('decay_epochs', 0.0),
        ('power', 0.0),
    ],
)
def test_a_value_that_gives_no_rate_is_refused(field, value):
    with pytest.raises(ValueError, match=rf'config\.schedule\.{field} is .*; expected'):
        rates([0], **{field: value})


# ------------------------------------------------------------------------ moving average


def test_the_average_starts_as_a_copy():
    model, averaged = batch_norm_model(), batch_norm_model()
    model.layers[0].gamma.assign([3.0, 4.0])
    model.layers[0].moving_mean.assign([5.0, 6.0])
    MovingAverage(model, averaged, 0.9).start()
    for ours, theirs in zip(averaged.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('name', ['gamma', 'beta', 'moving_mean', 'moving_variance'])
def test_weights_and_statistics_are_averaged_with_a_growing_decay(name):
    model, averaged = batch_norm_model(), batch_norm_model()
    weight, average = (getattr(m.layers[0], name) for m in (model, averaged))
    moving = MovingAverage(model, averaged, 0.15)
    moving.start()
    expected = average.numpy().astype(np.float64)
    # (1 + t) / (10 + t) is 0.1 and 2/11 before the cap of 0.15 holds.
    for t, decay in enumerate([1 / 10, 0.15, 0.15]):
        weight.assign([1.0 + t, -2.0 * t])
        moving.update(tf.constant(t, tf.int64))
        expected = decay * expected + (1 - decay) * weight.numpy()
        np.testing.assert_allclose(average.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(('t', 'decay'), [(0, 0.1), (8, 0.5), (890, 0.99), (10**6, 0.9999)])
def test_the_decay_grows_up_to_its_cap(t, decay):
    model, averaged = batch_norm_model(), batch_norm_model()
    moving = MovingAverage(model, averaged, 0.9999)
    averaged.layers[0].beta.assign([0.0, 0.0])
    model.layers[0].beta.assign([1.0, 1.0])
    moving.update(tf.constant(t, tf.int64))
    np.testing.assert_allclose(1 - averaged.layers[0].beta.numpy(), decay, atol=1e-6)


def test_the_trained_model_is_left_alone():
    model, averaged = batch_norm_model(), batch_norm_model()
    averaged.layers[0].gamma.assign([7.0, 7.0])
    before = model.get_weights()
    MovingAverage(model, averaged, 0.5).update(tf.constant(0, tf.int64))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('decay', [1.0, -0.1, float('nan')])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r'config\.ema\.decay is .*; expected in \[0, 1\)'):
        MovingAverage(batch_norm_model(), batch_norm_model(), decay)


def test_replicas_average_weights_and_their_mean_statistics(two_replicas):
    values = {'gamma': 1.0, 'moving_mean': 0.0, 'moving_variance': 1.0}
    averages = dict(values)
    for t in range(3):
        values['gamma'] += 1.0
        values['moving_mean'] += 0.5 * (3.0 - values['moving_mean'])  # the mean of 2 and 4
        values['moving_variance'] *= 0.5  # a constant has no variance
        decay = (1 + t) / (10 + t)
        for name, value in values.items():
            averages[name] = decay * averages[name] + (1 - decay) * value
    assert two_replicas['model'] == pytest.approx(values)
    assert two_replicas['averaged'] == pytest.approx(averages)
