"""Gives batch normalisations that were folded into convolutions their statistics back.

A released .tflite file or a dequantized archive has none: what is left of a normalisation is a bias.
Training with the statistics of batches would then scale every channel to variance 1, which the weights
have never seen. So the statistics of some images are measured, and scale and offset set to undo them:
the network answers as before, and training may go on from there.
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tf_keras

IMAGES = 512  # that are enough: each gives a channel at least one value a place


def folded_norms(model: tf_keras.Model) -> list[tf_keras.layers.BatchNormalization]:
    """The normalisations that do nothing but add their offset."""
    norms = [x for x in model.layers if isinstance(x, tf_keras.layers.BatchNormalization)]
    return [norm for norm in norms if _is_folded(norm)]


def unfold_norms(model: tf_keras.Model, batches: Iterable[tf.Tensor]) -> int:
    """Sets the folded normalisations of a model by what they meet in some images.

    Args:
      model: its answers in evaluation stay as they are.
      batches: images [N, H, W, C] as in training.

    Returns:
      How many normalisations there were.
    """
    norms = folded_norms(model)
    if not norms:
        return 0
    # Folded they pass everything on, so that one pass tells what each of them meets.
    inputs = tf_keras.Model(model.input, [norm.input for norm in norms])
    sums = [np.zeros((2, norm.input_shape[-1])) for norm in norms]
    count = np.zeros(len(norms))
    moments = tf.function(
        lambda images: [
            (tf.reduce_sum(x, [0, 1, 2]), tf.reduce_sum(x * x, [0, 1, 2]), tf.size(x[..., 0]))
            for x in inputs(images, training=False)
        ]
    )
    for images in batches:
        for index, (total, squares, size) in enumerate(moments(images)):
            sums[index] += np.stack([total, squares])
            count[index] += size
    for norm, (total, squares), size in zip(norms, sums, count, strict=True):
        mean = total / size
        variance = np.maximum(squares / size - mean**2, 0.0)
        _, bias, _, _ = norm.get_weights()
        norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])
    return len(norms)


def _is_folded(norm: tf_keras.layers.BatchNormalization) -> bool:
    gamma, _, mean, variance = norm.get_weights()
    # As train.weights.carry leaves them.
    passed = np.float32(1) - np.float32(norm.epsilon)
    return bool(np.all(gamma == 1) and np.all(mean == 0) and np.all(variance == passed))
