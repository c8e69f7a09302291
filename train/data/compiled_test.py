import numpy as np
import tensorflow as tf

from train.data import augment, compiled


def distorted():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    draws = tf.random.stateless_uniform([2, augment.NUM_DRAWS], [1, 2])
    return augment.distort_colors(images, draws, 'full')


def test_xla_works_here():
    assert compiled.xla_works()


def test_without_xla_the_colours_are_the_same(monkeypatch):
    expected, make = distorted(), tf.function

    def refuse(*arguments, **words):
        """As TensorFlow for TPUs does on the host."""
        if words.get('jit_compile'):
            raise tf.errors.NotFoundError(None, None, 'no transfer manager for platform Host')
        return make(*arguments, **words)

    compiled.xla_works.cache_clear()
    monkeypatch.setattr(tf, 'function', refuse)
    assert not compiled.xla_works()
    np.testing.assert_allclose(distorted(), expected, atol=1e-5)
    compiled.xla_works.cache_clear()


def test_a_pipeline_asks_only_once_and_outside_of_its_graph():
    compiled.xla_works.cache_clear()
    batches = tf.data.Dataset.range(2).map(compiled.compiled(lambda x: x * 2))
    assert [int(x) for x in batches] == [0, 2]
    assert compiled.xla_works.cache_info().misses == 1
