"""Exports a network to .tflite files with cards.

    python -m export.tflite --workdir=runs/photos --output=exported --quantize
    python -m export.tflite --model=small --num_classes=1001 --init=WEIGHTS.tflite \\
        --dataset=folder:PHOTOS --output=exported --quantize --method=ptq
"""

import os

from absl import flags
from ml_collections import config_flags

from configs.quantize import PARTS
from train import cli

FLAGS = flags.FLAGS
# Fields that flags set, with --init, and fields of PARTS that are the run's all the same.
_BY_FLAGS = {
    'model.name': '--model',
    'model.multiplier': '--multiplier',
    'model.resolution': '--resolution',
    'data.dataset': '--dataset',
    'data.data_dir': '--data_dir',
    'init.source': '--init',
}
_OF_THE_RUN = (
    'train.balanced',
    'train.class_weights',
    'distill.on',
    'distill.teacher',
    'quantize.source',
)


def define_flags() -> None:
    """Defines the flags."""
    config_flags.DEFINE_config_file(
        'config',
        os.path.join(os.path.dirname(__file__), '..', 'configs', 'quantize.py'),
        'Recipe of quantization; any value of it can be set by --config.a.b=VALUE.',
    )
    flags.DEFINE_string('workdir', None, 'Folder of a run of train.main.')
    flags.DEFINE_string('init', None, 'Weights instead of a run: a SOURCE as train.main takes it.')
    flags.DEFINE_string('model', 'large', 'With --init: network or spec file.')
    flags.DEFINE_float('multiplier', 1.0, 'With --init: width multiplier α.')
    flags.DEFINE_integer('resolution', 224, 'With --init: side of the input in pixels.')
    flags.DEFINE_integer('num_classes', None, 'With --init: 1001 is 1000 after a background.')
    flags.DEFINE_string('dataset', None, 'With --init: TFDS name, folder:PATH, tfrecord:PATH.')
    flags.DEFINE_string('output', None, 'Folder for the files.', required=True)
    flags.DEFINE_bool('quantize', False, 'Write the files of --scheme, too.')
    flags.DEFINE_list('scheme', ['int8'], 'Of int8, int16x8, dynamic, float16.')
    flags.DEFINE_enum('method', 'qat', ['qat', 'ptq'], 'int8: with training, or without.')
    flags.DEFINE_enum('io', 'uint8', ['uint8', 'int8', 'float32'], 'int8: input and output.')
    flags.DEFINE_string(
        'outputs',
        '',
        'What files give. Classification: logits or probabilities; detection: detections, '
        'fast_detections or raw; segmentation: logits, probabilities or labels. The first is usual.',
    )
    flags.DEFINE_enum(
        'hard_swish', 'auto', ['auto', 'fused', 'decomposed'], 'auto: float fused, int8 decomposed.'
    )
    flags.DEFINE_bool('metadata', False, 'For MediaPipe Tasks; see the README.')
    flags.DEFINE_string('labels', None, 'File with the name of each class, a line each.')
    flags.DEFINE_string('data_dir', '', "Where TFDS keeps prepared datasets; '' as the run had it.")
    flags.DEFINE_string('tpu', '', "For training: TPU name, grpc://HOST:PORT, or 'local'.")


def main() -> None:
    """Flags to one call."""
    if (FLAGS.workdir is None) == (FLAGS.init is None):
        raise ValueError('expected either --workdir, a run of train.main, or --init, weights')
    _check_flags()
    cli.import_tensorflow()
    from export import stage
    from export.card import describe
    from export.start import from_run, from_weights
    from train.card_file import read_card
    from train.classes import read_labels
    from train.strategy import make_strategy

    strategy = make_strategy(FLAGS.tpu)
    if FLAGS.workdir:
        trained = from_run(FLAGS.workdir, FLAGS.data_dir)
    else:
        trained = from_weights(_init_config(), FLAGS.num_classes)
    options = stage.Options(
        output=FLAGS.output,
        schemes=tuple(FLAGS.scheme) if FLAGS.quantize else (),
        method=FLAGS.method,
        io=FLAGS.io,
        outputs=FLAGS.outputs,
        hard_swish=FLAGS.hard_swish,
        metadata=FLAGS.metadata,
        labels=read_labels(FLAGS.labels) if FLAGS.labels else None,
    )
    for path in stage.export(trained, options, FLAGS.config, strategy) or ():
        print(describe(path, read_card(path) or {}))


def _check_flags() -> None:
    """Refuses what would be passed over in silence."""
    set_by_hand = sorted(config_flags.get_override_values(FLAGS['config']))
    if FLAGS.init is None:
        for name in ('model', 'multiplier', 'resolution', 'num_classes', 'dataset'):
            if FLAGS[name].present:
                raise ValueError(f'--{name} goes with --init; a run knows its own')
        for field in set_by_hand:
            if field.split('.')[0] not in PARTS or field in _OF_THE_RUN:
                raise ValueError(f'--config.{field} goes with train.main; a run knows its own')
    for field in set(set_by_hand) & set(_BY_FLAGS):
        raise ValueError(f'--config.{field} is what {_BY_FLAGS[field]} says; give that')
    if not FLAGS.quantize:
        for name in ('scheme', 'method', 'io'):
            if FLAGS[name].present:
                raise ValueError(f'--{name} goes with --quantize')


def _init_config():  # type: ignore[no-untyped-def]
    if FLAGS.dataset is None:
        raise ValueError('--init needs --dataset, for calibration and evaluation')
    config = FLAGS.config
    config.init.source = FLAGS.init
    config.model.name, config.model.multiplier = FLAGS.model, FLAGS.multiplier
    config.model.resolution = (FLAGS.resolution, FLAGS.resolution)
    config.data.dataset, config.data.data_dir = FLAGS.dataset, FLAGS.data_dir
    return config


if __name__ == '__main__':
    cli.run(main, define_flags, continues=True)
