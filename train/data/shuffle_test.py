"""How well batches are mixed where the files are sorted by class."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import base
from train.data.shards import write_shards
from train.data.source import open_source

CLASSES, EACH, BATCH = 10, 100, 50
BUFFER = 100  # a tenth of the dataset, as large datasets have it


def record(image, label):
    features = {
        'image/encoded': tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        'image/class/label': tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_sorted(folder, num_files):
    """Training records one class after the other, in files of equal size."""
    image = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()
    labels = np.repeat(np.arange(CLASSES), EACH)
    for number, part in enumerate(np.split(labels, num_files)):
        with tf.io.TFRecordWriter(str(folder / f'train-{number:05d}')) as writer:
            for label in part:
                writer.write(record(image, int(label)))
    with tf.io.TFRecordWriter(str(folder / 'val-00000')) as writer:
        writer.write(record(image, 0))
    (folder / 'labels.txt').write_text(''.join(f'{i}\n' for i in range(CLASSES)))
    return f'tfrecord:{folder}'


def open_at(dataset):
    config = base.get_config().data
    config.dataset, config.shuffle_buffer = dataset, BUFFER
    return open_source(config)


def unevenness(split, epochs=2):
    """Chi square of the classes of a batch by its degrees of freedom, mean over batches.

    1 is what drawing at random gives; BATCH, where every batch is of one class.
    """
    size = split.num_examples * epochs
    stream = split.shuffled(0, 0).take(size).batch(size).get_single_element()
    labels = stream['label'].numpy()
    expected = BATCH / CLASSES
    counts = [np.bincount(part, minlength=CLASSES) for part in labels.reshape(-1, BATCH)]
    square = ((np.array(counts) - expected) ** 2 / expected).sum(axis=1)
    return float(square.mean() / (CLASSES - 1))


def test_a_folder_is_shuffled_as_a_whole(tmp_path):
    for split, each in (('train', 50), ('val', 1)):
        for label in range(CLASSES):
            folder = tmp_path / split / str(label)
            folder.mkdir(parents=True)
            for number in range(each):
                Image.new('RGB', (4, 4)).save(folder / f'{number:03d}.png')
    assert unevenness(open_at(f'folder:{tmp_path}').train) == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize('num_files', [10, 20, 50])
def test_many_sorted_files_are_mixed(tmp_path, num_files):
    # One of each file in turn is even more even than chance.
    assert unevenness(open_at(write_sorted(tmp_path, num_files)).train) < 1.25


def test_one_sorted_file_is_mixed_once_it_is_written_as_shards(tmp_path):
    source = open_at(write_sorted(tmp_path, 1))
    assert unevenness(source.train) > 3  # neighbours only: what train.shard is for
    # The buffer of that call holds the dataset, or what is written would be as uneven.
    config = base.get_config().data
    config.dataset = source.name
    output = str(tmp_path / 'shards')
    write_shards(open_source(config), output, num_shards=4, writers=2)
    assert unevenness(open_at(f'tfrecord:{output}').train) == pytest.approx(1.0, abs=0.25)
