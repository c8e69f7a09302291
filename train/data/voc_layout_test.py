import os
import shutil

import pytest
from ml_collections import ConfigDict
from PIL import Image

from train.data.voc import open_voc

XML = (
    '<annotation><object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax>'
    '<ymax>9</ymax></bndbox></object></annotation>'
)
LISTS = 'ImageSets/Main'


def open_at(path, max_bad_fraction=0.01):
    return open_voc(str(path), ConfigDict({'max_bad_fraction': max_bad_fraction, 'max_boxes': 100}))


def save(images, annotations, *stems):
    """Images with an annotation each."""
    for folder in (images, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        Image.new('RGB', (20, 10)).save(images / f'{stem}.jpg')
        (annotations / f'{stem}.xml').write_text(XML)


def write(root, stems=('i0', 'i1', 'i2'), **lists):
    """VOC's own folders, with lists."""
    save(root / 'JPEGImages', root / 'Annotations', *stems)
    (root / LISTS).mkdir(parents=True)
    for name, text in lists.items():
        (root / LISTS / f'{name}.txt').write_text(text)
    return root


def counts(source):
    return [split.num_examples for split in (source.train, source.val, source.test) if split]


# -------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ('images', 'annotations'),
    [
        ('{}', '{}'),  # as Roboflow exports it
        ('{}/images', '{}/annotations'),
        ('{}/JPEGImages', '{}/Annotations'),
        ('images/{}', 'images/{}'),
        ('images/{}', 'annotations/{}'),
    ],
)
@pytest.mark.parametrize('names', [('train', 'valid', 'test'), ('Train', 'Val', 'Test')])
def test_splits_may_be_folders(tmp_path, capsys, images, annotations, names):
    for count, name in zip((3, 2, 1), names, strict=True):
        stems = [f'{name}{n}' for n in range(count)]
        save(tmp_path / images.format(name), tmp_path / annotations.format(name), *stems)
    (tmp_path / 'README.roboflow.txt').write_text('exported\n')
    assert counts(open_at(tmp_path)) == [3, 2, 1]
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('folders', [('images', 'annotations'), ('Images', 'ANNOTATIONS')])
@pytest.mark.parametrize('lists', ['ImageSets/Main', 'imagesets/main', 'ImageSets'])
def test_folders_of_other_names_may_have_lists(tmp_path, folders, lists):
    save(*(tmp_path / folder for folder in folders), 'i0', 'i1', 'i2')
    (tmp_path / lists).mkdir(parents=True)
    (tmp_path / lists / 'train.txt').write_text('i0\ni2\n')
    (tmp_path / lists / 'VAL.txt').write_text('i1\n')
    assert counts(open_at(tmp_path)) == [2, 1]


@pytest.mark.parametrize(
    ('images', 'annotations'), [('JPEGImages', 'Annotations'), ('images', 'images'), ('.', '.')]
)
def test_without_lists_a_fifth_is_held_out_the_same_each_time(
    tmp_path, capsys, images, annotations
):
    stems = [f'i{n}' for n in range(20)]
    save(tmp_path / 'a' / images, tmp_path / 'a' / annotations, *stems)
    source = open_at(tmp_path / 'a')
    assert counts(source) == [16, 4]
    expected = 'names no split for evaluation: of its 20 annotated images 16 are train and 4 val, '
    assert expected in (told := capsys.readouterr().err)
    assert told.count('\n') == 1
    assert 'to choose them yourself give lists ImageSets/Main/train.txt and val.txt beside' in told


def test_images_without_annotation_and_annotations_without_image_are_told(tmp_path, capsys):
    for name in ('train', 'valid'):
        save(tmp_path / name, tmp_path / name, *(f'{name}{n}' for n in range(4)))
    (tmp_path / 'train/train0.xml').unlink()
    (tmp_path / 'valid/valid0.jpg').unlink()
    (tmp_path / 'valid/._valid1.jpg').write_bytes(b'left by macOS')
    assert counts(open_at(tmp_path, 0.5)) == [3, 3]
    told = capsys.readouterr().err
    assert f'1 of 4 images in {tmp_path}/train have no annotation in {tmp_path}/train: ' in told
    assert f'{tmp_path}/valid/valid0.xml (there is no image of that name)' in told
    with pytest.raises(ValueError, match='1 of 4 val images are bad'):
        open_at(tmp_path)


def test_folders_that_do_not_belong_together_are_refused(tmp_path):
    save(tmp_path / 'images', tmp_path / 'annotations', 'i0')
    (tmp_path / 'annotations/i0.xml').rename(tmp_path / 'annotations/i1.xml')
    with pytest.raises(
        ValueError, match=r'no image in .*images has an \.xml of its name in .*anno'
    ):
        open_at(tmp_path)


@pytest.mark.parametrize(
    ('missing', 'told'),
    [
        ('JPEGImages', 'is JPEGImages/ or images/; expected lists ImageSets/Main/train.txt and'),
        ('Annotations', 'is Annotations/ or .xml files beside the images; expected lists Image'),
    ],
)
def test_what_a_folder_lacks_is_told(tmp_path, missing, told):
    root = write(tmp_path, train='i0\n', val='i1\n')
    shutil.rmtree(root / missing)
    with pytest.raises(ValueError, match=f'is no VOC folder: missing {told}'):
        open_at(root)


def test_an_empty_folder_lacks_everything(tmp_path):
    told = 'missing is JPEGImages/ or images/, Annotations/ or .xml .*, ImageSets/Main/train.txt; e'
    with pytest.raises(ValueError, match=told):
        open_at(tmp_path)


def test_training_needs_a_train_split(tmp_path):
    root = write(tmp_path, val='i0\n', test='i1\n')
    with pytest.raises(ValueError, match='has no train split, only val and test; expected lists I'):
        open_at(root)


# ---------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    'text',
    [
        'i0.jpg\ni1.JPG\n',
        'i0  1\ni1 -1\n',
        'i0 0\r\ni1\t1\r\n',
        'i0.jpg 0 3 7\ni1.jpg 2 2 2\n',
        '\ufeffi0\ni1\n',
    ],
)
def test_a_list_may_have_endings_flags_and_a_mark_of_its_encoding(tmp_path, capsys, text):
    root = write(tmp_path, val='i2\n')
    (root / LISTS / 'train.txt').write_bytes(text.encode())
    assert counts(open_at(root)) == [2, 1]
    assert capsys.readouterr().err == ''


def test_names_may_have_spaces_and_dots(tmp_path):
    stems = ('my photo 1', 'my photo 2', 'b.jpg.rf.0a', 'c 1')
    root = write(tmp_path, stems, train='my photo 1\nmy photo 2.jpg 1\nb.jpg.rf.0a\n', val='c 1\n')
    assert counts(open_at(root)) == [3, 1]


@pytest.mark.parametrize('name', ['trainval', 'default'])
def test_another_list_stands_in_for_that_of_training(tmp_path, name):
    assert counts(open_at(write(tmp_path, **{name: 'i0\ni1\n', 'test': 'i2\n'}))) == [2, 1]


def test_the_list_of_training_comes_before_that_of_all(tmp_path):
    root = write(tmp_path, train='i0\n', trainval='i0\ni1\n', val='i1\n', cat_train='i2 -1\n')
    assert counts(open_at(root)) == [1, 1]


def test_an_empty_list_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'val\.txt lists no images'):
        open_at(write(tmp_path, train='i0\n', val='\n'))


def test_what_is_listed_twice_counts_once(tmp_path, capsys):
    assert counts(open_at(write(tmp_path, train='i0\ni1\ni1\ni0.jpg\n', val='i2\n'))) == [2, 1]
    told = capsys.readouterr().err
    assert told.count('\n') == 1
    assert 'Main/train.txt repeat an image, i0 for one; each counts once' in told
    assert 'warning: 2 lines of' in told


def test_what_is_in_two_lists_is_told(tmp_path, capsys):
    assert counts(open_at(write(tmp_path, train='i0\ni1\n', val='i1\ni2\n'))) == [2, 2]
    told = capsys.readouterr().err
    assert told.count('\n') == 1
    assert f'1 images of val are in train too, {tmp_path}/JPEGImages/i1.jpg for one; what' in told


def test_an_annotation_may_end_in_capitals(tmp_path):
    root = write(tmp_path, train='i0\n', val='i1\n')
    os.rename(root / 'Annotations/i0.xml', root / 'Annotations/i0.XML')
    assert counts(open_at(root)) == [1, 1]
