import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from PIL import Image

from train.data.source import open_source
from train.data.voc import open_voc

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'bccd'
SIZE = (60, 100)  # height, width of every image


def open_at(path, max_bad_fraction=0.01, max_boxes=100):
    return open_voc(
        str(path), ConfigDict({'max_bad_fraction': max_bad_fraction, 'max_boxes': max_boxes})
    )


def object_xml(name='cat', ymin=11, xmin=21, ymax=30, xmax=60, **fields):
    inner = ''.join(f'<{key}>{value}</{key}>' for key, value in fields.items())
    box = f'<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>'
    return f'<object><name>{name}</name>{inner}<bndbox>{box}</bndbox></object>'


def annotation(*objects, size=(0, 0)):
    told = f'<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>'
    return f'<annotation><filename>x.jpg</filename>{told}{"".join(objects)}</annotation>'


PLAIN = annotation(object_xml())


def write(root, train=(PLAIN,), val=(PLAIN,), **lists):
    """A dataset of one annotation an image, named train0, train1, …, val0, …."""
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for name, annotations in {'train': train, 'val': val, **lists}.items():
        for n, text in enumerate(annotations):
            Image.new('RGB', SIZE[::-1], (n, n, n)).save(root / f'JPEGImages/{name}{n}.jpg')
            content = text.encode() if isinstance(text, str) else text
            (root / f'Annotations/{name}{n}.xml').write_bytes(content)
        stems = [f'{name}{n}' for n in range(len(annotations))]
        (root / f'ImageSets/Main/{name}.txt').write_text('\n'.join(stems) + '\n')
    return root


def examples(split):
    return list(split.examples().as_numpy_iterator())


# ------------------------------------------------------------------------------- good data


def test_corners_count_pixels_from_one_and_belong_to_the_box(tmp_path):
    whole = object_xml('dog', ymin=1, xmin=1, ymax=SIZE[0], xmax=SIZE[1], difficult=1)
    source = open_at(write(tmp_path, train=[annotation(object_xml(), whole)]))
    assert source.labels == ('cat', 'dog')
    assert source.name == f'voc:{tmp_path}'
    (raw,) = examples(source.train)
    expected = [[10 / 60, 20 / 100, 30 / 60, 60 / 100], [0, 0, 1, 1]]
    np.testing.assert_allclose(raw['boxes'], expected, rtol=1e-6)
    assert raw['boxes'].dtype == raw['areas'].dtype == np.float32
    assert raw['box_labels'].tolist() == [0, 1]
    assert raw['box_labels'].dtype == np.int64
    assert raw['crowd'].tolist() == [False, True]
    assert raw['areas'].tolist() == [0, 0]
    assert tf.io.decode_image(raw['image']).shape == (*SIZE, 3)


def test_an_image_without_objects_is_kept(tmp_path):
    source = open_at(write(tmp_path, train=[annotation(), annotation(object_xml())]))
    empty, full = examples(source.train)
    assert empty['boxes'].shape == (0, 4)
    assert full['boxes'].shape == (1, 4)


def test_a_test_list_is_a_split_and_stands_in_for_a_missing_val(tmp_path):
    two = [annotation(object_xml())] * 2
    source = open_at(write(tmp_path / 'a', test=two))
    assert (source.val.num_examples, source.test.num_examples) == (1, 2)
    root = write(tmp_path / 'b', test=two)
    (root / 'ImageSets/Main/val.txt').unlink()
    source = open_at(root)
    assert source.val.num_examples == 2
    assert source.test is None


def test_labels_beside_the_data_give_the_order(tmp_path):
    root = write(tmp_path)
    (root / 'labels.txt').write_text('dog\ncat\n')
    source = open_at(root)
    assert source.labels == ('dog', 'cat')
    assert examples(source.train)[0]['box_labels'].tolist() == [1]


def test_boxes_follow_their_images_through_the_shuffle(tmp_path):
    # Image n is of grey n and has n + 1 boxes, the first of them n + 1 pixels wide.
    images = [
        annotation(object_xml(xmax=22 + n), *[object_xml('dog')] * n) for n in range(5)
    ]  # fmt: skip
    seen = []
    for raw in open_at(write(tmp_path, train=images)).train.shuffled(0, 0).take(10):
        n = int(tf.io.decode_image(raw['image'])[0, 0, 0])
        assert raw['boxes'].shape == (n + 1, 4)
        np.testing.assert_allclose(
            raw['boxes'][0, 3] - raw['boxes'][0, 1], (n + 2) / 100, rtol=1e-5
        )
        seen.append(n)
    assert sorted(seen[:5]) == sorted(seen[5:]) == list(range(5))
    assert seen[:5] != seen[5:]


# -------------------------------------------------------------------------------- bad boxes


BAD_BOXES = {
    'inverted': (object_xml('dog', xmin=50, xmax=40), 'dog.* xmin 50, .* xmax 40.*: inverted'),
    'zero-sized': (object_xml(ymin=7, ymax=7), r'object 2 \(cat, ymin 7, .*: zero-sized'),
    'NaN': (object_xml(ymin='NaN'), r'ymin NaN.*: not finite'),
    'infinite': (object_xml(xmax='1e999'), r'xmax 1e999.*: not finite'),
    'no number': (object_xml(xmax='12px'), r'xmax 12px.*: expected a <bndbox> of four numbers'),
    'no corners': ('<object><name>cat</name></object>', r'expected a <bndbox> of four numbers'),
    'no name': (object_xml(name=' '), r"object 2 \('', .*: no name in <name>"),
    'a long name': (
        object_xml('a' * 101),
        r'\): a name of 101 letters; expected at most 100 in <n',
    ),
    'a line in a name': (object_xml('a\nb'), r"\('a\\nb', .*: a name with a line break or control"),
    'right of it': (object_xml(xmin=102, xmax=120), r': outside its image of 100×60'),
    'above it': (object_xml(ymin=-9, ymax=-1), r': outside its image of 100×60'),
}


@pytest.mark.parametrize('name', BAD_BOXES)
def test_a_bad_box_is_named_counted_and_skipped(tmp_path, capsys, name):
    bad, reason = BAD_BOXES[name]
    root = write(tmp_path, train=[annotation(object_xml(), bad, object_xml())])
    source = open_at(root, max_bad_fraction=0.5)
    assert [raw['boxes'].shape for raw in examples(source.train)] == [(2, 4)]
    warning = capsys.readouterr().err
    assert warning.startswith('warning: 1 of 3 train boxes are bad: ')
    assert warning.endswith('; they are skipped\n')
    assert f'{root}/Annotations/train0.xml: object 2 (' in warning
    with pytest.raises(ValueError, match=f'{reason}.*max_bad_fraction = 0.1: mend'):
        open_at(root, max_bad_fraction=0.1)


def test_a_class_that_training_lacks_is_one_all_the_same(tmp_path, capsys):
    root = write(tmp_path, val=[annotation(object_xml('ant'), object_xml())])
    source = open_at(root)
    assert source.labels == ('ant', 'cat')
    assert examples(source.val)[0]['box_labels'].tolist() == [0, 1]
    expected = f'warning: voc:{root}: no training image has a box of ant, which count as class all'
    assert capsys.readouterr().err.startswith(expected)


def test_a_class_that_labels_beside_the_data_lack_is_unknown(tmp_path, capsys):
    root = write(tmp_path, val=[annotation(object_xml(), object_xml('fox'))])
    (root / 'labels.txt').write_text('cat\n')
    assert examples(open_at(root, max_bad_fraction=0.5).val)[0]['boxes'].shape == (1, 4)
    assert 'val0.xml: object 2 (fox, ' in (warning := capsys.readouterr().err)
    assert 'unknown class; expected one of cat' in warning


def test_an_image_all_of_whose_boxes_are_bad_is_skipped(tmp_path, capsys):
    train = [annotation(object_xml(), object_xml()), annotation(object_xml(xmax=1))]
    source = open_at(write(tmp_path, train=train), max_bad_fraction=0.5)
    assert source.train.num_examples == 1
    assert 'train1.jpg (all of its 1 boxes are bad)' in capsys.readouterr().err


def test_boxes_that_reach_out_are_clipped(tmp_path, capsys):
    out = object_xml(ymin=-5, xmin=0, ymax=30, xmax=140)
    by_rounding = object_xml(ymin=0, xmin=0, ymax=60, xmax=101)
    source = open_at(write(tmp_path, train=[annotation(out, by_rounding)]))
    (raw,) = examples(source.train)
    np.testing.assert_allclose(raw['boxes'], [[0, 0, 0.5, 1], [0, 0, 1, 1]])
    warning = capsys.readouterr().err
    assert '1 of 2 train boxes reach out of their image: ' in warning
    assert 'object 1 (cat, ymin -5, xmin 0, ymax 30, xmax 140); they are clipped' in warning


@pytest.mark.parametrize('size', [(120, 200), (121, 201), (30, 50)])
def test_boxes_are_scaled_to_an_image_of_another_size(tmp_path, capsys, size):
    box = object_xml(ymin=1, xmin=size[1] // 2 + 1, ymax=size[0] // 2, xmax=size[1])
    source = open_at(write(tmp_path, train=[annotation(box, size=size)]))
    np.testing.assert_allclose(examples(source.train)[0]['boxes'], [[0, 0.5, 0.5, 1]], atol=0.01)
    told = f'train0.jpg (100×60, annotated as {size[1]}×{size[0]}); their boxes are scaled to them'
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ('size', 'reason'),
    [
        (
            (100, 60),
            'of 100×60, annotated as 60×100: turned, as a photo with an EXIF orientation; ',
        ),
        ((60, 60), 'of 100×60, annotated as 60×60: another shape; annotate it as it is, or leave'),
    ],
)
def test_an_image_of_another_shape_is_bad(tmp_path, capsys, size, reason):
    root = write(tmp_path, train=[PLAIN, annotation(object_xml(), size=size)])
    assert open_at(root, max_bad_fraction=0.5).train.num_examples == 1
    expected = f'1 of 2 train images are bad: {root}/JPEGImages/train1.jpg ({reason}'
    assert expected in capsys.readouterr().err
    with pytest.raises(ValueError, match=r'1 of 2 train .*max_bad_fraction = 0\.1'):
        open_at(root, max_bad_fraction=0.1)


@pytest.mark.parametrize('orientation', [1, 3])
def test_a_photo_that_is_shown_another_way_up_is_named(tmp_path, capsys, orientation):
    root = write(tmp_path, train=[PLAIN] * 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', SIZE[::-1]).save(root / 'JPEGImages/train1.jpg', exif=exif)
    assert open_at(root).train.num_examples == 2
    told = (
        '1 of 2 train images have an EXIF orientation that turns or mirrors them: '
        f'{root}/JPEGImages/train1.jpg; they are seen as they are stored'
    )
    assert (told in capsys.readouterr().err) == (orientation == 3)


def test_a_size_that_is_none_says_nothing(tmp_path, capsys):
    odd = [annotation(object_xml(), size=size) for size in ((0, 0), (0, 7), (-60, -100), (1.5, 2))]
    source = open_at(write(tmp_path, train=odd))
    assert source.train.num_examples == 4
    assert capsys.readouterr().err == ''


def test_a_split_tells_the_most_boxes_of_an_image(tmp_path):
    source = open_at(write(tmp_path, val=[annotation(*[object_xml()] * 3), PLAIN]), max_boxes=2)
    assert (source.train.most_boxes, source.val.most_boxes) == (1, 3)


def test_data_without_any_box_is_refused(tmp_path):
    with pytest.raises(ValueError, match='none of the train images has a box'):
        open_at(write(tmp_path, train=[annotation()]))


# ------------------------------------------------------------------------------- bad images

ENTITIES = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'
EXTERNAL = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'
BAD_FILES = {
    'empty': (b'', 'empty file'),
    'cut': (annotation(object_xml())[:60], 'no XML: '),
    'binary': (b'\xff\xd8\xff\x00', 'no XML: '),
    'another encoding': (b'<?xml version="1.0" encoding="klingon"?><annotation/>', 'no XML: '),
    'another root': ('<html></html>', "holds 'html'; expected annotation"),
    'entity bomb': (ENTITIES, 'declares entities'),
    'external entity': (EXTERNAL, 'declares entities'),
}


@pytest.mark.parametrize('name', BAD_FILES)
def test_a_bad_annotation_is_named_counted_and_skipped(tmp_path, capsys, name):
    content, reason = BAD_FILES[name]
    root = write(tmp_path, train=[annotation(object_xml()), content])
    assert open_at(root, max_bad_fraction=0.5).train.num_examples == 1
    warning = capsys.readouterr().err
    assert f'1 of 2 train images are bad: {root}/Annotations/train1.xml ({reason}' in warning
    with pytest.raises(ValueError, match=r'1 of 2 train .*max_bad_fraction = 0\.1'):
        open_at(root, max_bad_fraction=0.1)


def spoil(root, name):
    image, xml = root / 'JPEGImages/train1.jpg', root / 'Annotations/train1.xml'
    listing = root / 'ImageSets/Main/train.txt'
    if name == 'no annotation':
        xml.unlink()
    elif name == 'no image':
        image.unlink()
    elif name == 'cut image':
        image.write_bytes(image.read_bytes()[:-40])
    elif name == 'pipe':
        image.unlink()
        os.mkfifo(image)
    else:
        listing.write_text('train0\n../../train1\n')
        (root / '../train1.jpg').write_bytes(image.read_bytes())


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('no annotation', r'Annotations/train1.xml (no such file)'),
        ('no image', 'train1.xml (JPEGImages/ has no image of that name (train.txt lists it))'),
        ('cut image', 'JPEGImages/train1.jpg (damaged or no image)'),
        ('pipe', 'JPEGImages/train1.jpg (no such file)'),
        ('a way out', 'Annotations/../../train1.xml (JPEGImages/ has no image of that name'),
    ],
)
def test_a_bad_image_is_named_counted_and_skipped(tmp_path, capsys, name, reason):
    root = write(tmp_path / 'in' / 'it', train=[annotation(object_xml())] * 2)
    spoil(root, name)
    assert open_at(root, max_bad_fraction=0.5).train.num_examples == 1
    warning = capsys.readouterr().err
    assert '1 of 2 train images are bad: ' in warning
    assert reason in warning


# --------------------------------------------------------------------------------- real data


@pytest.mark.skipif(not REAL.is_dir(), reason='needs the shared data folder beside the repository')
def test_photos_of_blood_cells(capsys):
    fields = {'dataset': f'voc:{REAL}', 'background': False, 'max_boxes': 100}
    source = open_source(ConfigDict({**fields, 'max_bad_fraction': 0.01}), 'detection')
    assert source.labels == ('Platelets', 'RBC', 'WBC')
    splits = (source.train, source.val, source.test)
    assert [split.num_examples for split in splits] == [205, 87, 72]
    found = [raw for split in splits for raw in examples(split)]
    # 4888 of which two are points.
    assert sum(len(raw['boxes']) for raw in found) == 4886
    assert capsys.readouterr().err.count('zero-sized') == 2
    for raw in found:
        low, high = raw['boxes'][:, :2], raw['boxes'][:, 2:]
        assert (low >= 0).all()
        assert (low < high).all()
        assert (high <= 1).all()
