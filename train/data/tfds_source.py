"""TFDS datasets, the built-in one among them, as a dataset of ours."""

import difflib

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from train.data import shapes
from train.data.source import Source, Split, kinds, shuffled_in_memory
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
    train, judged = (_split(builder, split, form, config) for split in ('train', val))
    test = None
    if val != 'test' and 'test' in splits:
        test = _split(builder, 'test', form, config)
        probed = test.examples().take(PROBED).as_numpy_iterator()
        if not any(form.annotated(raw) for raw in probed):
            test = None  # its annotations are kept back, as those of COCO and ImageNet are
    return Source(name, form.labels, train, judged, test)


def _split(builder: tfds.core.DatasetBuilder, split: str, form: Form, config: ConfigDict) -> Split:
    examples = builder.as_dataset(
        split=split,
        decoders=form.decoders,
        read_config=tfds.ReadConfig(try_autocache=False),
    ).map(form.raw)
    num_examples = builder.info.splits[split].num_examples
    return Split(
        num_examples,
        lambda: examples,
        shuffled_in_memory(examples, num_examples, config.shuffle_buffer),
    )
