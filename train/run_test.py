import importlib
import json

import ml_collections
import numpy as np
import pytest

from train import checkpoint
from train.run import Run, differences, load_trained, resolve_spec
from train.trainer import Trainer

LABELS = ('blue', 'green', 'red')


def make_run(config):
    return Run(config, resolve_spec(config), LABELS)


def state_of(config):
    return json.loads(json.dumps(make_run(config).to_state()))


# ----------------------------------------------------------------------------- the config


@pytest.mark.parametrize(
    'name',
    [
        'base',
        'demo',
        'detection',
        'detection_small_data',
        'quantize',
        'segmentation',
        'segmentation_small_data',
        'small_data',
    ],
)
def test_every_recipe_names_a_network(name):
    config = importlib.import_module(f'configs.{name}').get_config()
    spec = resolve_spec(config)
    assert spec.name == config.model.name
    assert spec.dropout == config.model.dropout


def test_the_multiplier_and_the_dropout_reach_the_network(tiny_config):
    config = tiny_config()
    config.model.name = 'small'
    config.model.multiplier = 2.0
    config.model.dropout = 0.4
    spec = resolve_spec(config)
    assert spec.stem.filters == 32
    assert spec.dropout == 0.4


def test_a_detectors_network_is_widened_and_halved_as_under_a_head():
    config = importlib.import_module('configs.detection').get_config()
    config.detection.halve_tail = True
    spec = resolve_spec(config)
    assert (spec.blocks[12].expansion, spec.blocks[12].filters) == (672, 80)  # C4 is whole
    assert spec.last.filters == 480
    config.detection.halve_tail = False
    config.model.name, config.model.multiplier = 'v2', 0.5
    assert resolve_spec(config).last.filters == 640
    config.task = 'classification'
    assert resolve_spec(config).last.filters == 1280


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('task', 'clasification', "unknown task 'clasification'; did you mean 'classification'"),
        ('model.name', 'smal', "unknown model 'smal'; did you mean 'small'"),
        ('model.name', 'no/such.json', 'no spec file no/such.json'),
        ('model.multiplier', 0.0, 'multiplier is 0.0; expected a width multiplier above 0'),
        ('model.multiplier', -1.0, 'multiplier is -1.0; expected a width multiplier above 0'),
        ('model.multiplier', float('nan'), 'multiplier is nan'),
        ('model.resolution', (31, 31), r'resolution is \(31, 31\); expected .* at least 32'),
        ('model.dropout', 1.0, r'dropout is 1.0; expected a rate in \[0, 1\)'),
        ('train.batch_size', 0, 'config.train.batch_size is 0; expected above 0'),
        ('train.epochs', -1.0, 'config.train.epochs is -1.0; expected above 0'),
        ('train.epochs', float('nan'), 'config.train.epochs is nan; expected above 0'),
        ('train.steps_per_execution', 0, 'config.train.steps_per_execution is 0; expected above'),
        ('eval.batch_size', -4, 'config.eval.batch_size is -4; expected above 0'),
        ('eval.every_epochs', 0.0, 'config.eval.every_epochs is 0.0; expected above 0'),
        ('checkpoint.every_epochs', 0.0, 'config.checkpoint.every_epochs is 0.0; expected above 0'),
        ('checkpoint.keep', 0, 'config.checkpoint.keep is 0; expected above 0'),
        ('log_every_steps', 0, 'config.log_every_steps is 0; expected above 0'),
        ('train.weight_decay', -1.0, 'config.train.weight_decay is -1.0; expected at least 0'),
        ('seed', -1, r'config.seed is -1; expected in \[0, 2\^32\)'),
        ('train.precision', 'mixed_float16', 'expected float32 or mixed_bfloat16'),
    ],
)
def test_a_value_out_of_range_is_refused(tiny_config, field, value, message):
    config = tiny_config()
    with config.unlocked():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        resolve_spec(config)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('augment.color', 'fats', r'config\.augment\.color is .fats.; expected one of none, fast'),
        ('augment.eval_crop', 0.0, r'config\.augment\.eval_crop is 0\.0; expected'),
        ('augment.eval_crop', 1.5, r'config\.augment\.eval_crop is 1\.5; expected'),
        ('train.label_smoothing', 1.5, r'config\.train\.label_smoothing is 1\.5; expected'),
    ],
)
def test_a_value_that_the_task_cannot_use_is_refused(tiny_config, field, value, message):
    config = tiny_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        make_run(config).make_task()


def test_an_oblong_resolution_reaches_the_network(tiny_config):
    config = tiny_config()
    with config.unlocked(), config.ignore_type():
        config.model.resolution = (32, 64)
    assert make_run(config).make_task().build().input_shape == (None, 32, 64, 3)


# ---------------------------------------------------------------------------- differences


def test_a_run_comes_back_from_its_state(tiny_config):
    run = make_run(tiny_config())
    again = Run.from_state(state_of(tiny_config()))
    assert again.spec == run.spec
    assert again.labels == LABELS
    assert json.loads(json.dumps(again.to_state())) == state_of(tiny_config())


def test_fields_that_are_newer_than_a_run_have_the_values_of_base(tiny_config):
    state = state_of(tiny_config())
    del state['config']['distill'], state['config']['quantize']['observe_epochs']
    del state['config']['data']['background']
    config = Run.from_state(state).config
    assert config.distill.weight == 0.0
    assert config.quantize.observe_epochs == 0.0
    assert config.quantize.calibration_images == 400
    assert config.data.background is False
    assert config.data.dataset == tiny_config().data.dataset  # its own values stay
    assert config.ema.decay == 0.9
    again = json.loads(json.dumps(Run.from_state(state).to_state()))
    assert differences(state_of(tiny_config()), again) == []
    assert 'distill' not in state['config']


def test_the_same_run_has_no_differences(tiny_config):
    assert differences(state_of(tiny_config()), state_of(tiny_config())) == []


@pytest.mark.parametrize(
    ('field', 'value'),
    [('train.batch_size', 5), ('seed', 3), ('augment.area', (0.1, 1.0)), ('ema.decay', 0.5)],
)
def test_a_changed_value_is_named_with_both_sides(tiny_config, field, value):
    other = tiny_config()
    before = other
    for part in field.split('.'):
        before = before[part]
    other.update_from_flattened_dict({field: value})
    as_json = json.loads(json.dumps([before, value]))
    expected = f'config.{field}: {as_json[0]!r} there, {as_json[1]!r} here'
    assert differences(state_of(other), state_of(tiny_config())) == [expected]


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('checkpoint.every_epochs', 9.0),
        ('checkpoint.keep', 9),
        ('log_every_steps', 9),
        ('data.data_dir', 'x'),
    ],
)
def test_what_does_not_touch_the_result_may_change(tiny_config, field, value):
    other = tiny_config()
    other.update_from_flattened_dict({field: value})
    assert differences(state_of(other), state_of(tiny_config())) == []


def test_other_classes_are_a_difference(tiny_config):
    state = state_of(tiny_config())
    [difference] = differences({**state, 'labels': ['x', 'y']}, state)
    assert difference.startswith("labels: ['blue', 'green', 'red'] there")


def test_another_network_is_told_in_a_line_that_can_be_read(tiny_config):
    # Not by printing both tables of layers.
    small, large = tiny_config(), tiny_config()
    small.model.name, large.model.name = 'small', 'large'
    found = differences(state_of(large), state_of(small))
    assert "config.model.name: 'small' there, 'large' here" in found
    assert len('; '.join(found)) < 1000


# --------------------------------------------------------------------------- load_trained


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A saved trainer whose averaged weights are not its raw ones, and its folder."""
    import tensorflow as tf

    config = tiny_config()
    run = make_run(config)
    trainer = Trainer(run.make_task(), tf.distribute.get_strategy(), 2.5, 8)
    for weight in trainer.averaged.weights:
        weight.assign(tf.random.stateless_uniform(weight.shape, [1, 2]))
    folder = tmp_path_factory.mktemp('trained')
    state = {**run.to_state(), 'step': 4}
    checkpoint.save(str(folder / 'checkpoints'), trainer.checkpoint, state, keep=3)
    return trainer, folder


def test_the_averaged_weights_are_what_is_loaded(trained):
    trainer, folder = trained
    run, model, state = load_trained(str(folder))
    assert state['step'] == 4
    assert run.labels == LABELS
    assert isinstance(run.config, ml_collections.ConfigDict)
    for ours, averaged, raw in zip(
        model.weights, trainer.averaged.weights, trainer.model.weights, strict=True
    ):
        np.testing.assert_array_equal(ours, averaged)
        assert (ours.numpy() != raw.numpy()).any()


@pytest.mark.parametrize('folder', ['.', 'not/there'])
def test_a_folder_without_a_run_is_refused(tmp_path, folder):
    with pytest.raises(
        ValueError, match=r'has no checkpoint; expected the --workdir of a run of t'
    ):
        load_trained(str(tmp_path / folder))


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    import tensorflow as tf

    objects = tf.train.Checkpoint(value=tf.Variable(1.0))
    checkpoint.save(str(tmp_path / 'checkpoints'), objects, {'step': 1}, keep=1)
    with pytest.raises(ValueError, match='step_00000001 is no checkpoint of a run'):
        load_trained(str(tmp_path))
