import numpy as np
import pytest
import tensorflow as tf

from train.data.mixup import mix, mix_share


def test_an_image_and_its_label_are_blended_alike():
    images = np.arange(3 * 4, dtype=np.float32).reshape(3, 2, 2, 1)
    batch = {'image': images, 'label': [0, 1, 3], 'share': [1.0, 0.75, 0.5]}
    mixed = mix({name: tf.constant(value) for name, value in batch.items()}, num_classes=4)
    np.testing.assert_array_equal(mixed['label'], [0, 1, 3])
    np.testing.assert_array_equal(mixed['image'][0], images[0])
    np.testing.assert_allclose(mixed['image'][1], 0.75 * images[1] + 0.25 * images[0])
    np.testing.assert_allclose(
        mixed['target'], [[1, 0, 0, 0], [0.25, 0.75, 0, 0], [0, 0.5, 0, 0.5]]
    )


@pytest.mark.parametrize('alpha', [0.2, 1.0])
def test_shares_follow_the_beta_distribution(alpha):
    seeds = tf.stack([tf.zeros(4000, tf.int32), tf.range(4000)], axis=1)
    shares = tf.vectorized_map(lambda seed: mix_share(seed, alpha), seeds).numpy()
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_the_share_is_the_seeds():
    seed = tf.constant([3, 4])
    assert mix_share(seed, 0.2) == mix_share(seed, 0.2)
    assert mix_share(seed, 0.2) != mix_share(seed + 1, 0.2)
