import pytest

from train.data.balance import class_weights
from train.data.source import open_source


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
