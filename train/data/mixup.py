"""Mixup: each image of a batch blended with another one, and its label likewise (arXiv:1710.09412)."""

import tensorflow as tf

Batch = dict[str, tf.Tensor]


def mix_share(seed: tf.Tensor, alpha: float) -> tf.Tensor:
    """How much of an image stays: a number in [0, 1] from Beta(alpha, alpha); `seed` is int32 [2]."""
    folded = tf.random.experimental.stateless_fold_in(seed, 3)
    # tf has no stateless Beta; the share of one of two Gammas is one.
    pair = tf.random.stateless_gamma([2], folded, alpha=alpha)
    return pair[0] / tf.maximum(pair[0] + pair[1], 1e-12)


def mix(batch: Batch, num_classes: int) -> Batch:
    """Blends each image with the next one of the batch, which stands in random order.

    Args:
      batch: 'image' [N, H, W, C], 'label' [N] and 'share' [N] of `mix_share`.
      num_classes: k.

    Returns:
      'image', 'label' as before (of the first image), and 'target' [N, k], what is to be answered.
    """
    share = tf.cast(batch['share'], tf.float32)
    images, targets = batch['image'], tf.one_hot(batch['label'], num_classes)
    of_image = share[:, tf.newaxis, tf.newaxis, tf.newaxis]
    of_target = share[:, tf.newaxis]
    return {
        'image': of_image * images + (1.0 - of_image) * tf.roll(images, 1, axis=0),
        'label': batch['label'],
        'target': of_target * targets + (1.0 - of_target) * tf.roll(targets, 1, axis=0),
    }
