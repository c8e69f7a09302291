import numpy as np
import pytest
import tensorflow as tf

from export.rounding import round_channels, round_in_range

RNG = np.random.default_rng(0)
REFUSED_ON_GPUS = {
    'FakeQuantWithMinMaxVarsGradient',
    'FakeQuantWithMinMaxVarsPerChannelGradient',
}


def both(function, plain, inputs, *ends):
    """Values and gradients of ours and of TensorFlow's op."""
    found = []
    upstream = tf.constant(RNG.normal(size=inputs.shape), tf.float32)
    for call, more in ((function, [True]), (plain, [])):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            rounded = call(inputs, *ends, *more)
        found.append((rounded.numpy(), tape.gradient(rounded, inputs, upstream).numpy()))
    return found


@pytest.mark.parametrize('trial', range(20))
def test_values_and_gradients_in_a_range_are_tensorflows_bit_for_bit(trial):
    rng = np.random.default_rng(trial)
    low, high = tf.constant([-rng.exponential(), rng.exponential()], tf.float32)
    if trial % 4 == 0:
        low = tf.constant(0.0)
    inputs = tf.constant(rng.normal(0, 1.5, (4, 1000)), tf.float32)
    inputs = tf.concat([inputs, tf.fill([4, 1], low), tf.fill([4, 1], high)], axis=1)
    ours, theirs = both(
        round_in_range, tf.quantization.fake_quant_with_min_max_vars, inputs, low, high
    )
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert 0 < np.count_nonzero(ours[1]) < ours[1].size  # some lie outside


def test_values_and_gradients_of_channels_are_tensorflows_bit_for_bit():
    inputs = tf.constant(RNG.normal(0, 1, (3, 3, 8, 16)), tf.float32)
    limit = tf.reduce_max(tf.abs(inputs), axis=[0, 1, 2]) * (1 + 1e-5)
    ours, theirs = both(
        round_channels,
        lambda inputs, limit: tf.quantization.fake_quant_with_min_max_vars_per_channel(
            inputs, -limit, limit, num_bits=8, narrow_range=True
        ),
        inputs,
        limit,
    )
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_no_op_of_the_gradients_is_refused_on_gpus():
    @tf.function
    def gradients(inputs, low, high):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            rounded = round_channels(round_in_range(inputs, low[0], high[0], True), high, True)
        return tape.gradient(rounded, inputs)

    ends = tf.constant([1.0, 2.0])
    graph = gradients.get_concrete_function(tf.zeros([3, 2]), -ends, ends).graph
    assert not {op.type for op in graph.get_operations()} & REFUSED_ON_GPUS
