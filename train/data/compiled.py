"""Functions that XLA compiles for this machine's processor, where it can."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Makes a function of tensors one pass over memory; elsewhere an op after the other.

    TensorFlow's wheels for TPUs have no XLA for the host, where the input pipeline runs.
    """

    @functools.cache
    def make(jit_compile: bool) -> Any:
        return tf.function(function, jit_compile=jit_compile, autograph=False)

    @functools.wraps(function)
    def call(*arguments: Any) -> tf.Tensor:
        return make(xla_works())(*arguments)

    return call


@functools.cache
def xla_works() -> bool:
    """Whether XLA compiles for this machine's processor; tried once."""
    with tf.init_scope(), tf.device('CPU:0'):
        try:
            tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(tf.zeros([]))
        except tf.errors.OpError:
            return False
    return True
