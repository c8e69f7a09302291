"""TFDS datasets, the built-in one among them, as a dataset of ours."""

import difflib
from typing import Any

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from train.data import shapes
from train.data.order import Stream, shuffled_in_turn
from train.data.source import Source, Split, kinds
from train.data.tfds_forms import FORMS, Form
from train.reasons import reason

VAL_NAMES = ('validation', 'val', 'test')
PROBED = 32  # examples of a test split, in which an annotation must be found


def open_builtin(name: str, config: ConfigDict, task: str) -> Source:
    """Opens `builtin:shapes`, writing it to `config.data_dir` the first time."""
    if name != 'shapes':
        raise ValueError(f'unknown dataset builtin:{name}; did you mean builtin:shapes?')
    builder = shapes.prepare(config.data_dir or _default_dir())
    return _open(f'builtin:{name}', builder, config, task)


def open_tfds(name: str, config: ConfigDict, task: str) -> Source:
    """Opens a TFDS dataset, downloading and preparing it the first time.

    Raises:
      ValueError: TFDS does not know the name, cannot prepare it, or it lacks what the task needs.
    """
    try:
        builder = tfds.builder(name, data_dir=config.data_dir or None)
    except (tfds.core.DatasetNotFoundError, ValueError) as e:
        near = difflib.get_close_matches(name, tfds.list_builders(), n=1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        raise ValueError(
            f'unknown dataset {name!r}; {hint}Expected a TFDS name, {kinds(task)}'
        ) from e
    try:
        builder.download_and_prepare()
    except Exception as e:  # TFDS and its downloaders raise of every kind
        raise ValueError(
            f'TFDS cannot prepare {name!r} ({type(e).__name__}: {reason(e)}); prepare '
            'it by hand and name its folder with --data_dir'
        ) from e
    return _open(name, builder, config, task)


def _default_dir() -> str:
    return tfds.core.constants.DATA_DIR


def _open(name: str, builder: tfds.core.DatasetBuilder, config: ConfigDict, task: str) -> Source:
    splits = builder.info.splits
    form = FORMS[task](name, builder.info.features, config)
    val = next((split for split in VAL_NAMES if split in splits), None)
    if 'train' not in splits or val is None:
        raise ValueError(f'{name} has splits {list(splits)}; expected train and validation or test')
    buffer = config.shuffle_buffer
    train = _split(builder, 'train', form, buffer, config.streams)
    judged = _split(builder, val, form, buffer)
    test = None
    if val != 'test' and 'test' in splits:
        test = _split(builder, 'test', form, buffer)
        probed = test.examples().take(PROBED).as_numpy_iterator()
        if not any(form.annotated(raw) for raw in probed):
            test = None  # its annotations are kept back, as those of COCO and ImageNet are
    return Source(name, form.labels, train, judged, test)


def _split(
    builder: tfds.core.DatasetBuilder, split: str, form: Form, buffer: int, streams: int = 1
) -> Split:
    count = builder.info.splits[split].num_examples
    if streams > count:
        raise ValueError(f'config.data.streams is {streams}; {split} has {count} examples')
    parts = [_stream(builder, part, form) for part in tfds.even_splits(split, streams)]
    order = shuffled_in_turn(parts, buffer)
    return Split(count, lambda: _stream(builder, split, form).examples, order)


def _stream(builder: tfds.core.DatasetBuilder, part: Any, form: Form) -> Stream:
    examples = builder.as_dataset(
        split=part,
        decoders=form.decoders,
        read_config=tfds.ReadConfig(try_autocache=False),
    ).map(form.raw)
    return Stream(examples, builder.info.splits[part].num_examples)
