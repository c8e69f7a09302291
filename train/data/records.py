"""TFRecord files of images as a dataset."""

import concurrent.futures
import glob
import os

import tensorflow as tf
from ml_collections import ConfigDict

from train.data.labels import read_lines
from train.data.order import Stream, mapped, shuffled_in_turn
from train.data.shards import check_manifest
from train.data.source import Source, Split
from train.reasons import reason

# The features that TensorFlow's ImageNet scripts and TFDS-less pipelines have long written.
FEATURES = {
    'image/encoded': tf.io.FixedLenFeature([], tf.string),
    'image/class/label': tf.io.FixedLenFeature([], tf.int64),
}

MOST_OPEN = 64  # files at a time, of all streams: each is mixed with the others


def open_records(path: str, config: ConfigDict) -> Source:
    """Opens the files `train*` and `val*` of a folder, with `labels.txt`, a name a line.

    Each record is a tf.train.Example with 'image/encoded' (JPEG or PNG) and 'image/class/label', an
    index into labels.txt. (ImageNet's 1-based labels: put a background class into its first line.)
    Training mixes the files, then a buffer of `config.shuffle_buffer` records: what is sorted by
    class should lie in many files, or be written by train.shard, in random order. Where it also
    wrote manifest.json, names and sizes are checked against it.

    Raises:
      ValueError: a file is missing, damaged, or holds another kind of record.
    """
    labels_path = os.path.join(path, 'labels.txt')
    if not os.path.isfile(labels_path):
        raise ValueError(f'{labels_path} is missing; expected a class name a line')
    labels = read_lines(labels_path)  # as they are: ImageNet has two cranes
    check_manifest(path)
    train = _split(path, 'train', len(labels), config.shuffle_buffer, config.streams)
    val = _split(path, 'val', len(labels), config.shuffle_buffer)
    return Source(f'tfrecord:{path}', labels, train, val)


def _split(path: str, prefix: str, num_classes: int, buffer: int, streams: int = 1) -> Split:
    files = sorted(glob.glob(os.path.join(glob.escape(path), f'{prefix}*')))
    if not files:
        raise ValueError(
            f'{path} has no files {prefix}*; expected TFRecords such as {prefix}-00000'
        )
    # Every record is read once: their number is needed, and a damaged file is found before training.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda file: _count(file, num_classes), files)
        counts = dict(zip(files, found, strict=True))
    filled = [file for file in files if counts[file]]
    if not filled:
        raise ValueError(f'{files[0]} … {files[-1]} hold no records')
    if len(filled) % streams:
        raise ValueError(
            f'config.data.streams is {streams}; expected a number that divides the {len(filled)} files '
            'of training, so that all of them are seen as often'
        )
    parts = [filled[first::streams] for first in range(streams)]
    most = max(1, MOST_OPEN // streams)
    order = shuffled_in_turn(
        [Stream(_mixed(part, most), sum(counts[file] for file in part)) for part in parts], buffer
    )
    examples = tf.data.TFRecordDataset(files).map(_parse, num_parallel_calls=tf.data.AUTOTUNE)
    return Split(
        sum(counts.values()),
        lambda: examples,
        mapped(order, _parse, num_parallel_calls=tf.data.AUTOTUNE),
    )


def _mixed(files: list[str], most: int) -> tf.data.Dataset:
    """The records of all files, one of each of `most` in turn, always in the same order.

    A shuffle buffer meets records of every file so: of files that are sorted by class, all classes.
    """
    return tf.data.Dataset.from_tensor_slices(files).interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(len(files), most),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _count(file: str, num_classes: int) -> int:
    """The records of a file, all of which are looked at."""
    count = 0
    try:
        for batch in tf.data.TFRecordDataset(file).batch(256):
            labels = tf.io.parse_example(batch, FEATURES)['image/class/label']
            count += len(labels)
            if int(tf.reduce_max(labels)) >= num_classes or int(tf.reduce_min(labels)) < 0:
                raise ValueError(
                    f'{file}: a label is outside 0 to {num_classes - 1}, the lines of labels.txt'
                )
    except tf.errors.OpError as e:
        raise ValueError(
            f'{file}: record {count} or one of the next 256 is damaged or has no '
            f'{" and ".join(FEATURES)}: {reason(e)}'
        ) from e
    return count


def _parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
    example = tf.io.parse_single_example(record, FEATURES)
    return {'image': example['image/encoded'], 'label': example['image/class/label']}
