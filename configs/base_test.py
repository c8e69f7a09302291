"""The recipes: base declares every field with the paper's value, the others only change values."""

import importlib
import pkgutil

import pytest

import configs
from configs import base

RECIPES = sorted(module.name for module in pkgutil.iter_modules(configs.__path__))
RECIPES = [name for name in RECIPES if not name.endswith('_test')]

# §6.1.1 of the paper, and the released code where it is silent.
PAPER = {
    'task': 'classification',
    'model.name': 'large',
    'model.multiplier': 1.0,
    'model.resolution': (224, 224),
    'model.input_channels': 3,
    'model.dropout': 0.2,  # the paper's 0.8 is kept, not dropped
    'augment.area': (0.05, 1.0),
    'augment.aspect': (0.75, 4 / 3),
    'augment.flip': True,
    'augment.eval_crop': 0.875,
    'train.batch_size': 4096,
    'train.label_smoothing': 0.1,
    'train.weight_decay': 1e-5,
    'optimizer.momentum': 0.9,
    'optimizer.rho': 0.9,
    'optimizer.epsilon': 0.002,
    'schedule.kind': 'exponential',
    'schedule.learning_rate': 0.1,
    'schedule.base_batch_size': 4096,
    'schedule.warmup_epochs': 5.0,
    'schedule.decay': 0.99,  # "decay rate of 0.01"
    'schedule.decay_epochs': 3.0,
    'ema.decay': 0.9999,
}


def recipe(name):
    return importlib.import_module(f'configs.{name}').get_config()


def fields(config):
    """Every leaf by its dotted name."""
    flat = {}
    for name, value in config.items():
        if hasattr(value, 'items'):
            flat.update({f'{name}.{inner}': leaf for inner, leaf in fields(value).items()})
        else:
            flat[name] = value
    return flat


def test_there_are_recipes_besides_the_base():
    assert {'base', 'demo', 'small_data'} <= set(RECIPES)


@pytest.mark.parametrize('name', sorted(PAPER))
def test_base_holds_the_papers_value(name):
    value = fields(base.get_config())[name]
    assert value == PAPER[name]
    assert type(value) is type(PAPER[name])


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_declares_the_fields_of_base_and_their_types(name):
    ours, declared = fields(recipe(name)), fields(base.get_config())
    assert {n: type(v) for n, v in ours.items()} == {n: type(v) for n, v in declared.items()}


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_is_locked(name):
    config = recipe(name)
    with pytest.raises((AttributeError, KeyError), match='Did you mean "epochs"'):
        config.train.epoch = 3.0


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_says_which_command_runs_it(name):
    doc = importlib.import_module(f'configs.{name}').__doc__
    assert '--workdir=' in doc
    if name == 'quantize':  # the export's own, which it reads where no other is named
        assert 'python -m export.tflite' in doc
        return
    assert 'python -m train.main' in doc
    assert name == 'base' or f'--config=configs/{name}.py' in doc


def test_two_calls_share_no_values():
    one = base.get_config()
    one.train.epochs = 1.0
    assert base.get_config().train.epochs == 600.0


def test_a_resolution_may_be_height_and_width():
    config = base.get_config()
    config.model.resolution = (96, 128)
    assert tuple(config.model.resolution) == (96, 128)
