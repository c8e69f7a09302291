"""Trains a network.

    python -m train.main --model=small --dataset=folder:photos --workdir=runs/photos \\
        --config=configs/small_data.py --config.train.epochs=60
    python -m train.main --task=detection --model=small --dataset=voc:boxes --workdir=runs/boxes \\
        --config=configs/detection_small_data.py
    python -m train.main --task=segmentation --model=small --dataset=folder:streets \\
        --config=configs/segmentation_small_data.py --resolution=360,480 --workdir=runs/streets

A number in masks that is no class (void, unlabelled) is 255 unless --config.data.ignore_label=N says
another one, or -1 that every number is a class, as 0 and 255 of black and white.
"""

import argparse
import os
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from train import cli

FLAGS = flags.FLAGS
# The paper's recipe of each task, where no other is named.
RECIPES = {
    'classification': 'base.py',
    'detection': 'detection.py',
    'segmentation': 'segmentation.py',
}


def define_flags() -> None:
    """Defines the flags."""
    define_recipe_flags()
    flags.DEFINE_string(
        'init',
        None,
        'Weights to start from: keras:imagenet, .h5, .keras, .safetensors, .pth, .tflite, .npz, a '
        'SavedModel, a TF1 checkpoint or the folder of a run.',
    )
    flags.DEFINE_string('workdir', None, 'Folder of the run; made or continued.', required=True)
    flags.DEFINE_string('tpu', '', "TPU: its name, grpc://HOST:PORT, or 'local' on a TPU VM.")
    flags.DEFINE_float(
        'workers_timeout', 300, 'Seconds to wait for the other workers of TF_CONFIG.'
    )


def define_recipe_flags() -> None:
    """Defines the flags that say what is trained, and on what."""
    config_flags.DEFINE_config_file(
        'config',
        os.path.join(os.path.dirname(__file__), '..', 'configs', RECIPES[_task(sys.argv)]),
        "Recipe, by default the paper's of the task; any value of it can be set by "
        '--config.a.b=VALUE.',
    )
    flags.DEFINE_enum('task', None, list(RECIPES), 'What is learned; the recipe tells.')
    flags.DEFINE_string('model', None, 'Network: large, small, v2, … or a spec file.json.')
    flags.DEFINE_float('multiplier', None, 'Width multiplier α.')
    flags.DEFINE_list('resolution', None, 'Side of the input in pixels, or HEIGHT,WIDTH.')
    flags.DEFINE_string(
        'dataset',
        None,
        'TFDS name, folder:PATH, tfrecord:PATH, builtin:shapes; of detection voc:PATH, cocojson:PATH.',
    )
    flags.DEFINE_string('data_dir', None, 'Where TFDS keeps prepared datasets.')


def main() -> None:
    """Flags to config to loop."""
    config = recipe()
    if FLAGS.init is not None:
        config.init.source = FLAGS.init
    cli.import_tensorflow()
    from train import loop, strategy

    loop.run(config, FLAGS.workdir, strategy.make_strategy(FLAGS.tpu, FLAGS.workers_timeout))


def recipe() -> ConfigDict:
    """The config with what the flags of `define_recipe_flags` say."""
    config = FLAGS.config
    for flag, part, field in (
        ('task', config, 'task'),
        ('model', config.model, 'name'),
        ('multiplier', config.model, 'multiplier'),
        ('dataset', config.data, 'dataset'),
        ('data_dir', config.data, 'data_dir'),
    ):
        if FLAGS[flag].value is not None:
            part[field] = FLAGS[flag].value

    if FLAGS.resolution is not None:
        config.model.resolution = _resolution(FLAGS.resolution)
    return config


def _task(arguments: list[str]) -> str:
    """The task that --task will be: the config flag reads its recipe when it is defined."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--task', '-task', nargs='?')
    task = parser.parse_known_args(arguments)[0].task
    return task if task in RECIPES else 'classification'  # the flag itself refuses others


def _resolution(sides: list[str]) -> tuple[int, ...]:
    if not 1 <= len(sides) <= 2 or not all(side.strip().isdecimal() for side in sides):
        raise ValueError(f'--resolution is {",".join(sides)}; expected 224 or 192,256')
    return tuple(int(side) for side in (sides if len(sides) == 2 else sides * 2))


if __name__ == '__main__':
    cli.run(main, define_flags, continues=True)
