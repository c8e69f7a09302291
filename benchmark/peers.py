"""Compares training steps, input pipeline and latency with tf_keras.applications.

    python -m benchmark.peers --output=runs/bench.json
    python -m benchmark.peers --only=pipeline --rounds=2 --batches=2 --photos=40
    python -m benchmark.peers --only=int8 --released=../shared/data/released

Ours and the peer take turns round by round in one run, so that whatever else a shared machine does
hits both. A ratio is the peer's time over ours, formed inside each round: above 1, ours is faster.

- steps: the peer is the network of tf_keras.applications of as many parameters under a tf.function:
  cross-entropy, gradient, `tf_keras.optimizers.RMSprop(momentum=0.9)`. "network only" puts ours under
  the same function and optimizer. Ours of the other two rows is `Trainer.train` as a run calls it,
  which also smooths labels, decays weights and averages weights and BN statistics. The peer of "same
  maths" does so, too, by Keras's own means; that of "against a plain step" does none of it.
- pipeline: the peer is plain tf.data; beside PyTorch's loader, too: `input_pipeline.py`.
- latency: the peer is converted by `TFLiteConverter.from_keras_model`; both have the same weights.
- litert: the peer is LiteRT's own `litert-benchmark`, on our files; see `litert_peer.py`.
- int8: our int8 files against the peer's, a released file and our float; see `int8_peers.py`. There a
  ratio is our time over the other's, as its targets are: below 1, ours is faster.
"""

import dataclasses
import datetime
import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

import mobilenet_v3
from benchmark import host, input_pipeline
from benchmark.input_pipeline import compare_pipelines, write_photos
from benchmark.int8_peers import FileRow, Versus, both_networks, compare_int8
from benchmark.keras_peer import make_peer, plain_step, recipe_step
from benchmark.litert_peer import compare_with_litert
from benchmark.main import check_output
from benchmark.peer_row import Row, latency_row, make_row
from train import cli
from train.files import write_json

if TYPE_CHECKING:
    import tensorflow as tf
    from ml_collections import ConfigDict

FLAGS = flags.FLAGS
PARTS = ('steps', 'pipeline', 'latency', 'litert', 'int8')
NUM_CLASSES = 1000
LATENCY_RESOLUTION = 224


@dataclasses.dataclass(frozen=True)
class Setting:
    """A network, the peer's with as many parameters, and how both are trained."""

    model: str
    peer: str
    resolution: int
    batch_size: int

    @property
    def name(self) -> str:
        """The network's name in a table."""
        return self.peer.removeprefix('MobileNet')

    def __str__(self) -> str:
        return f'{self.name}, {self.resolution}², batch {self.batch_size}'


SETTINGS = (
    Setting('large', 'MobileNetV3Large', resolution=224, batch_size=32),
    # Keras's Small has the 1024 features of the releases; our 'small' the 1280 of the paper.
    Setting('small_1024', 'MobileNetV3Small', resolution=96, batch_size=64),
)


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_list('only', list(PARTS), f'Parts to run, of {",".join(PARTS)}.')
    flags.DEFINE_string('output', 'runs/bench.json', 'Where the figures go, as JSON.')
    flags.DEFINE_string(
        'released', '../shared/data/released', 'Folder of the released V3-Small, for the part int8.'
    )
    flags.DEFINE_string(
        'dataset', '', 'Images for the pipeline, such as folder:PATH; photos are made if empty.'
    )
    for name, default, help_text in (
        ('rounds', 15, 'Turns of each side; latency and int8 take four times as many.'),
        ('steps', 2, 'Timed training steps in one turn.'),
        ('batches', 20, 'Timed batches of the pipeline in one turn.'),
        ('photos', 300, 'JPEGs of 0.2 megapixels made for the pipeline.'),
        ('runs', 20, 'Timed runs of a .tflite file in one turn.'),
    ):
        flags.DEFINE_integer(name, default, help_text, lower_bound=1)


def main() -> None:
    """Reads the flags, compares, prints and writes the rows as they come."""
    parts, output = check_parts(FLAGS.only), Path(FLAGS.output)
    check_output(output, [])  # before the minutes of measuring
    cli.import_tensorflow()
    document: dict[str, Any] = {
        'time': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'host': host.HostDevice().facts(),
        'protocol': {name: FLAGS[name].value for name in ('rounds', 'steps', 'batches', 'runs')},
    }
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            print(f'{part} …', flush=True)  # minutes may pass before its first row
            keep(output, document, part, _compare(part, folder))
    print(f'written to {output}')


def keep(
    output: Path, document: dict[str, Any], part: str, rows: Iterable[Row | Versus | FileRow]
) -> None:
    """Prints the rows of a part and adds them to the JSON; each is on the disk before the next."""
    for row in rows:
        print(row, flush=True)
        key = 'files' if isinstance(row, FileRow) else part
        document.setdefault(key, []).append(dataclasses.asdict(row))
        write_json(output, document)


def _compare(part: str, folder: str) -> Iterator[Row | Versus | FileRow]:
    """Rows of one part, as soon as each is measured; `folder` is for files needed on the way."""
    if part == 'steps':
        for setting in SETTINGS:
            yield from compare_steps(setting, rounds=FLAGS.rounds, steps=FLAGS.steps)
    if part == 'pipeline':
        dataset = FLAGS.dataset or f'folder:{write_photos(f"{folder}/photos", FLAGS.photos)}'
        for setting in SETTINGS:
            config = input_pipeline.make_config(dataset, setting.resolution, setting.batch_size)
            yield from compare_pipelines(config, rounds=FLAGS.rounds, batches=FLAGS.batches)
    if part == 'latency':
        for setting in SETTINGS:
            # A round takes a quarter of a second: more of them cost little and narrow the interval.
            yield compare_latency(setting, folder, rounds=4 * FLAGS.rounds, runs=FLAGS.runs)
    if part == 'litert':
        yield from compare_with_litert(folder, rounds=FLAGS.rounds, runs=FLAGS.runs)
    if part == 'int8':
        yield from compare_int8(
            folder,
            released=FLAGS.released,
            resolution=LATENCY_RESOLUTION,
            rounds=4 * FLAGS.rounds,
            runs=FLAGS.runs,
        )


def check_parts(names: Sequence[str]) -> list[str]:
    """The parts to run.

    Raises:
      ValueError: an unknown name, or none.
    """
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise ValueError(f'--only={",".join(names)}; expected one or more of {", ".join(PARTS)}')
    return list(names)


# Training steps


def compare_steps(setting: Setting, *, rounds: int, steps: int) -> list[Row]:
    """Rows 'network only', 'same maths' and 'against a plain step', on one batch in memory."""
    import tensorflow as tf

    size, count = setting.resolution, setting.batch_size
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(-1, 1, (count, size, size, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, NUM_CLASSES, count), tf.int64)
    peer = functools.partial(make_peer, setting.peer, size, NUM_CLASSES)
    runs = [
        plain_step(mobilenet_v3.build_model(setting.model, resolution=size), images, labels),
        _whole_step(setting, images, labels),
        recipe_step(peer(), images, labels, make_config(setting)),
        plain_step(peer(), images, labels),
    ]
    for run in runs:
        run()  # traces, so that no turn does
    network_ms, whole_ms, recipe_ms, plain_ms = host.time_by_turns(
        [functools.partial(_ready, run) for run in runs],
        warmup_runs=0,  # a step touches more memory than caches hold: no turn marks the next
        rounds=rounds,
        runs_per_round=steps,
    )
    return [
        make_row(f'{setting}: network only', network_ms, plain_ms, count),
        make_row(f'{setting}: same maths', whole_ms, recipe_ms, count),
        make_row(f'{setting}: against a plain step', whole_ms, plain_ms, count),
    ]


def _whole_step(setting: Setting, images: 'tf.Tensor', labels: 'tf.Tensor') -> Callable[[], float]:
    """The step of a run of train.main with the paper's recipe; returns the loss."""
    import tensorflow as tf

    from train.tasks.classification import Classification
    from train.trainer import Trainer

    names = tuple(str(i) for i in range(NUM_CLASSES))
    task = Classification(make_config(setting), mobilenet_v3.get_spec(setting.model), names)
    trainer = Trainer(task, tf.distribute.get_strategy(), steps_per_epoch=1000, total_steps=10**6)
    batch = {'image': images, 'label': labels}
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: trainer.train(batches, 1)


def make_config(setting: Setting) -> 'ConfigDict':
    """The paper's recipe at the setting's resolution and batch."""
    config = input_pipeline.make_config('', setting.resolution, setting.batch_size)
    config.model.name = setting.model
    return config


def _ready(run: Callable[[], object]) -> Callable[[], object]:
    return run


# Latency


def compare_latency(setting: Setting, folder: str, *, rounds: int, runs: int) -> Row:
    """Milliseconds of both float files at 224², one thread, batch 1."""
    files = export_both(setting, LATENCY_RESOLUTION, folder)
    ours, peer = host.measure(files, rounds=rounds, runs_per_round=runs)
    what = f'{setting.name}, float latency {LATENCY_RESOLUTION}², one thread'
    return latency_row(what, ours, peer)


def export_both(setting: Setting, resolution: int, folder: str) -> tuple[Path, Path]:
    """Writes the float files of our network and of the peer's, with the same weights."""
    import tensorflow as tf

    from export.convert import convert_float

    peer, ours = both_networks(setting.peer, setting.model, resolution)
    ours_file, peer_file = (
        Path(folder, f'{setting.name}_{side}.tflite') for side in ('ours', 'keras')
    )
    ours_file.write_bytes(convert_float(ours))
    peer_file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(peer).convert())
    return ours_file, peer_file


if __name__ == '__main__':
    cli.run(main, define_flags)
