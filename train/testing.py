"""What tests of runs share: the arrays that a run left, and a hand in the middle of one."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from train import checkpoint
from train.trainer import Trainer

OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'  # the one entry of a checkpoint that is no array


def variables(workdir: Path) -> dict[str, np.ndarray]:
    """Every array of the newest checkpoint by its name: both models, slots and the step."""
    saved = checkpoint.latest(str(workdir / 'checkpoints'))
    assert saved is not None
    reader = tf.train.load_checkpoint(saved.variables)
    names = [name for name in reader.get_variable_to_shape_map() if name != OBJECT_GRAPH]
    return {name: reader.get_tensor(name) for name in names}


def assert_same_variables(workdir: Path, expected: dict[str, np.ndarray]) -> None:
    """The newest checkpoint holds `expected`, bit for bit."""
    found = variables(workdir)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Calls `action` when the training step of that number, from one, has been taken."""
    train = Trainer.train

    def spied(trainer: Trainer, iterator: tf.data.Iterator, count: int) -> float:
        loss = train(trainer, iterator, count)
        if int(trainer.optimizer.iterations.numpy()) == number:
            action()
        return loss

    monkeypatch.setattr(Trainer, 'train', spied)


def send(number: int) -> Callable[[], None]:
    """Sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)
