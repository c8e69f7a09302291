"""TFDS datasets, the built-in one among them, as a dataset of ours."""

import difflib

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from train.data import shapes
from train.data.source import Source, Split, shuffled_in_memory

VAL_NAMES = ('validation', 'val', 'test')


def open_builtin(name: str, config: ConfigDict) -> Source:
    """Opens `builtin:shapes`, writing it to `config.data_dir` the first time."""
    if name != 'shapes':
        raise ValueError(f'unknown dataset builtin:{name}; did you mean builtin:shapes?')
    return _open(f'builtin:{name}', shapes.prepare(config.data_dir or _default_dir()), config)


def open_tfds(name: str, config: ConfigDict) -> Source:
    """Opens a TFDS dataset, downloading and preparing it the first time.

    Raises:
      ValueError: TFDS does not know the name, cannot prepare it, or it has no image and label.
    """
    try:
        builder = tfds.builder(name, data_dir=config.data_dir or None)
    except (tfds.core.DatasetNotFoundError, ValueError) as e:
        near = difflib.get_close_matches(name, tfds.list_builders(), n=1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        raise ValueError(
            f'unknown dataset {name!r}; {hint}Expected a TFDS name, folder:PATH, tfrecord:PATH or '
            'builtin:shapes'
        ) from e
    try:
        builder.download_and_prepare()
    except Exception as e:  # TFDS and its downloaders raise of every kind
        raise ValueError(
            f'TFDS cannot prepare {name!r} ({type(e).__name__}: {str(e).splitlines()[0]}); prepare '
            'it by hand and name its folder with --data_dir'
        ) from e
    return _open(name, builder, config)


def _default_dir() -> str:
    return tfds.core.constants.DATA_DIR


def _open(name: str, builder: tfds.core.DatasetBuilder, config: ConfigDict) -> Source:
    features, splits = builder.info.features, builder.info.splits
    if 'image' not in features or 'label' not in features:
        raise ValueError(f'{name} has features {list(features)}; expected image and label')
    if not isinstance(features['label'], tfds.features.ClassLabel):
        raise ValueError(f'{name}: its label is {features["label"]}; expected a ClassLabel')
    val = next((split for split in VAL_NAMES if split in splits), None)
    if 'train' not in splits or val is None:
        raise ValueError(f'{name} has splits {list(splits)}; expected train and validation or test')
    return Source(
        name,
        tuple(features['label'].names),
        _split(builder, 'train', config),
        _split(builder, val, config),
    )


def _split(builder: tfds.core.DatasetBuilder, split: str, config: ConfigDict) -> Split:
    examples = builder.as_dataset(
        split=split,
        # Images are decoded and cropped in one op later, masks by the task that wants them.
        decoders={
            name: tfds.decode.SkipDecoding()
            for name in ('image', 'mask')
            if name in builder.info.features
        },
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    num_examples = builder.info.splits[split].num_examples
    return Split(
        num_examples,
        lambda: examples,
        shuffled_in_memory(examples, num_examples, config.shuffle_buffer),
    )
