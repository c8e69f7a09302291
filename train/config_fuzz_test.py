"""Flags and values of a config: a run that can start, or one clear line (a bounded budget)."""

import contextlib
import io
import json
import math
import os

import pytest
import tensorflow as tf
from absl import flags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_flags

from configs import base
from train import cli
from train.best import Best
from train.clock import LONGEST, Clock
from train.data.pipeline import train_batches
from train.divergence import Divergence
from train.loop import check_batches
from train.optimizer import MovingAverage, WarmupSchedule, make_optimizer
from train.prepare import prepare
from train.run import resolve_spec

CONFIGS = os.path.join(os.path.dirname(base.__file__))
RECIPES = ('base.py', 'detection.py', 'segmentation.py', 'finetune.py', 'small_data.py')


def budget(examples):
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=checks,
    )


def fields(config, prefix=''):
    """The names of all values of a config."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from fields(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}'


FIELDS = sorted(fields(base.get_config()))

# ---------------------------------------------------------------------------- the command line

words = st.one_of(
    st.text(max_size=10),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            '',
            '()',
            '(1,',
            '(1, 2)',
            '[3]',
            'None',
            'True',
            'nan',
            '1e999',
            "('a',)",
            '{}',
            '__import__',
        ]
    ),
)
names = st.sampled_from(
    [*FIELDS, 'model', 'train', 'train.batchsize', 'no.such', '', '.', '__class__']
)


def parse(arguments):
    """The config that a command line gives, or None where it ended with a line and exit code 2."""
    values = flags.FlagValues()
    error = io.StringIO()
    try:
        with contextlib.redirect_stderr(error), cli._one_line_errors(), cli._config_errors():
            default = os.path.join(CONFIGS, 'base.py')
            config_flags.DEFINE_config_file('config', default, flag_values=values)
            values(['program', *arguments])
            config = values['config'].value
            list(fields(config))  # a file that could not be loaded is told when it is first read
            return config
    except SystemExit as e:
        assert e.code == 2
        assert error.getvalue().startswith('error: ')
        assert len(error.getvalue().splitlines()) == 1
        return None


@budget(150)
@given(st.lists(st.builds('--config.{}={}'.format, names, words), max_size=3))
def test_any_override_is_a_value_or_a_clear_line(arguments):
    # A config flag reads its overrides off sys.argv.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', ['program', *arguments])
        config = parse(arguments)
    if config is not None:
        assert sorted(fields(config)) == FIELDS


@budget(50)
@given(st.sampled_from(RECIPES) | words, words)
def test_any_recipe_is_found_or_a_clear_line(name, word):
    file = os.path.join(CONFIGS, name) if name in RECIPES else name
    argument = f'--config={file}:{word}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', ['program', argument])
        config = parse([argument])
    if config is not None:
        assert sorted(fields(config)) == FIELDS


# ---------------------------------------------------------------------------------- the values

LARGE = 10**6  # more would be a network or a batch that no machine holds


def values_for(value):
    """Values of the type of one, most of them out of place."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(-3, 40) | st.sampled_from([-LARGE, LARGE])
    if isinstance(value, float):
        return st.floats() | st.floats(-2, 2)
    if isinstance(value, str):
        return st.text(max_size=6) | st.sampled_from(['none', 'full', 'cosine', 'poly', 'momentum'])
    inner = st.integers(-2, 70) | st.floats() | st.just(0.5)
    return st.lists(inner, max_size=3).map(tuple)


@st.composite
def changes(draw):
    """Fields of a config, and other values for them."""
    config = base.get_config()
    chosen = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True))
    found = {}
    for field in chosen:
        value = config
        for part in field.split('.'):
            value = value[part]
        found[field] = draw(values_for(value))
    return found


SKIPPED = {'task', 'data.dataset', 'data.data_dir', 'init.source', 'distill.teacher', 'model.name'}


def changed(config, found):
    """A config with other values; None where it refuses their type itself."""
    for field, value in found.items():
        *way, last = field.split('.')
        part = config
        for name in way:
            part = part[name]
        if field not in SKIPPED:
            try:
                part[last] = value
            except TypeError:
                return None
    return config


def start(config):
    """All that a run does before its first step but for building the network; one batch."""
    it = prepare(config, None)
    task = it.make_task(it.run)
    json.dumps(it.run.to_state(), allow_nan=False)
    config = it.run.config
    check_batches(config, it.source, tf.distribute.get_strategy())
    Divergence(config)
    Best('', config.eval.patience)
    clock = Clock(config, it.source.train.num_examples)
    assert 1 <= clock.steps_at_once(0) <= clock.total_steps
    schedule = WarmupSchedule(config.schedule, config.train.batch_size, 2.5, 8)
    make_optimizer(config.optimizer, schedule)
    none = tf.Module()
    none.weights = []
    MovingAverage(none, none, config.ema.decay)
    rates = [float(schedule(step)) for step in (0, 1, 7)]
    batch = next(iter(train_batches(it.source.train, task, batch_size=2, seed=config.seed)))
    return batch['image'], rates


def check(config, found):
    config = changed(config, found)
    if config is None:
        return
    try:
        image, rates = start(config)
    except (ValueError, OSError) as e:
        assert str(e)
        return
    assert image.dtype == tf.float32
    assert bool(tf.reduce_all(tf.math.is_finite(image)))
    assert all(math.isfinite(rate) or rate == math.inf for rate in rates)


@pytest.mark.parametrize('value', [math.inf, math.nan])
@pytest.mark.parametrize(
    'field', ['distill.weight', 'ema.decay', 'augment.area', 'finetune.unfreeze']
)
def test_a_number_that_is_not_finite_is_refused_by_name(tiny_config, field, value):
    inside = {'augment.area': (value, 1.0), 'finetune.unfreeze': ((0, 'head'), (value, 'stem'))}
    value = inside.get(field, value)
    with pytest.raises(ValueError, match=rf'^config\.{field} is .*; expected a finite number'):
        resolve_spec(changed(tiny_config(), {field: value}))


@pytest.mark.parametrize('field', ['train', 'eval', 'checkpoint'])
def test_so_many_epochs_that_nothing_comes_of_them_are_taken(tiny_config, field):
    found = {f'{field}.{"epochs" if field == "train" else "every_epochs"}': 1e308}
    config = changed(tiny_config(), found)
    start(config)
    assert LONGEST in vars(Clock(config, 10)).values()


@pytest.mark.slow
@budget(40)
@given(found=changes())
def test_any_value_of_classification_is_taken_or_a_clear_line(tiny_config, found):
    check(tiny_config(), found)


@pytest.mark.slow
@budget(20)
@given(found=changes())
def test_any_value_of_detection_is_taken_or_a_clear_line(tiny_detection_config, found):
    check(tiny_detection_config(), found)


@pytest.mark.slow
@budget(20)
@given(found=changes())
def test_any_value_of_segmentation_is_taken_or_a_clear_line(tiny_segmentation_config, found):
    check(tiny_segmentation_config(), found)
