import pytest
from ml_collections import ConfigDict

from train.data.source import open_source


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
