"""What people use instead of this project's fine-tuning: Keras's guide to transfer learning.

    python -m benchmark.keras_finetune --workdir=runs/photos --output=runs/photos_keras/results.json
    python -m benchmark.keras_finetune --init=WEIGHTS --dataset=folder:photos --resolution=128 \\
        --seconds=900 --output=results.json

tf_keras.applications.MobileNetV3Small gets the weights that a run of ours starts from, pooling,
dropout and a Dense layer. As in https://keras.io/guides/transfer_learning/: whole images, resized and
kept in memory, are flipped and turned by layers; the head is trained by Adam at its default rate
beside a frozen base, then everything at 1e-5, the base always called with training=False. The guide
gives these phases 20 and 10 epochs, so they get two thirds and one third of the time.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from benchmark.keras_peer import MODEL
from benchmark.main import check_output
from configs import base
from train import cli
from train.files import write_json

if TYPE_CHECKING:
    from ml_collections import ConfigDict

FLAGS = flags.FLAGS
NETWORKS = ('small', 'small_1024')  # of SPECS, that MODEL's base is
RATES = {'frozen': 1e-3, 'unfrozen': 1e-5}  # of Adam: its default, then that of the guide


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('workdir', None, 'A finished run of ours to stand beside.')
    flags.DEFINE_string('init', None, 'Without --workdir: a SOURCE as train.main takes it.')
    flags.DEFINE_string('dataset', None, 'Without --workdir: TFDS name, folder:PATH, …')
    flags.DEFINE_integer(
        'resolution', 224, 'Without --workdir: side of the input in pixels.', lower_bound=32
    )
    flags.DEFINE_float(
        'seconds', None, "Of training, both phases; the run's own by default.", lower_bound=0.0
    )
    flags.DEFINE_float(
        'frozen_share', 2 / 3, 'Of that time, with a frozen base.', lower_bound=0.0, upper_bound=1.0
    )
    flags.DEFINE_integer('batch_size', 32, 'Images a step.', lower_bound=1)
    flags.DEFINE_integer('seed', 0, 'Of the head, order, flips, turns and dropout.')
    flags.DEFINE_string('output', 'results.json', 'Where the figures go, as JSON.')


def main() -> None:
    """Reads the flags, trains and writes the JSON."""
    _check_flags()
    output = Path(FLAGS.output)
    check_output(output, [])  # before the minutes of training
    cli.import_tensorflow()
    ours = read_run(FLAGS.workdir) if FLAGS.workdir else None
    config = ours.config if ours else _config_of_flags()
    seconds = ours.seconds if ours and FLAGS.seconds is None else FLAGS.seconds
    results = fit(
        config,
        seconds=seconds,
        frozen_share=FLAGS.frozen_share,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
    )
    results['ours'] = ours and ours.to_json()
    write_json(output, results)
    said = f'Keras {_in_words(results)}'
    print(f'{said}; {ours.workdir} {_in_words(ours.to_json())}' if ours else said)
    print(f'written to {output}')


def _check_flags() -> None:
    """Refuses what would be passed over in silence, and asks for what is missing."""
    for name in ('init', 'dataset', 'resolution'):
        if FLAGS.workdir and FLAGS[name].present:
            raise ValueError(f'--{name} goes without --workdir; a run knows its own')
    for name in ('init', 'dataset', 'seconds'):
        if not FLAGS.workdir and FLAGS[name].value is None:
            raise ValueError(f'expected --{name}, or --workdir of a run to take it from')


def _config_of_flags() -> 'ConfigDict':
    config = base.get_config()
    config.model.name = 'small'
    config.model.resolution = (FLAGS.resolution, FLAGS.resolution)
    config.init.source, config.data.dataset = FLAGS.init, FLAGS.dataset
    return config


def _in_words(results: dict[str, Any]) -> str:
    return (
        f'top-1 {results["top1"]:.4f} after {results["seconds"]:.0f} s and '
        f'{results["images_seen"]:,} images'
    )


@dataclasses.dataclass(frozen=True)
class Ours:
    """A run of train.main that has ended.

    Attributes:
      workdir: its folder.
      config: as it was trained.
      top1: of the averaged weights, in [0, 1].
      images_seen: in training.
      seconds: of training, its evaluations and checkpoints included.
    """

    workdir: str
    config: 'ConfigDict'
    top1: float
    images_seen: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: getattr(self, k) for k in ('workdir', 'top1', 'images_seen', 'seconds')}


def read_run(workdir: str) -> Ours:
    """The run of ours that the recipe of Keras stands beside.

    Of a run that was continued, the time is what all of it takes at its last session's speed.

    Raises:
      ValueError: it has not ended, started from random weights, or is of another network.
    """
    from train.metrics_file import read_metrics
    from train.run import Run, newest

    config = Run.from_state(newest(workdir).state).config
    network = (config.model.name, config.model.multiplier, config.model.input_channels)
    if network not in [(name, 1.0, 3) for name in NETWORKS]:
        raise ValueError(
            f'{workdir} is of {network[0]} at multiplier {network[1]:g} with {network[2]} input '
            'channels; expected small at 1 with 3, which Keras is given here'
        )
    if not config.init.source:
        raise ValueError(f'{workdir} started from random weights; expected a run with --init')
    path = Path(workdir) / 'results.json'
    if not path.is_file():
        raise ValueError(f'{workdir} has not ended; give the command of train.main again')
    results = json.loads(path.read_text(encoding='utf-8'))
    images_seen = int(read_metrics(workdir)[-1]['step']) * config.train.batch_size
    seconds = images_seen / results['images_per_second']
    return Ours(workdir, config, results['averaged']['top1'], images_seen, seconds)


def fit(
    config: 'ConfigDict', *, seconds: float, frozen_share: float, batch_size: int, seed: int
) -> dict[str, Any]:
    """Trains and evaluates; 'top1' in [0, 1], 'loss' in nats, 'seconds' of the training alone.

    Args:
      config: of a run of ours, for its weights, data and resolution.
      seconds: of training; each phase takes one step at least.
      frozen_share: of `seconds`, with a frozen base.
      batch_size: images a step.
      seed: of everything that is drawn.

    Raises:
      ValueError: there is no such dataset or source, or Keras has no such network.
    """
    import tf_keras

    from benchmark import keras_guide
    from train.data.source import open_source

    source = open_source(config.data)
    base, weights = keras_guide.make_base(config, source)
    tf_keras.utils.set_random_seed(seed)
    model = keras_guide.add_head(base, len(source.labels))
    resolution = config.model.resolution
    val = keras_guide.whole_images(source.val, resolution).batch(batch_size)
    batches = keras_guide.train_batches(source.train, resolution, batch_size, seed)
    epoch = -(-source.train.num_examples // batch_size)  # in steps
    phases = {}
    for phase, share in (('frozen', frozen_share), ('unfrozen', 1 - frozen_share)):
        base.trainable = phase == 'unfrozen'
        steps, lasted = keras_guide.train(
            model, batches, epoch=epoch, rate=RATES[phase], seconds=share * seconds
        )
        loss, top1 = model.evaluate(val, verbose=0)
        print(f'{phase}: top-1 {top1:.4f} after {lasted:.0f} s', flush=True)
        phases[phase] = {'images': steps * batch_size, 'seconds': lasted, 'top1': float(top1)}
    return {
        'model': f'tf_keras.applications.{MODEL}',
        **weights,
        'dataset': source.name,
        'resolution': list(resolution),
        'batch_size': batch_size,
        'seed': seed,
        'frozen_share': frozen_share,
        'phases': phases,
        'images_seen': sum(phase['images'] for phase in phases.values()),
        'seconds': sum(phase['seconds'] for phase in phases.values()),
        'examples': source.val.num_examples,
        'top1': float(top1),
        'loss': float(loss),
    }


if __name__ == '__main__':
    cli.run(main, define_flags)
