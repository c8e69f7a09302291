import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from train import loop, stages
from train.data.source import open_source
from train.run import Run, resolve_spec
from train.testing import assert_same_variables, at_step, send, variables
from train.trainer import Trainer

NAMES = ('stem', 'bneck_1', 'bneck_2', 'bneck_3', 'bneck_4', 'last', 'features', 'head')


def make_trainer(config):
    source = open_source(config.data, config.task)
    task = Run(config, resolve_spec(config), source.labels).make_task()
    trainer = Trainer(task, tf.distribute.get_strategy(), steps_per_epoch=2.5, total_steps=8)
    batches = loop.pipeline.train_batches(source.train, task, batch_size=4, seed=0)
    return trainer, iter(batches)


def moved(trainer, iterator):
    """The stages of which a weight moves in one step."""
    before = {weight.name: weight.numpy() for weight in trainer.model.weights}
    trainer.train(iterator, 1)
    names = [w.name for w in trainer.model.weights if np.any(w.numpy() != before[w.name])]
    known = [name.partition('/')[0] for name in names]
    return {name if name in NAMES else 'head' for name in known}


def test_stages_are_those_of_the_network(tiny_model, tiny_config):
    assert stages.Stages(tiny_model, tiny_config().finetune, 2.5).names == NAMES


def test_a_detectors_head_learns_with_everything_that_was_not_trained(tiny_detection_config):
    config = tiny_detection_config()
    config.finetune.unfreeze = ((0.0, 'head'), (0.4, 'last'))
    trainer, iterator = make_trainer(config)
    assert trainer.stages.names == (*NAMES[:6], 'head')
    assert moved(trainer, iterator) == {'head'}
    assert moved(trainer, iterator) == {'last', 'head'}


def test_without_a_plan_everything_learns(tiny_config):
    trainer, iterator = make_trainer(tiny_config())
    assert moved(trainer, iterator) == set(NAMES)


def test_stages_join_from_the_head_down(tiny_config):
    config = tiny_config()
    config.finetune.unfreeze = ((0.0, 'head'), (0.4, 'bneck_4'), (0.8, 'stem'))
    trainer, iterator = make_trainer(config)
    assert trainer.stages.steps_left(0) == 1
    # BN statistics of a frozen stage stay, too, or `moved` would name it.
    assert moved(trainer, iterator) == {'head'}
    assert moved(trainer, iterator) == {'bneck_4', 'last', 'features', 'head'}
    assert moved(trainer, iterator) == set(NAMES)
    assert trainer.stages.steps_left(3) is None


def test_frozen_batch_normalization_keeps_everything(tiny_config):
    config = tiny_config()
    config.finetune.freeze_batch_norm = True
    trainer, iterator = make_trainer(config)
    before = {w.name: w.numpy() for w in trainer.model.weights}
    trainer.train(iterator, 1)
    changed = {w.name for w in trainer.model.weights if np.any(w.numpy() != before[w.name])}
    assert not any('/bn/' in name for name in changed)
    assert 'last/conv/kernel:0' in changed


def test_on_gpus_frozen_batch_normalization_is_not_one_op(tiny_config, monkeypatch):
    """Whose gradient TensorFlow refuses there, for want of a deterministic kernel."""
    config = tiny_config()
    config.finetune.freeze_batch_norm = True
    moves = []
    for has_gpus in (False, True):
        monkeypatch.setattr(stages, '_has_gpus', lambda found=has_gpus: found)
        tf.keras.utils.set_random_seed(0)
        trainer, iterator = make_trainer(config)
        trainer.stages.enter(trainer.stages.phase_at(0))
        images = next(iterator)['image']

        @tf.function
        def gradients(images, model=trainer.model):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(images, training=True) ** 2)
            return tape.gradient(loss, model.trainable_variables)

        graph = gradients.get_concrete_function(images).graph
        fused = [op.name for op in graph.get_operations() if op.type == 'FusedBatchNormGradV3']
        assert bool(fused) is not has_gpus
        moves.append([g.numpy() for g in gradients(images)])
    for one, other in zip(*moves, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(one).max())


def test_a_heads_own_batch_normalization_is_not_frozen(tiny_segmentation_config):
    config = tiny_segmentation_config()
    config.finetune.freeze_batch_norm = True
    trainer, iterator = make_trainer(config)
    before = {w.name: w.numpy() for w in trainer.model.weights}
    trainer.train(iterator, 1)
    changed = {w.name for w in trainer.model.weights if np.any(w.numpy() != before[w.name])}
    norms = {name.partition('/bn/')[0] for name in changed if '/bn/' in name}
    assert norms == {'lraspp/branch'}


def test_a_stage_learns_by_its_own_rate(tiny_config):
    """One step from the same weights on the same batch: the rate is the only difference."""
    steps = {}
    for backbone, decay in ((1.0, 1.0), (0.25, 0.5)):
        config = tiny_config()
        config.finetune.backbone_rate, config.finetune.stage_decay = backbone, decay
        config.seed = 3
        tf.keras.utils.set_random_seed(0)
        trainer, iterator = make_trainer(config)
        before = [w.numpy() for w in trainer.model.trainable_variables]
        trainer.train(iterator, 1)
        after = [w.numpy() for w in trainer.model.trainable_variables]
        names = [w.name for w in trainer.model.trainable_variables]
        steps[decay] = {n: a - b for n, a, b in zip(names, after, before, strict=True)}
    for name, step in steps[1.0].items():
        stage = name.partition('/')[0]
        distance = len(NAMES) - 1 - NAMES.index(stage if stage in NAMES else 'head')
        expected = step * (0.25 * 0.5**distance if distance else 1)
        np.testing.assert_allclose(steps[0.5][name], expected, rtol=1e-2, atol=2e-7, err_msg=name)


@pytest.mark.parametrize('optimizer', ['rmsprop', 'momentum'])
def test_a_run_through_phases_is_continued_bit_for_bit(
    tiny_config, tmp_path, monkeypatch, optimizer
):
    config = tiny_config()
    config.optimizer.kind = optimizer
    config.finetune.unfreeze = ((0.0, 'head'), (1.2, 'bneck_3'))
    config.train.steps_per_execution = 100  # a phase ends an execution
    loop.run(config, str(tmp_path / 'whole'))
    expected = variables(tmp_path / 'whole')
    for step in (2, 3, 5):  # in the first phase, at its end, in the second
        workdir = tmp_path / f'stopped_{step}'
        config.train.steps_per_execution = 1
        with monkeypatch.context() as patched:
            at_step(patched, step, send(signal.SIGTERM))
            assert loop.run(config, str(workdir)) is None
        assert loop.run(config, str(workdir)) is not None
        assert_same_variables(workdir, expected)
        shutil.rmtree(workdir)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('backbone_rate', 1.5, r'config.finetune.backbone_rate is 1.5; expected in \(0, 1\]'),
        ('stage_decay', 0.0, r'config.finetune.stage_decay is 0.0; expected in \(0, 1\]'),
        ('unfreeze', ((0.0, 'bneck_9'),), "names 'bneck_9'; expected one of stem, bneck_1, "),
        ('unfreeze', ((1.0, 'head'),), r'expected \(epoch, stage\) from epoch 0 on, in rising'),
        ('unfreeze', ((0.0, 'head'), (0.1, 'stem')), 'in rising order and a step apart'),
        (
            'unfreeze',
            (0, 'head'),
            r"unfreeze is \(0, 'head'\); expected pairs such as \(\(0, 'head'\)",
        ),
        ('unfreeze', (('a', 'head'),), 'expected pairs such as'),
    ],
)
def test_a_wrong_plan_is_refused(tiny_model, tiny_config, field, value, message):
    config = tiny_config().finetune
    config[field] = value
    with pytest.raises(ValueError, match=message):
        stages.Stages(tiny_model, config, 2.5)
