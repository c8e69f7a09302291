import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.data.balance import class_weights
from train.data.source import Split, listed_split, open_source


def test_every_class_counts_alike(tiny_config):
    source = open_source(tiny_config().data)  # 4, 3 and 3 images
    weights = class_weights(source.train, 3)
    assert weights == pytest.approx((10 / 12, 10 / 9, 10 / 9))
    assert 4 * weights[0] == pytest.approx(3 * weights[1])


def test_an_empty_class_is_named(tiny_config):
    config = tiny_config().data
    config.background = True
    source = open_source(config)
    with pytest.raises(ValueError, match='class 0 has no training example, so that no weight'):
        class_weights(source.train, len(source.labels))


def of_masks(*masks: list[int]) -> Split:
    """One row of numbers an image; a class's number is its own, from 200 on it is ignored."""
    encoded = []
    for mask in masks:
        buffer = io.BytesIO()
        Image.fromarray(np.uint8([mask])).save(buffer, 'PNG')
        encoded.append(buffer.getvalue())
    table = np.arange(256, dtype=np.uint8)
    table[200:] = 255
    return listed_split(
        len(masks), lambda n: {'mask': tf.constant(encoded)[n], 'mask_classes': tf.constant(table)}
    )


def test_pixels_count_where_there_are_masks():
    weights = class_weights(of_masks([0, 0, 0, 1], [0, 1, 2, 2, 250]), 3)
    assert weights == pytest.approx((8 / 12, 8 / 6, 8 / 6))
    with pytest.raises(ValueError, match='class 1 has no training example'):
        class_weights(of_masks([0, 0, 2]), 3)


def test_boxes_have_no_weights():
    split = listed_split(2, lambda n: {'boxes': tf.zeros([0, 4])})
    with pytest.raises(
        ValueError, match=r'boxes have no weights of classes; set --config.train.bal'
    ):
        class_weights(split, 3)
