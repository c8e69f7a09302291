import io

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from PIL import Image

from train.data.source import open_source


def open_at(path, buffer=100, streams=1):
    dataset = f'tfrecord:{path}'
    return open_source(
        ConfigDict(
            {'dataset': dataset, 'background': False, 'shuffle_buffer': buffer, 'streams': streams}
        )
    )


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(buffer, 'PNG')
    return buffer.getvalue()


def record(number, label):
    features = {
        'image/encoded': tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(number)])),
        'image/class/label': tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        'image/filename': tf.train.Feature(bytes_list=tf.train.BytesList(value=[b'extra'])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in records:
            writer.write(content)


@pytest.fixture
def folder(tmp_path):
    """Five training records in two files, two for evaluation; image n has the label n % 3."""
    write(tmp_path / 'train-00000-of-00002', [record(n, n % 3) for n in range(3)])
    write(tmp_path / 'train-00001-of-00002', [record(n, n % 3) for n in (3, 4)])
    write(tmp_path / 'validation-00000', [record(n, n % 3) for n in (7, 8)])
    (tmp_path / 'labels.txt').write_text('\ufeffcat\ndog\nowl\n')
    return tmp_path


def numbers(dataset):
    found = []
    for example in dataset:
        number = int(tf.io.decode_image(example['image'])[0, 0, 0])
        assert int(example['label']) == number % 3
        found.append(number)
    return found


def test_records_come_back_in_the_order_of_their_files(folder):
    source = open_at(folder)
    assert source.labels == ('cat', 'dog', 'owl')
    assert (source.train.num_examples, source.val.num_examples) == (5, 2)
    assert numbers(source.train.examples()) == [0, 1, 2, 3, 4]
    assert numbers(source.val.examples()) == [7, 8]


def test_training_sees_every_record_an_epoch_in_an_order_of_the_seed(folder):
    shuffled = open_at(folder).train.shuffled
    first = numbers(shuffled(0, 0).take(15))
    assert all(sorted(first[i : i + 5]) == [0, 1, 2, 3, 4] for i in (0, 5, 10))
    assert numbers(shuffled(0, 0).take(15)) == first
    assert numbers(shuffled(1, 0).take(15)) != first


@pytest.mark.parametrize('buffer', [2, 100])
def test_skipping_lands_where_the_order_goes_on(folder, buffer):
    shuffled = open_at(folder, buffer).train.shuffled
    whole = numbers(shuffled(0, 0).take(15))
    assert numbers(shuffled(0, 7).take(8)) == whole[7:]


def test_hosts_read_files_of_their_own_in_the_order_of_one(folder):
    write(folder / 'train-empty', [])  # of a writer that had nothing left
    whole = numbers(open_at(folder, streams=2).train.shuffled(0, 0).take(12))
    shuffled = open_at(folder, streams=2).train.shuffled
    hosts = [numbers(shuffled(0, host, 2).take(6)) for host in (0, 1)]
    assert hosts == [whole[::2], whole[1::2]]
    assert [set(found) for found in hosts] == [{0, 1, 2}, {3, 4}]


def test_streams_that_do_not_share_out_the_files_are_refused(folder):
    with pytest.raises(
        ValueError, match=r'data\.streams is 3; expected a number that divides the 2'
    ):
        open_at(folder, streams=3)


def cut(content):
    return content[:-3]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def replace_by_text(content):
    return b'this is no TFRecord' * 10


@pytest.mark.parametrize('damage', [cut, flip, replace_by_text])
@pytest.mark.parametrize('name', ['train-00001-of-00002', 'validation-00000'])
def test_a_damaged_file_is_found_before_training(folder, damage, name):
    file = folder / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match='is damaged or has no image/encoded') as raised:
        open_at(folder)
    assert name in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('label', [3, -1])
def test_a_label_out_of_range_is_refused(folder, label):
    write(folder / 'train-00001-of-00002', [record(0, 0), record(1, label)])
    with pytest.raises(ValueError, match=r'a label is outside 0 to 2, the lines of labels\.txt'):
        open_at(folder)


def test_a_record_of_another_kind_is_refused(folder):
    write(folder / 'validation-00000', [tf.train.Example().SerializeToString()])
    with pytest.raises(ValueError, match='has no image/encoded and image/class/label'):
        open_at(folder)


def test_missing_labels_are_asked_for(folder):
    (folder / 'labels.txt').unlink()
    with pytest.raises(ValueError, match=r'labels\.txt is missing; expected a class name a line'):
        open_at(folder)


def test_a_missing_split_is_named(folder):
    (folder / 'validation-00000').unlink()
    with pytest.raises(
        ValueError, match=r'has no files val\*; expected TFRecords such as val-00000'
    ):
        open_at(folder)


def test_files_without_records_are_refused(folder):
    write(folder / 'validation-00000', [])
    with pytest.raises(ValueError, match='hold no records'):
        open_at(folder)


def test_a_folder_whose_name_is_a_pattern_is_read(folder):
    odd = folder / 'data [v1]*'
    odd.mkdir()
    for file in folder.glob('*-0*'):
        file.rename(odd / file.name)
    (folder / 'labels.txt').rename(odd / 'labels.txt')
    assert open_at(odd).train.num_examples == 5


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match='there is no folder'):
        open_at(tmp_path / 'nowhere')
