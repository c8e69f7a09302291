"""Input pipelines side by side: ours, plain tf.data, PyTorch's DataLoader; and memory over time.

    python -m benchmark.input_pipeline
    python -m benchmark.input_pipeline --dataset=folder:photos --resolution=96 --batch_size=64
    python -m benchmark.input_pipeline --memory

All read the same JPEG files from disk, crop, resize, flip and colour them by the same distributions
and give batches in [-1, 1]. They take turns round by round in one run; figures are medians over
rounds, ratios are formed inside each round: above 1, ours is faster.

- plain: decodes the whole JPEG, then crops, resizes, flips and colours image by image with tf.image.
- PyTorch: a DataLoader of --workers processes with Pillow; left out where PyTorch is not installed.
- --memory: instead, one training pipeline over --images images, and what this process holds on the way.
"""

import dataclasses
import functools
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

import mobilenet_v3
from benchmark import host, torch_peer
from benchmark.keras_peer import plain_batches
from benchmark.main import check_output
from benchmark.peer_row import Row, make_row
from configs import base
from train import cli
from train.files import write_json

if TYPE_CHECKING:
    import tensorflow as tf
    from ml_collections import ConfigDict

    from train.data.source import Source

FLAGS = flags.FLAGS
PHOTO_SIZE = (516, 388)  # width and height: 0.2 megapixels
SMALL_SIZE = (80, 64)  # of photos that cost little to decode, where time is not the question
WARMUP_BATCHES = 10  # until tf.data has settled on its parallelism
MEMORY_RESOLUTION = 32
MEMORY_REPORTS = 10


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('dataset', '', 'Images, such as folder:PATH; photos are made if empty.')
    flags.DEFINE_boolean('memory', False, 'Reports memory over many images instead of speed.')
    flags.DEFINE_string('output', 'runs/input_pipeline.json', 'Where the figures go, as JSON.')
    for name, default, help_text in (
        ('resolution', 224, 'Side of what comes out, in pixels.'),
        ('batch_size', 32, 'Images a batch.'),
        ('rounds', 9, 'Turns of each side.'),
        ('batches', 20, 'Timed batches in one turn.'),
        ('photos', 300, 'JPEGs of 0.2 megapixels that are made.'),
        ('workers', 2, "Processes of PyTorch's DataLoader."),
        ('images', 200_000, 'Over which --memory goes.'),
    ):
        flags.DEFINE_integer(name, default, help_text, lower_bound=1)


def main() -> None:
    """Reads the flags, measures, prints and writes the JSON."""
    output = Path(FLAGS.output)
    check_output(output, [])  # before the minutes of measuring
    cli.import_tensorflow()
    document: dict[str, Any] = {'host': host.HostDevice().facts()}
    with tempfile.TemporaryDirectory() as folder:
        size = SMALL_SIZE if FLAGS.memory else PHOTO_SIZE
        dataset = FLAGS.dataset or f'folder:{write_photos(folder, FLAGS.photos, size)}'
        if FLAGS.memory:
            document['memory'] = [dataclasses.asdict(point) for point in _memory(dataset)]
        else:
            document['pipeline'] = [dataclasses.asdict(row) for row in _speed(dataset)]
    write_json(output, document)
    print(f'written to {output}')


def _speed(dataset: str) -> list[Row]:
    config = make_config(dataset, FLAGS.resolution, FLAGS.batch_size)
    workers = FLAGS.workers if torch_peer.has_torch() else 0
    if not workers:
        print('PyTorch is not installed; its row is left out (pip install torch)')
    rows = compare_pipelines(config, rounds=FLAGS.rounds, batches=FLAGS.batches, workers=workers)
    cores = os.cpu_count() or 1
    for row in rows:
        print(f'{row}; a core: ours {row.ours / cores:.4g}, peer {row.peer / cores:.4g}')
    return rows


def make_config(dataset: str, resolution: int, batch_size: int) -> 'ConfigDict':
    """The paper's recipe on a dataset."""
    config = base.get_config()
    config.model.resolution = (resolution, resolution)
    config.train.batch_size = batch_size
    config.data.dataset = dataset
    return config


def write_photos(folder: str, count: int, size: tuple[int, int] = PHOTO_SIZE) -> str:
    """Writes a folder dataset of two classes: `count` JPEGs of (width, height) `size`; its name.

    Blurred noise with some grain, about as large as photos of that size: decoding costs by bytes.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    width, height = size
    for i in range(count + 2):
        split = 'train' if i < count else 'val'
        path = Path(folder, split, str(i % 2), f'{i}.jpg')
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (25, 33, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        grainy = smooth + rng.normal(0, 6, (height, width, 3))
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def compare_pipelines(
    config: 'ConfigDict', *, rounds: int, batches: int, workers: int = 0
) -> list[Row]:
    """Images a second of `train_batches` against plain tf.data, and with workers against PyTorch.

    Raises:
      ValueError: PyTorch is asked for and the dataset is no folder.
    """
    from train.data.source import open_source

    source = open_source(config.data)
    ours, batch_size = our_batches(source, config), config.train.batch_size
    loaders: list[Callable[[], Callable[[], None]]] = [
        functools.partial(_open, dataset, batches)
        for dataset in (ours, plain_batches(source.train, config))
    ]
    if workers:
        loaders.append(_torch_loader(source, config, batches, workers))
    ours_ms, *peers_ms = host.time_by_turns(loaders, warmup_runs=0, rounds=rounds, runs_per_round=1)
    what = f'pipeline {config.model.resolution[0]}², batch {batch_size}'
    names = (what, f'{what}, PyTorch, {workers} workers')
    return [
        make_row(name, ours_ms, peer_ms, batches * batch_size)
        for name, peer_ms in zip(names, peers_ms, strict=False)
    ]


def our_batches(source: 'Source', config: 'ConfigDict') -> 'tf.data.Dataset':
    """The batches of training, as a run of train.main has them."""
    from train.data.pipeline import train_batches
    from train.tasks.classification import Classification

    task = Classification(config, mobilenet_v3.get_spec(config.model.name), source.labels)
    return train_batches(source.train, task, batch_size=config.train.batch_size, seed=0)


def _open(dataset: 'tf.data.Dataset', batches: int) -> Callable[[], None]:
    """Starts the pipeline afresh, or it would go on filling its buffers in the peer's turn."""
    iterator = iter(dataset)

    def take(count: int) -> None:
        for _ in range(count):
            next(iterator)

    take(WARMUP_BATCHES)
    return functools.partial(take, batches)


def _torch_loader(
    source: 'Source', config: 'ConfigDict', batches: int, workers: int
) -> Callable[[], Callable[[], None]]:
    from train.data import augment

    # A pass ends a few batches later: workers are as busy at its end as at its beginning.
    taken = WARMUP_BATCHES + batches + torch_peer.BUFFERED * workers
    begin = torch_peer.make_epochs(
        torch_peer.PillowDataset(
            files=_files(source),
            length=taken * config.train.batch_size,
            size=tuple(config.model.resolution),
            area=tuple(config.augment.area),
            aspect=tuple(config.augment.aspect),
            brightness=augment.BRIGHTNESS,
            saturation=augment.SATURATION,
        ),
        batch_size=config.train.batch_size,
        workers=workers,
    )

    def load() -> Callable[[], None]:
        take = begin()
        take(WARMUP_BATCHES)
        return functools.partial(take, batches)

    return load


def _files(source: 'Source') -> list[tuple[str, int]]:
    """The training images of a folder dataset and their labels."""
    kind, _, path = source.name.partition(':')
    if kind != 'folder' or not all(Path(path, 'train', label).is_dir() for label in source.labels):
        raise ValueError(
            f"{source.name} has no train/<class>/ folders, which PyTorch's loader reads; expected "
            'folder:PATH'
        )
    return [
        (str(file), number)
        for number, label in enumerate(source.labels)
        for file in sorted(Path(path, 'train', label).iterdir())
        if file.suffix.lower() in ('.jpg', '.jpeg')
    ]


# Memory


@dataclasses.dataclass(frozen=True)
class Point:
    """What this process held when so many images had come."""

    images: int
    megabytes: float


def _memory(dataset: str) -> list[Point]:
    config = make_config(dataset, MEMORY_RESOLUTION, FLAGS.batch_size)
    points = watch_memory(config, FLAGS.images)
    for point in points:
        print(f'{point.images:>9} images  {point.megabytes:8.1f} MB')
    print(f'from the first report to the last: {growth_mb(points):+.1f} MB')
    return points


def watch_memory(config: 'ConfigDict', images: int) -> list[Point]:
    """Takes training batches until so many images have come; memory at equal distances."""
    from train.data.source import open_source

    batches = iter(our_batches(open_source(config.data), config))
    points, taken = [], 0
    for report in range(1, MEMORY_REPORTS + 1):
        while taken < images * report / MEMORY_REPORTS:
            next(batches)
            taken += config.train.batch_size
        points.append(Point(taken, _resident_mb()))
    return points


def growth_mb(points: list[Point]) -> float:
    """By how much memory grew after the first report, when all buffers were full."""
    return points[-1].megabytes - points[0].megabytes


def _resident_mb() -> float:
    with open('/proc/self/status', encoding='utf-8') as status:
        found = re.search(r'VmRSS:\s*(\d+) kB', status.read())
    if not found:
        raise ValueError('this system does not tell the memory of a process; expected Linux')
    return int(found[1]) / 1024


if __name__ == '__main__':
    cli.run(main, define_flags)
