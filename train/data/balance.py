"""Weights of classes that make rare ones count as much as common ones."""

import numpy as np
import tensorflow as tf

from train.data.mask_augment import eval_mask
from train.data.source import Split


def class_weights(split: Split, num_classes: int) -> tuple[float, ...]:
    """n / (k · n_c) for each class c: the mean weight is 1.

    Counted are the examples of classification, and of segmentation the pixels that are not ignored.

    Raises:
      ValueError: a class has no example or pixel, or examples have neither labels nor masks.
    """
    examples = split.examples()

    def count(raw: dict[str, tf.Tensor]) -> tf.Tensor:
        labels = raw['label'] if 'label' in raw else eval_mask(raw)
        labels = tf.cast(tf.reshape(labels, [-1]), tf.int32)
        # What is ignored lies beyond the classes and is not counted.
        return tf.math.bincount(labels, minlength=num_classes, maxlength=num_classes)

    if not {'label', 'mask'} & set(examples.element_spec):
        raise ValueError('boxes have no weights of classes; set --config.train.balanced=False')
    counted = examples.map(count, num_parallel_calls=tf.data.AUTOTUNE)
    counts = np.zeros(num_classes, np.int64)
    for of_one in counted.as_numpy_iterator():
        counts += of_one
    if not counts.all():
        raise ValueError(
            f'class {int(np.argmin(counts))} has no training example, so that no weight balances it; '
            'give it some, or set --config.train.balanced=False'
        )
    return tuple((counts.sum() / (num_classes * counts)).tolist())
