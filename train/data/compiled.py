"""Functions that XLA compiles for this machine's processor, where it can."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Makes a function of tensors one pass over memory; elsewhere an op after the other.

    TensorFlow's wheels for TPUs have no XLA for the host, where the input pipeline runs.
    """
    make = functools.partial(tf.function, function, autograph=False)
    functions: dict[bool, Any] = {}

    @functools.wraps(function)
    def call(*arguments: Any) -> tf.Tensor:
        works = xla_works()
        if works not in functions:
            functions[works] = make(jit_compile=works)
        return functions[works](*arguments)

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
