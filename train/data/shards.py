"""Writes a classification dataset as TFRecord files with checksums, several at a time."""

import concurrent.futures
import dataclasses
import glob
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from train.data.faults import warn
from train.data.source import Source, Split
from train.files import flush, sha256_of, write_file, write_json
from train.reasons import reason

MANIFEST = 'manifest.json'
LABELS = 'labels.txt'
_FORMAT = 1
_SEED = 0  # of the order in which examples are written


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file: `count` examples of a split, from number `first` on in the order of writing."""

    split: str
    name: str
    first: int
    count: int


def plan_shards(source: Source, num_shards: int) -> list[Shard]:
    """The files of a dataset: `num_shards` of training, and of evaluation as many as is fair.

    Raises:
      ValueError: there are fewer training examples than files.
    """
    sizes = {'train': source.train.num_examples, 'val': source.val.num_examples}
    if not 1 <= num_shards <= sizes['train']:
        raise ValueError(
            f'--shards is {num_shards}; expected from 1 to the {sizes["train"]} training examples'
        )
    shards = []
    for split, size in sizes.items():
        count = min(size, max(1, round(num_shards * size / sizes['train'])))
        borders = [size * i // count for i in range(count + 1)]
        for i in range(count):
            name = f'{split}-{i:05d}-of-{count:05d}'
            shards.append(Shard(split, name, borders[i], borders[i + 1] - borders[i]))
    return shards


def write_shards(
    source: Source,
    folder: str,
    *,
    num_shards: int,
    writers: int,
    progress: Callable[[int], object] = lambda count: None,
) -> list[str]:
    """Writes what `open_records` reads, or goes on where an interrupted call stopped.

    Examples are written in random order, always the same, so that a shuffle buffer smaller than the
    dataset meets all classes; those of a stream (`tfrecord:`, TFDS) are mixed within its shuffle buffer.
    Each file is written aside, flushed, renamed, and entered with its SHA-256 in manifest.json.
    labels.txt comes last: a folder that has it is complete.

    Args:
      source: the dataset.
      folder: where the files go; made where it is missing.
      num_shards: files of the training split.
      writers: how many are written at a time; of a stream, each of whose readers would read all of it
        and hold a shuffle buffer, one.
      progress: told of examples that are written or found written.

    Returns:
      The names of the files that were written now; those whose checksum holds stay as they are.

    Raises:
      ValueError: the folder holds another dataset, or the dataset has other examples than before.
      OSError: the disk is full or not writable; the same call goes on later.
    """
    shards = plan_shards(source, num_shards)
    os.makedirs(folder, exist_ok=True)
    manifest = _Manifest(folder, source, shards)
    for left in glob.glob(f'{glob.escape(folder)}/*.tmp-*'):  # of a call that was killed
        os.remove(left)
    with concurrent.futures.ThreadPoolExecutor(writers) as pool:
        whole = list(pool.map(manifest.holds, shards))
    missing = [shard for shard, good in zip(shards, whole, strict=True) if not good]
    progress(sum(shard.count for shard in shards) - sum(shard.count for shard in missing))
    at_once = writers if source.train.subset else 1
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        stop = threading.Event()

        def write(run: list[Shard]) -> None:
            examples = _examples(source.split(run[0].split), run[0].first)
            for shard in run:
                _write_shard(folder, shard, examples, stop, progress)
                manifest.enter(shard)

        tasks = [pool.submit(write, run) for run in _runs(missing, at_once)]
        try:
            for task in concurrent.futures.as_completed(tasks):
                task.result()
        except BaseException:  # Ctrl-C, too: the other writers end with the example they are at
            stop.set()
            raise
    labels = ''.join(f'{label}\n' for label in source.labels)
    write_file(os.path.join(folder, LABELS), labels.encode())
    return [shard.name for shard in missing]


def tell_of_stream(source: Source, buffer: int) -> None:
    """Warns where examples come as a stream longer than `config.data.shuffle_buffer`."""
    if source.train.subset is None and source.train.num_examples > buffer:
        warn(
            f'{source.name} is read as a stream, {buffer} of its {source.train.num_examples} examples '
            'mixed at a time: where it is sorted by class, shard the folder it was made of'
        )


def check_manifest(folder: str) -> None:
    """Compares the files of a folder with its manifest, if it has one, by name and size.

    Raises:
      ValueError: the manifest is damaged, or names a file that is missing or of another size.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.isfile(path):
        return  # of other tools
    for name, entry in _read(path)['shards'].items():
        file = os.path.join(folder, name)
        size = os.path.getsize(file) if os.path.isfile(file) else None
        if size != entry['bytes']:
            found = 'is missing' if size is None else f'has {size} bytes'
            raise ValueError(
                f'{file} {found}; {MANIFEST} says {entry["bytes"]} bytes. The same train.shard '
                'command as before writes it anew'
            )


class _Manifest:
    """The files that are finished, in `folder`/manifest.json."""

    def __init__(self, folder: str, source: Source, shards: Sequence[Shard]) -> None:
        self._folder, self._path = folder, os.path.join(folder, MANIFEST)
        self._lock = threading.Lock()
        ours: dict[str, Any] = {
            'format': _FORMAT,
            'dataset': source.name,
            'labels': list(source.labels),
            'files': {shard.name: shard.count for shard in shards},
            'listings': [split.listing for split in (source.train, source.val)],
        }
        self._values: dict[str, Any] = {**ours, 'shards': {}}
        if os.path.isfile(self._path):
            self._values = _read(self._path)
            for name, value in ours.items():
                if self._values.get(name) != value:
                    raise ValueError(
                        f'{self._path} is of another dataset, other files in it or --shards (its '
                        f'{name} differ); use another --output, or remove the folder'
                    )
        elif any(os.scandir(folder)):
            raise ValueError(
                f'{folder} holds other files and no {MANIFEST}; expected an empty folder or that of '
                'an interrupted call'
            )
        write_json(self._path, self._values)  # before minutes of writing: the disk may refuse

    def holds(self, shard: Shard) -> bool:
        """Whether a file is finished and as it was."""
        entry = self._values['shards'].get(shard.name)
        if entry is None:
            return False
        path = os.path.join(self._folder, shard.name)
        if os.path.isfile(path) and sha256_of(path) == entry['sha256']:
            return True
        warn(f'{path} is missing or damaged; it is written anew')
        return False

    def enter(self, shard: Shard) -> None:
        """Notes a finished file."""
        path = os.path.join(self._folder, shard.name)
        entry = {'sha256': sha256_of(path), 'bytes': os.path.getsize(path), 'examples': shard.count}
        with self._lock:
            self._values['shards'][shard.name] = entry
            write_json(self._path, self._values)


def _runs(shards: Sequence[Shard], writers: int) -> list[list[Shard]]:
    """Neighbouring files for each writer: one that has begun to read a split reads on."""
    runs: list[list[Shard]] = []
    most = max(1, -(-len(shards) // writers))
    for shard in shards:
        last = runs[-1][-1] if runs else None
        follows = last and last.split == shard.split and last.first + last.count == shard.first
        if follows and len(runs[-1]) < most:
            runs[-1].append(shard)
        else:
            runs.append([shard])
    return runs


def _examples(split: Split, first: int) -> Iterator[dict]:
    """Examples in the order of writing, from a number on."""
    left = split.num_examples - first
    return split.shuffled(_SEED, first).take(left).as_numpy_iterator()


def _write_shard(
    folder: str,
    shard: Shard,
    examples: Iterator[dict],
    stop: threading.Event,
    progress: Callable[[int], object],
) -> None:
    path = Path(folder, shard.name)
    temporary = f'{path}.tmp-{os.getpid()}'
    try:
        with tf.io.TFRecordWriter(temporary) as writer:
            for _ in range(shard.count):
                if stop.is_set():
                    raise concurrent.futures.CancelledError
                writer.write(_record(next(examples)))
                progress(1)
        flush(temporary)
        os.replace(temporary, path)
    except tf.errors.OpError as e:
        raise OSError(f'cannot write {path}: {reason(e)}') from e
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _record(example: dict) -> bytes:
    features = {
        'image/encoded': tf.train.Feature(bytes_list=tf.train.BytesList(value=[example['image']])),
        'image/class/label': tf.train.Feature(
            int64_list=tf.train.Int64List(value=[int(example['label'])])
        ),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _read(path: str) -> dict:
    try:
        with open(path, encoding='utf-8') as file:
            values = json.load(file)
        entries = values['shards'].items()
        good = values['format'] == _FORMAT and all(
            os.path.basename(name) == name
            and isinstance(entry['bytes'], int)
            and isinstance(entry['sha256'], str)
            for name, entry in entries
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise ValueError(f'{path} is damaged or of another program; remove it, and write anew')
    return values
