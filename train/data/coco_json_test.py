import json

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from train.data.coco_json import open_coco_json
from train.data.source import open_source

SIZE = (60, 100)  # height, width of every image
CATEGORIES = ({'id': 7, 'name': 'dog'}, {'id': 3, 'name': 'cat', 'supercategory': 'pet'})


def open_at(path, max_bad_fraction=0.01, max_boxes=100):
    return open_coco_json(
        str(path), ConfigDict({'max_bad_fraction': max_bad_fraction, 'max_boxes': max_boxes})
    )


def image(number, **fields):
    return {'id': number, 'file_name': f'{number}.jpg', 'height': 60, 'width': 100, **fields}


def box(number, image_id=1, category_id=3, bbox=(20, 10, 40, 30), **fields):
    return {
        'id': number,
        'image_id': image_id,
        'category_id': category_id,
        'bbox': bbox if isinstance(bbox, str) else list(bbox),
        **fields,
    }


def content(images=None, annotations=None, categories=CATEGORIES):
    return {
        'images': images or [image(1)],
        'annotations': annotations or [box(1)],
        'categories': categories,
    }


PLAIN = content()


def save_images(folder, file):
    for entry in file['images'] if isinstance(file, dict) else ():
        name = entry.get('file_name')
        if isinstance(name, str) and '..' not in name and name[:1] not in ('', '/'):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', SIZE[::-1]).save(path)


def write(root, train=PLAIN, val=PLAIN, **others):
    """The layout of COCO: annotations/instances_train2017.json, train2017/, …."""
    (root / 'annotations').mkdir(parents=True)
    for name, file in {'train2017': train, 'val2017': val, **others}.items():
        text = file if isinstance(file, str) else json.dumps(file)
        (root / f'annotations/instances_{name}.json').write_text(text)
        (root / name).mkdir()
        save_images(root / name, file)
    return root


def examples(split):
    return list(split.examples().as_numpy_iterator())


# ------------------------------------------------------------------------------- good data


def test_a_test_split_whose_boxes_are_kept_secret_is_left_out(tmp_path, capsys):
    secret = {**PLAIN, 'annotations': []}
    source = open_at(write(tmp_path, test2017=secret))
    assert (source.val.num_examples, source.test) == (1, None)
    assert 'no box of the test split can be read; it is left out' in capsys.readouterr().err


def test_boxes_are_corner_and_size_and_classes_come_by_id(tmp_path):
    annotations = [box(1, area=321.5), box(2, category_id=7, bbox=(0, 0, 100, 60), iscrowd=1)]
    source = open_at(write(tmp_path, train=content(annotations=annotations)))
    assert source.labels == ('cat', 'dog')
    assert source.name == f'cocojson:{tmp_path}'
    (raw,) = examples(source.train)
    expected = [[10 / 60, 20 / 100, 40 / 60, 60 / 100], [0, 0, 1, 1]]
    np.testing.assert_allclose(raw['boxes'], expected, rtol=1e-6)
    assert raw['box_labels'].tolist() == [0, 1]
    assert raw['crowd'].tolist() == [False, True]
    assert raw['areas'].tolist() == [321.5, 0]


def test_an_image_without_annotations_is_kept(tmp_path):
    source = open_at(write(tmp_path, train=content(images=[image(1), image(2)])))
    assert [len(raw['boxes']) for raw in examples(source.train)] == [1, 0]


def test_ids_of_another_file_may_differ(tmp_path):
    swapped = [{'id': 3, 'name': 'dog'}, {'id': 7, 'name': 'cat'}]
    source = open_at(write(tmp_path, val=content(categories=swapped)))
    assert [raw['box_labels'].tolist() for raw in examples(source.val)] == [[1]]


@pytest.mark.parametrize('folder', ['train2017', 'images/train2017', 'images'])
def test_images_may_lie_in_either_place(tmp_path, folder):
    root = write(tmp_path)
    if folder != 'train2017':
        (root / folder).parent.mkdir(exist_ok=True)
        (root / 'train2017').rename(root / folder)
    assert open_at(root).train.num_examples == 1


def test_the_layout_of_roboflow(tmp_path):
    gathering = [{'id': 0, 'name': 'pets', 'supercategory': 'none'}]
    gathering += [{'id': 1, 'name': 'cat', 'supercategory': 'pets'}]
    gathering += [{'id': 2, 'name': 'newt', 'supercategory': 'newt'}]  # has no box, but is a class
    file = content(annotations=[box(1, category_id=1)], categories=gathering)
    for name in ('train', 'valid', 'test'):
        save_images(tmp_path / name, file)
        (tmp_path / name / '_annotations.coco.json').write_text(json.dumps(file))
    fields = {'dataset': f'cocojson:{tmp_path}', 'background': False}
    source = open_source(ConfigDict({**fields, 'max_bad_fraction': 0, 'max_boxes': 9}), 'detection')
    assert source.labels == ('cat', 'newt')
    for split in (source.train, source.val, source.test):
        assert [raw['box_labels'].tolist() for raw in examples(split)] == [[0]]


def test_a_category_that_only_gathers_may_have_the_name_of_a_class(tmp_path):
    categories = [{'id': 0, 'name': 'cat', 'supercategory': 'none'}]
    categories += [{'id': n, 'name': c, 'supercategory': 'cat'} for n, c in [(1, 'cat'), (2, 'ox')]]
    file = content(annotations=[box(1, category_id=1)], categories=categories)
    source = open_at(write(tmp_path, train=file, val=file))
    assert source.labels == ('cat', 'ox')
    assert examples(source.val)[0]['box_labels'].tolist() == [0]


@pytest.mark.parametrize(
    ('file', 'folder'),
    [
        ('annotations/train.json', 'train'),
        ('annotations/train.json', 'images/train2017'),
        ('annotations/train_boxes.json', 'images'),
        ('train.json', 'train'),
        ('train.json', '.'),
        ('instances_train.json', 'images/train'),
        ('train/annotations.json', 'train'),
        ('train/annotations.json', 'train/images'),
    ],
)
@pytest.mark.parametrize('name', ['1.jpg', 'images/train/1.jpg', '/home/me/1.jpg', r'C:\me\1.jpg'])
def test_other_layouts(tmp_path, file, folder, name):
    for split in ('train', 'val'):
        annotations, images = (tmp_path / p.replace('train', split) for p in (file, folder))
        annotations.parent.mkdir(parents=True, exist_ok=True)
        images.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', SIZE[::-1]).save(images / '1.jpg')
        annotations.write_text(json.dumps(content(images=[image(1, file_name=name)])))
    source = open_at(tmp_path)
    assert (source.train.num_examples, source.val.num_examples) == (1, 1)


def test_a_name_may_lead_from_the_folder_of_the_dataset(tmp_path):
    file = content(images=[image(1, file_name='photos/a/1.jpg')])
    for split in ('train', 'val'):
        (tmp_path / f'{split}.json').write_text(json.dumps(file))
    with pytest.raises(ValueError, match=r'train\.json has no folder of images; expected one of'):
        open_at(tmp_path)
    save_images(tmp_path, file)
    assert open_at(tmp_path).train.num_examples == 1


def test_a_class_that_only_val_has_comes_last(tmp_path, capsys):
    ant = ({'id': 1, 'name': 'ant'}, {'id': 3, 'name': 'cat'}, {'id': 9, 'name': 'bee'})
    source = open_at(
        write(tmp_path, val=content(annotations=[box(1, category_id=1)], categories=ant))
    )
    assert source.labels == ('cat', 'dog', 'ant')
    assert examples(source.val)[0]['box_labels'].tolist() == [2]
    assert 'no training image has a box of dog; ant, which' in capsys.readouterr().err


def test_areas_are_scaled_with_their_boxes(tmp_path):
    half = content(images=[image(1, height=30, width=50)], annotations=[box(1, area=10)])
    (raw,) = examples(open_at(write(tmp_path, train=half)).train)
    np.testing.assert_allclose(raw['boxes'], [[10 / 30, 20 / 50, 1, 1]], rtol=1e-6)
    assert raw['areas'].tolist() == [40]


def test_a_test_split_stands_in_for_a_missing_val(tmp_path):
    root = write(tmp_path, test2017=content(images=[image(1), image(2)]))
    assert open_at(root).test.num_examples == 2
    (root / 'annotations/instances_val2017.json').unlink()
    source = open_at(root)
    assert source.val.num_examples == 2
    assert source.test is None


# -------------------------------------------------------------------------------- bad boxes

BAD_BOXES = {
    'inverted': ({'bbox': (50, 5, -10, 9)}, r'\(cat, bbox \[50, 5, -10, 9\]\): inverted'),
    'zero-sized': ({'bbox': (50, 5, 10, 0)}, r'bbox \[50, 5, 10, 0\]\): zero-sized'),
    'NaN': ({'bbox': (float('nan'), 0, 1, 1)}, 'bbox .nan, .*: not finite'),
    'infinite': ({'bbox': (0, 0, float('inf'), 1)}, 'bbox .*inf.*: not finite'),
    'huge': ({'bbox': (0, 0, 10**400, 1)}, 'bbox .*: not finite'),
    'three numbers': ({'bbox': (0, 0, 1)}, 'expected x, y, width and height'),
    'text': ({'bbox': 'here'}, r'bbox here\): expected x, y, width and height'),
    'outside': ({'bbox': (100, 5, 9, 9)}, 'outside its image of 100×60'),
    'unknown class': ({'category_id': 4}, r'\(4, .*: unknown class; expected the id of a cat'),
    'no class': ({'category_id': None}, r'\(None, .*: unknown class'),
    'a list as class': ({'category_id': [3]}, r'\(\[3\], .*: unknown class'),
    'no such image': ({'image_id': 5}, 'no image has the id 5'),
    'a list as image': ({'image_id': [1]}, r'no image has the id \[1\]'),
}


@pytest.mark.parametrize('name', BAD_BOXES)
def test_a_bad_box_is_named_counted_and_skipped(tmp_path, capsys, name):
    fields, reason = BAD_BOXES[name]
    annotations = [box(1), box(22, **fields), box(3)]
    root = write(tmp_path, train=content(annotations=annotations))
    assert [raw['boxes'].shape for raw in examples(open_at(root, 0.5).train)] == [(2, 4)]
    warning = capsys.readouterr().err
    assert 'warning: 1 of 3 train boxes are bad: ' in warning
    assert f'{root}/annotations/instances_train2017.json: annotation 22' in warning
    with pytest.raises(ValueError, match=rf'annotation 22.*{reason}.*max_bad_fraction = 0\.1'):
        open_at(root, 0.1)


@pytest.mark.parametrize('area', [float('nan'), float('inf'), -3, 'large', None, 10**400, True])
def test_an_area_that_is_none_is_that_of_the_box(tmp_path, area):
    source = open_at(write(tmp_path, train=content(annotations=[box(1, area=area)])))
    assert examples(source.train)[0]['areas'].tolist() == [0]


# ------------------------------------------------------------------------------- bad images

BAD_IMAGES = {
    'a way out': (
        {'file_name': '../../gone.jpg'},
        'its file_name ../../gone.jpg leaves the folder',
    ),
    'absolute': ({'file_name': '/etc/passwd'}, 'its file_name /etc/passwd leaves the folder'),
    'the folder itself': ({'file_name': '.'}, 'its file_name . leaves the folder'),
    'no name': ({'file_name': None}, 'expected an id and a file_name'),
    'no id': ({'id': None}, 'image None (expected an id and a file_name)'),
    'the file of another': ({'file_name': '1.jpg'}, 'image 2 (another image has its file '),
    'the id of another': ({'id': 1}, 'image 1 (another image has its id)'),
    'a zero in its name': ({'file_name': 'a\0b.jpg'}, 'a\0b.jpg (no such file)'),
}


@pytest.mark.parametrize('name', BAD_IMAGES)
def test_a_bad_image_is_named_counted_and_skipped(tmp_path, capsys, name):
    fields, reason = BAD_IMAGES[name]
    file = content(images=[image(1), image(2, **fields)])
    root = write(tmp_path / 'a' / 'b')
    (root / 'annotations/instances_train2017.json').write_text(json.dumps(file))
    assert open_at(root, 0.5).train.num_examples == 1
    warning = capsys.readouterr().err
    assert '1 of 2 train images are bad: ' in warning
    assert reason in warning


def test_an_image_that_is_not_there_is_named(tmp_path, capsys):
    root = write(tmp_path, train=content(images=[image(1), image(2)]))
    (root / 'train2017/2.jpg').unlink()
    assert open_at(root, 0.5).train.num_examples == 1
    assert 'train2017/2.jpg (no such file)' in capsys.readouterr().err


# -------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'is no JSON: '),
        ('{"images": [', 'is no JSON: '),
        ('[' * 100_000, 'is no JSON: '),
        ('[]', 'is no COCO file; expected lists of images, annotations, categories'),
        ('{"images": [], "annotations": []}', 'is no COCO file'),
        ('{"images": [1], "annotations": [], "categories": []}', 'is no COCO file'),
        ('{"images": [], "annotations": [], "categories": []}', 'has no categories'),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, reason):
    root = write(tmp_path, train=text)
    with pytest.raises(ValueError, match=rf'instances_train2017\.json {reason}'):
        open_at(root, 1.0)


@pytest.mark.parametrize(
    ('categories', 'reason'),
    [
        ([{'id': 1}], r"a category is \{'id': 1\}; expected an id and a name"),
        ([{'id': [1], 'name': 'a'}], 'expected an id and a name'),
        ([{'id': 1, 'name': 'a'}, {'id': 1, 'name': 'b'}], "'name': 'b'} comes twice"),
        ([{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'a '}], "'a' comes twice, as 1 and 2"),
        ([{'id': 1, 'name': 'a\nb'}], 'category 1 has a name with a line break or control letter'),
    ],
)
def test_categories_that_are_none_are_refused(tmp_path, categories, reason):
    with pytest.raises(ValueError, match=reason):
        open_at(write(tmp_path, train=content(categories=categories)))


def test_a_missing_split_is_told(tmp_path):
    with pytest.raises(
        ValueError, match='has no annotations of any split; expected annotations/in'
    ):
        open_at(tmp_path)
    root = write(tmp_path / 'a')
    (root / 'annotations/instances_train2017.json').unlink()
    with pytest.raises(ValueError, match='has no train split, only val; expected annotations/inst'):
        open_at(root)


def test_a_part_of_train_stands_in_for_all_others(tmp_path, capsys):
    images = [image(n) for n in range(10)]
    file = content(images=images, annotations=[box(n, image_id=n) for n in range(10)])
    root = write(tmp_path, train=file)
    (root / 'annotations/instances_val2017.json').unlink()
    source = open_at(root)
    assert (source.train.num_examples, source.val.num_examples) == (8, 2)
    expected = 'names no split for evaluation: of its 10 annotated images 8 are train and 2 val'
    assert expected in capsys.readouterr().err


def test_two_training_files_are_refused(tmp_path):
    root = write(tmp_path, train2014=PLAIN)
    with pytest.raises(ValueError, match=r'more than one train split: .*train2014.*train2017'):
        open_at(root)


def test_annotations_without_images_are_refused(tmp_path):
    root = write(tmp_path)
    (root / 'val2017').rename(root / 'elsewhere')
    with pytest.raises(ValueError, match=r'val2017\.json has no folder of images; expected one of'):
        open_at(root)
