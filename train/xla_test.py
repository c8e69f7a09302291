"""The training step of every task through XLA, which a TPU compiles it with."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train import trainer as trainer_module
from train.data import pipeline
from train.data.source import open_source
from train.evaluator import Evaluator
from train.run import Run, resolve_spec
from train.trainer import Trainer


@pytest.fixture(params=['classification', 'detection', 'segmentation'])
def config(request, tiny_config, tiny_detection_config, tiny_segmentation_config):
    """A small run of each task."""
    made = {'detection': tiny_detection_config, 'segmentation': tiny_segmentation_config}
    found = made.get(request.param, tiny_config)()
    found.train.batch_size, found.model.dropout = 2, 0.0  # whose masks XLA draws otherwise
    return found


def first_step(config, *, compiled):
    """Weights, averages and optimiser after the first step on the run's first batch, and its loss."""
    tf_keras.utils.set_random_seed(0)
    source = open_source(config.data, config.task)
    task = Run(config, resolve_spec(config), source.labels).make_task()
    trainer = Trainer(task, tf.distribute.get_strategy(), steps_per_epoch=10.0, total_steps=100)
    batches = pipeline.train_batches(source.train, task, batch_size=2, seed=0)
    assert all(spec.shape.is_fully_defined() for spec in batches.element_spec.values())
    step = tf.function(trainer.step, jit_compile=compiled)
    loss = float(step(next(iter(batches))))
    weights = trainer.model.get_weights() + trainer.averaged.get_weights()
    return loss, weights + trainer.optimizer.get_weights()


@pytest.mark.slow
def test_xla_takes_the_step_of_every_task(config, monkeypatch):
    # Forms that only a CPU gains from, and that no other device gets.
    monkeypatch.setattr(trainer_module, 'use_cpu_kernels', lambda model: None)
    expected_loss, expected = first_step(config, compiled=False)
    loss, found = first_step(config, compiled=True)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    for ours, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-4)


@pytest.fixture
def as_on_a_tpu(monkeypatch):
    """What replicas run goes through XLA, all of it and nothing else; bfloat16 is the usual type."""

    def run(function, args=()):
        return tf.function(function, jit_compile=True)(*args)

    monkeypatch.setattr(trainer_module, 'use_cpu_kernels', lambda model: None)
    monkeypatch.setattr(tf.distribute.get_strategy(), 'run', run)
    tf_keras.mixed_precision.set_global_policy('mixed_bfloat16')
    yield
    tf_keras.mixed_precision.set_global_policy('float32')


@pytest.mark.slow
@pytest.mark.parametrize('parts', [1, 2])
def test_xla_takes_training_and_evaluation_as_they_run_on_a_tpu(tiny_config, as_on_a_tpu, parts):
    config = tiny_config()
    config.train.parts, config.model.dropout = parts, 0.2
    source, strategy = open_source(config.data), tf.distribute.get_strategy()
    task = Run(config, resolve_spec(config), source.labels).make_task()
    trainer = Trainer(task, strategy, steps_per_epoch=10.0, total_steps=100)
    before = trainer.model.get_weights()
    size = config.train.batch_size // parts
    loss = trainer.train(
        iter(pipeline.train_batches(source.train, task, batch_size=size, seed=0)), 2
    )
    assert np.isfinite(loss)
    assert int(trainer.optimizer.iterations) == 2
    after = trainer.model.get_weights()
    for weight, old, new in zip(trainer.model.weights, before, after, strict=True):
        assert 'kernel' not in weight.name or np.any(old != new), weight.name
    metrics = trainer.evaluate(Evaluator(task, source.val, strategy, batch_size=4))
    assert all(np.isfinite(v) for values in metrics.values() for v in values.values())
