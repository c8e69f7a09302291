"""One split of a folder of masks alone, as train.evaluate opens what was kept aside."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from train.classes import open_matching
from train.data.mask_folder import open_mask_split
from train.data.mask_folder_test import classes, examples, mask, write

NAMES = ('sky', 'road', 'car')


def kept(tmp_path, masks, split='val', names=()):
    """A folder with one split and nothing else."""
    root = write(tmp_path / 'all', **{split: masks})
    for other in {'train', 'val', 'test'} - {split}:
        for folder in (other, f'{other}annot'):
            if (root / folder).exists():
                (root / folder).rename(tmp_path / f'gone{folder}')
    if names:
        (root / 'labels.txt').write_text('\n'.join(names))
    return root


def judge(root, labels, split='val', ignore_label=255):
    fields = {'max_bad_fraction': 0.0, 'num_classes': 0, 'ignore_label': ignore_label}
    return open_mask_split(str(root), ConfigDict(fields), split, labels)


def seen(judged):
    (raw,) = examples(judged.split)
    return classes(raw)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_any_split_suffices(tmp_path, split, capsys):
    root = kept(tmp_path, [mask(0, 2)], split)
    judged = judge(root, NAMES, split)
    assert (judged.name, judged.labels) == (f'folder:{root}', NAMES)
    np.testing.assert_array_equal(seen(judged), mask(0, 2))
    assert (
        f'pixels in {root}/{split}annot of class 0 sky: 50.0%, 2 car: 50.0%'
        in capsys.readouterr().err
    )
    if split == 'test':  # stands in for val
        assert judge(root, NAMES, 'val').split.num_examples == 1


def test_classes_are_found_by_name_and_the_ignored_number_is_the_runs(tmp_path):
    root = kept(tmp_path, [mask(0, 1, 2, 3)], names=('void', 'car', 'sky', 'road'))
    np.testing.assert_array_equal(seen(judge(root, NAMES, ignore_label=0)), mask(255, 2, 0, 1))
    fewer = kept(tmp_path / 'few', [mask(0, 1)], names=('car', 'sky'))
    np.testing.assert_array_equal(seen(judge(fewer, NAMES)), mask(2, 0))
    with pytest.raises(
        ValueError, match=r'masks of void \(labels\.txt\), the model has the classes sky'
    ):
        judge(root, NAMES)


def test_without_names_numbers_are_those_of_training(tmp_path):
    root = kept(tmp_path, [mask(0, 1, 3)])
    np.testing.assert_array_equal(seen(judge(root, NAMES, ignore_label=0)), mask(255, 0, 2))
    np.testing.assert_array_equal(seen(judge(root, ('0', '1', '2', '3'))), mask(0, 1, 3))
    np.testing.assert_array_equal(seen(judge(root, ('1', '3'), ignore_label=0)), mask(255, 0, 1))
    with pytest.raises(ValueError, match=r'has the labels 3 beyond the 3 classes; expected 0 to 2'):
        judge(root, NAMES)


@pytest.mark.parametrize('names', [(), ('ground', 'thing'), ('thing', 'ground')])
@pytest.mark.parametrize('pixels', [mask(0, 255), mask(255, 255)])
def test_two_classes_are_black_and_white(tmp_path, names, pixels):
    root = kept(tmp_path, [pixels], names=names)
    black, white = (1, 0) if names[:1] == ('thing',) else (0, 1)
    judged = judge(root, ('ground', 'thing'), ignore_label=-1)
    np.testing.assert_array_equal(seen(judged), np.where(pixels == 255, white, black))
    judged = judge(root, ('0', '255'), ignore_label=-1)
    assert judged.labels == (names or ('0', '255'))
    np.testing.assert_array_equal(seen(judged), pixels // 255)


def test_names_of_the_data_are_taken_where_the_model_has_none(tmp_path):
    root = kept(tmp_path, [mask(0, 1)], names=NAMES)
    assert judge(root, ('0', '1', '2')).labels == NAMES
    assert judge(root, ('0', '1'), ignore_label=2).labels == NAMES[:2]
    with pytest.raises(
        ValueError, match=r'labels\.txt names 3 classes besides .*, the model has 2'
    ):
        judge(root, ('0', '1'))


def test_names_that_look_like_numbers_are_names(tmp_path):
    root = kept(tmp_path, [mask(0, 1)], names=('1', '2', '3'))
    np.testing.assert_array_equal(seen(judge(root, ('3', '2', '1'))), mask(2, 1))


def test_a_model_is_matched_with_what_was_kept_aside(tmp_path):
    root = kept(tmp_path, [mask(0, 1)], names=('sky', 'road'))
    fields = {'dataset': f'folder:{root}', 'max_bad_fraction': 0.0, 'num_classes': 0}
    config = ConfigDict({**fields, 'ignore_label': 255, 'background': False})
    judged = open_matching(config, NAMES, 'a run', 'val', 'segmentation')
    assert (judged.labels, judged.split.num_examples) == (NAMES, 1)


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path):
    root = kept(tmp_path, [mask(0, 1)])
    with pytest.raises(ValueError, match=r'has no test split; it has val: give --split=val'):
        judge(root, NAMES, 'test')
