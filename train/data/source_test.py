import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from train.data.source import open_source, shuffled_in_memory


def config(dataset):
    fields = {'background': False, 'data_dir': '', 'max_bad_fraction': 0.01, 'shuffle_buffer': 10}
    return ConfigDict({'dataset': dataset, **fields})


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('foldr:x', 'folder:x'),
        ('Folder:photos', 'folder:photos'),
        ('tfrecords:x/y', 'tfrecord:x/y'),
        ('buitlin:shapes', 'builtin:shapes'),
    ],
)
def test_a_misspelt_kind_is_answered_with_the_nearest(name, meant):
    with pytest.raises(ValueError, match=f"unknown dataset '{name}'; did you mean {meant}\\?"):
        open_source(config(name))


@pytest.mark.parametrize('kind', ['folder', 'tfrecord'])
@pytest.mark.parametrize('path', ['nowhere', ''])
def test_a_folder_that_is_not_there_is_named(kind, path):
    with pytest.raises(ValueError, match=f"there is no folder '{path}' for the dataset"):
        open_source(config(f'{kind}:{path}'))


@pytest.mark.parametrize('name', ['folder', 'photos/train', ''])
def test_what_is_no_name_is_answered_with_what_is(name):
    expected = f'unknown dataset {name!r}; .*Expected a TFDS name, folder:PATH, tfrecord:PATH or bu'
    with pytest.raises(ValueError, match=f'(?i){expected}'):
        open_source(config(name))


def test_a_home_folder_may_be_abbreviated(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'photos').mkdir()
    with pytest.raises(ValueError, match='photos has no train/ and val/'):
        open_source(config('folder:~/photos'))


def test_a_buffer_of_the_whole_set_shuffles_it_and_a_smaller_one_mixes_neighbours():
    numbers = tf.data.Dataset.range(100)
    whole = list(shuffled_in_memory(numbers, 100, 1000)(0, 0).take(100).as_numpy_iterator())
    near = list(shuffled_in_memory(numbers, 100, 5)(0, 0).take(100).as_numpy_iterator())
    assert sorted(whole) == sorted(near) == list(range(100))
    assert min(whole.index(n) for n in range(90, 100)) < 50
    assert all(near.index(n) >= n - 5 for n in range(100))


@pytest.mark.parametrize('seed', [0, 2**31 - 2, 2**32 - 1])
def test_a_run_that_continues_sees_what_the_undisturbed_one_does(seed):
    shuffled = shuffled_in_memory(tf.data.Dataset.range(10), 10, 10)
    whole = list(shuffled(seed, 0).take(35).as_numpy_iterator())
    for skip in (0, 3, 10, 24):
        assert list(shuffled(seed, skip).take(35 - skip).as_numpy_iterator()) == whole[skip:]
    epochs = [whole[begin : begin + 10] for begin in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_seeds_have_orders_of_their_own():
    shuffled = shuffled_in_memory(tf.data.Dataset.range(100), 100, 100)
    orders = [tuple(shuffled(seed, 0).take(300).as_numpy_iterator()) for seed in (0, 1, 2)]
    epochs = {order[begin : begin + 100] for order in orders for begin in (0, 100, 200)}
    assert len(epochs) == 9


def test_a_run_that_continues_reads_no_epoch_but_its_own():
    read = []

    def note(number):
        read.append(int(number))
        return number

    noted = tf.data.Dataset.range(10).map(lambda n: tf.py_function(note, [n], tf.int64))
    list(shuffled_in_memory(noted, 10, 10)(0, 1_000_004).take(6))
    assert len(read) == 10


def test_a_background_class_comes_before_the_others(image_folder):
    plain = config(f'folder:{image_folder}')
    shifted = plain.copy_and_resolve_references()
    shifted.background = True
    ours, theirs = open_source(shifted), open_source(plain)
    assert ours.labels == ('background', *theirs.labels)
    assert ours.name == theirs.name
    for split in ('train', 'val'):
        mine, other = getattr(ours, split), getattr(theirs, split)
        assert mine.num_examples == other.num_examples
        for read in (lambda s: s.examples(), lambda s: s.shuffled(3, 4).take(12)):
            pairs = zip(read(mine), read(other), strict=True)
            for one, another in pairs:
                assert int(one['label']) == int(another['label']) + 1
                assert one['label'].dtype == another['label'].dtype
                assert one['image'].numpy() == another['image'].numpy()


@pytest.mark.parametrize(
    ('name', 'task', 'expected'),
    [
        (
            'tfrecord:x',
            'detection',
            'tfrecord:x is no dataset for detection; expected a TFDS name,',
        ),
        ('tfrecord:x', 'segmentation', 'tfrecord:x is no dataset for segmentation; expected a '),
        ('builtin:shapes', 'drawing', "task 'drawing' has no datasets; expected one of classific"),
    ],
)
def test_a_dataset_of_another_task_is_refused(name, task, expected):
    with pytest.raises(ValueError, match=expected):
        open_source(config(name), task)


def test_only_classification_has_a_background_in_its_data():
    fields = config('builtin:shapes')
    fields.background = True
    with pytest.raises(ValueError, match=r'data\.background is of classification; detection has a'):
        open_source(fields, 'detection')
