import dataclasses
import json
import os
import threading

import pytest
import tensorflow as tf

from configs import base
from train.data import shards
from train.data.shards import plan_shards, tell_of_stream, write_shards
from train.data.source import open_source


def open_at(dataset):
    config = base.get_config().data
    config.dataset = str(dataset)
    return open_source(config)


@pytest.fixture(scope='module')
def source(image_folder):
    """10 training images and 7 for evaluation."""
    return open_at(f'folder:{image_folder}')


def write(source, folder, num_shards=4, writers=2, **options):
    return write_shards(source, str(folder), num_shards=num_shards, writers=writers, **options)


def examples(dataset):
    found = [(bytes(e['image']), int(e['label'])) for e in dataset.as_numpy_iterator()]
    assert len(set(found)) == len(found)
    return set(found)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def records(folder):
    """Without the manifest, which names the files in the order in which they were finished."""
    return {name: content for name, content in files(folder).items() if name != 'manifest.json'}


def test_what_is_written_is_read_back(source, tmp_path):
    told = []
    written = write(source, tmp_path, progress=told.append)
    assert written == [f'train-0000{i}-of-00004' for i in range(4)] + [
        f'val-0000{i}-of-00003' for i in range(3)
    ]
    assert sum(told) == 17
    again = open_at(f'tfrecord:{tmp_path}')
    assert again.labels == source.labels
    assert examples(again.train.examples()) == examples(source.train.examples())
    assert examples(again.val.examples()) == examples(source.val.examples())


def test_the_number_of_writers_changes_nothing(source, tmp_path):
    for writers in (1, 3):
        write(source, tmp_path / str(writers), writers=writers)
    assert records(tmp_path / '1') == records(tmp_path / '3')


def test_the_files_are_in_random_order(source, tmp_path):
    write(source, tmp_path, num_shards=1)
    labels = [int(e['label']) for e in open_at(f'tfrecord:{tmp_path}').train.examples()]
    assert labels != sorted(labels)


def test_files_are_of_nearly_the_same_size(source):
    counts = [shard.count for shard in plan_shards(source, 3) if shard.split == 'train']
    assert sum(counts) == 10
    assert max(counts) - min(counts) <= 1


class StoppedError(Exception):
    pass


@pytest.mark.parametrize('writers', [1, 2])
@pytest.mark.parametrize('moment', [0, 1, 4, 9, 13, 16])
def test_an_interrupted_call_goes_on(source, tmp_path, moment, writers):
    write(source, tmp_path / 'whole')
    seen, lock = [0], threading.Lock()

    def interrupt(count):
        with lock:
            seen[0] += count
            if seen[0] > moment:
                raise StoppedError

    with pytest.raises(StoppedError):
        write(source, tmp_path / 'parts', writers=writers, progress=interrupt)
    assert not list((tmp_path / 'parts').glob('*.tmp-*'))
    with pytest.raises(ValueError, match=r'labels\.txt is missing'):  # not taken for a whole one
        open_at(f'tfrecord:{tmp_path}/parts')
    manifest = json.loads((tmp_path / 'parts' / 'manifest.json').read_text())
    finished = set(manifest['shards'])
    assert finished.isdisjoint(write(source, tmp_path / 'parts', writers=writers))
    assert records(tmp_path / 'parts') == records(tmp_path / 'whole')


def test_a_stream_is_read_by_one_writer_at_a_time(source, tmp_path, monkeypatch):
    write(source, tmp_path / 'records')
    stream = open_at(f'tfrecord:{tmp_path}/records')
    assert stream.train.subset is None
    write(stream, tmp_path / 'again', writers=3)
    for number in (0, 2):  # with a gap between
        (tmp_path / 'again' / f'train-0000{number}-of-00004').unlink()
    reading, most, examples = [], [], shards._examples

    def watched(split, first):
        reading.append(first)
        most.append(len(reading))
        yield from examples(split, first)

    write_shard = shards._write_shard

    def ended(*arguments):
        write_shard(*arguments)
        reading.pop()

    monkeypatch.setattr(shards, '_examples', watched)
    monkeypatch.setattr(shards, '_write_shard', ended)
    assert len(write(stream, tmp_path / 'again', writers=3)) == 2
    assert most == [1, 1]


def test_what_is_finished_is_not_written_again(source, tmp_path):
    write(source, tmp_path)
    assert write(source, tmp_path) == []


def test_a_stream_that_is_mixed_within_its_buffer_only_is_told(source, tmp_path, capsys):
    write(source, tmp_path)
    stream = open_at(f'tfrecord:{tmp_path}')
    tell_of_stream(source, 5)  # a folder
    tell_of_stream(stream, 10)
    assert not capsys.readouterr().err
    tell_of_stream(stream, 5)
    assert 'is read as a stream, 5 of its 10 examples mixed at a time' in capsys.readouterr().err


def test_a_damaged_file_alone_is_written_again(source, tmp_path, capsys):
    write(source, tmp_path)
    before = records(tmp_path)
    (tmp_path / 'train-00001-of-00004').write_bytes(b'x')
    (tmp_path / 'val-00002-of-00003').unlink()
    (tmp_path / 'train-00000-of-00004.tmp-77').write_bytes(b'x')
    assert write(source, tmp_path) == ['train-00001-of-00004', 'val-00002-of-00003']
    assert records(tmp_path) == before
    assert 'train-00001-of-00004 is missing or damaged' in capsys.readouterr().err


def test_another_dataset_is_not_mixed_in(source, tmp_path):
    write(source, tmp_path)
    with pytest.raises(ValueError, match=r'other files in it or --shards \(its files differ\)'):
        write(source, tmp_path, num_shards=3)
    renamed = dataclasses.replace(source.train, listing='of other files, as many')
    with pytest.raises(ValueError, match=r'other files in it or --shards \(its listings differ\)'):
        write(dataclasses.replace(source, train=renamed), tmp_path)


def test_a_folder_of_other_files_is_left_alone(source, tmp_path):
    (tmp_path / 'thesis.txt').write_text('x')
    with pytest.raises(ValueError, match=r'holds other files and no manifest\.json'):
        write(source, tmp_path)
    assert os.listdir(tmp_path) == ['thesis.txt']


def test_more_files_than_examples_are_refused(source, tmp_path):
    with pytest.raises(ValueError, match='--shards is 11; expected from 1 to the 10'):
        write(source, tmp_path, num_shards=11)


@pytest.mark.parametrize(
    'content', ['', '[]', '{"format": 1, "shards": {"../x": {}}}', '{"format": 2}']
)
def test_a_damaged_manifest_is_refused(source, tmp_path, content):
    write(source, tmp_path)
    (tmp_path / 'manifest.json').write_text(content)
    with pytest.raises(ValueError, match=r'manifest\.json is damaged'):
        write(source, tmp_path)
    with pytest.raises(ValueError, match=r'manifest\.json is damaged'):
        open_at(f'tfrecord:{tmp_path}')


def test_a_file_cut_short_or_missing_is_named_when_read(source, tmp_path):
    write(source, tmp_path)
    file = tmp_path / 'train-00002-of-00004'
    content = file.read_bytes()
    file.write_bytes(content[:-5])
    with pytest.raises(ValueError, match=f'train-00002-of-00004 has {len(content) - 5} bytes'):
        open_at(f'tfrecord:{tmp_path}')
    file.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(ValueError, match='train-00002-of-00004: record 0 or one of the next'):
        open_at(f'tfrecord:{tmp_path}')
    file.unlink()
    with pytest.raises(ValueError, match='train-00002-of-00004 is missing'):
        open_at(f'tfrecord:{tmp_path}')


def test_a_disk_that_refuses_is_told(source, tmp_path, monkeypatch):
    class FullWriter:
        def __init__(self, path):
            raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device\nmore')

    monkeypatch.setattr(shards.tf.io, 'TFRecordWriter', FullWriter)
    with pytest.raises(OSError, match=r'cannot write .*: No space left on device$'):
        write(source, tmp_path)
