"""Trains a network.

    python -m train.main --model=small --dataset=folder:photos --workdir=runs/photos \\
        --config=configs/small_data.py --config.train.epochs=60
"""

import os

from absl import flags
from ml_collections import config_flags

from train import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags."""
    config_flags.DEFINE_config_file(
        'config',
        os.path.join(os.path.dirname(__file__), '..', 'configs', 'base.py'),
        'Recipe; any value of it can be set by --config.a.b=VALUE.',
    )
    flags.DEFINE_string('model', None, 'Network: large, small, v2, … or a spec file.json.')
    flags.DEFINE_float('multiplier', None, 'Width multiplier α.')
    flags.DEFINE_list('resolution', None, 'Side of the input in pixels, or HEIGHT,WIDTH.')
    flags.DEFINE_string('dataset', None, 'TFDS name, folder:PATH, tfrecord:PATH or builtin:shapes.')
    flags.DEFINE_string('data_dir', None, 'Where TFDS keeps prepared datasets.')
    flags.DEFINE_string(
        'init',
        None,
        'Weights to start from: keras:imagenet, .h5, .keras, .safetensors, .pth, .tflite, .npz, a '
        'SavedModel, a TF1 checkpoint or the folder of a run.',
    )
    flags.DEFINE_string('workdir', None, 'Folder of the run; made or continued.', required=True)
    flags.DEFINE_string('tpu', '', "TPU: its name, grpc://HOST:PORT, or 'local' on a TPU VM.")


def main() -> None:
    """Flags to config to loop."""
    config = FLAGS.config
    for flag, part, field in (
        ('model', config.model, 'name'),
        ('multiplier', config.model, 'multiplier'),
        ('dataset', config.data, 'dataset'),
        ('data_dir', config.data, 'data_dir'),
        ('init', config.init, 'source'),
    ):
        if FLAGS[flag].value is not None:
            part[field] = FLAGS[flag].value

    if FLAGS.resolution is not None:
        config.model.resolution = _resolution(FLAGS.resolution)

    cli.import_tensorflow()
    from train import loop, strategy

    loop.run(config, FLAGS.workdir, strategy.make_strategy(FLAGS.tpu))


def _resolution(sides: list[str]) -> tuple[int, ...]:
    if not 1 <= len(sides) <= 2 or not all(side.strip().isdecimal() for side in sides):
        raise ValueError(f'--resolution is {",".join(sides)}; expected 224 or 192,256')
    return tuple(int(side) for side in (sides if len(sides) == 2 else sides * 2))


if __name__ == '__main__':
    cli.run(main, define_flags)
