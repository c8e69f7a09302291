import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from PIL import Image

from train.data.mask_folder import open_mask_folder
from train.data.source import open_source

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'camvid'
SIZE = (12, 20)  # height, width of every image


def config(max_bad_fraction=0.01, num_classes=0, ignore_label=255, **fields):
    return ConfigDict(
        {
            'max_bad_fraction': max_bad_fraction,
            'num_classes': num_classes,
            'ignore_label': ignore_label,
            **fields,
        }
    )


def open_at(path, **fields):
    return open_mask_folder(str(path), config(**fields))


def mask(*numbers, size=SIZE):
    """Columns of each of the numbers."""
    return np.resize(np.repeat(np.uint8(numbers), -(-size[1] // len(numbers))), size)


def write(root, train=None, val=None, **others):
    """A mask an image, named 0, 1, …; image n is of grey n."""
    plain = [mask(0, 1, 2)]
    for split, masks in {'train': train or plain, 'val': val or plain, **others}.items():
        for folder in (split, f'{split}annot'):
            (root / folder).mkdir(parents=True)
        for n, pixels in enumerate(masks):
            Image.new('RGB', SIZE[::-1], (n, n, n)).save(root / split / f'{n}.png')
            image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
            image.save(root / f'{split}annot' / f'{n}.png')
    return root


def classes(raw):
    return raw['mask_classes'][tf.io.decode_png(raw['mask'])[..., 0].numpy()]


def examples(split):
    return list(split.examples().as_numpy_iterator())


# --------------------------------------------------------------------------------- good data


def test_images_come_with_their_masks(tmp_path):
    masks = [mask(0, 1, 2), mask(2, 255, 1)]
    source = open_at(write(tmp_path, train=masks))
    assert source.labels == ('0', '1', '2')
    assert source.name == f'folder:{tmp_path}'
    assert source.test is None
    for raw in source.train.shuffled(0, 0).take(6).as_numpy_iterator():
        n = int(tf.io.decode_image(raw['image'])[0, 0, 0])
        np.testing.assert_array_equal(classes(raw), masks[n])


def test_masks_with_palettes_and_few_bits_give_numbers(tmp_path):
    palette = Image.fromarray(mask(0, 1, 2), 'P')
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    masks = [mask(0, 1, 2), palette, Image.fromarray(mask(0, 1) > 0)]
    found = [classes(raw) for raw in examples(open_at(write(tmp_path, train=masks)).train)]
    for got, expected in zip(found, [mask(0, 1, 2), mask(0, 1, 2), mask(0, 1)], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_ignored_number_is_no_class(tmp_path):
    root = write(tmp_path, train=[mask(0, 1, 2)])
    assert open_at(root, ignore_label=2).labels == ('0', '1')
    (raw,) = examples(open_at(root, ignore_label=0).train)
    np.testing.assert_array_equal(classes(raw), mask(255, 0, 1))


def test_names_come_from_a_file(tmp_path, capsys):
    root = write(tmp_path)
    (root / 'labels.txt').write_text('sky\nroad\ncar\nbus\n')
    assert open_at(root).labels == ('sky', 'road', 'car', 'bus')
    assert 'no training mask holds bus, which count as classes' in capsys.readouterr().err
    with pytest.raises(
        ValueError, match=r'labels\.txt names 4 classes, config.data.num_classes is 3'
    ):
        open_at(root, num_classes=3)


def test_classes_may_be_counted(tmp_path):
    assert open_at(write(tmp_path), num_classes=4).labels == ('0', '1', '2', '3')


def test_a_test_folder_is_a_split_and_stands_in_for_a_missing_val(tmp_path):
    root = write(tmp_path, test=[mask(0, 1)] * 2)
    assert open_at(root).test.num_examples == 2
    for folder in ('val', 'valannot'):
        (root / folder).rename(tmp_path / f'gone{folder}')
    source = open_at(root)
    assert source.val.num_examples == 2
    assert source.test is None


# ---------------------------------------------------------------------------------- bad data


def spoil(root, name):
    """Makes the second of the masks bad in some way."""
    file = root / 'trainannot/1.png'
    small = (SIZE[0], SIZE[1] - 1)
    if name == 'missing':
        file.unlink()
    elif name == 'cut':
        file.write_bytes(file.read_bytes()[:50])
    elif name == 'empty':
        file.write_bytes(b'')
    elif name == 'of another size':
        Image.fromarray(mask(0, 1, size=small)).save(file)
    elif name == 'of colour':
        Image.fromarray(mask(0, 1)).convert('RGB').save(file)
    elif name == 'of 16 bits':
        Image.fromarray(mask(0, 1).astype(np.uint16)).save(file)
    elif name == 'no PNG':
        Image.fromarray(mask(0, 1)).save(file, 'JPEG')
    elif name == 'beyond the classes':
        Image.fromarray(mask(0, 5, 7)).save(file)
    else:
        (root / 'train/1.png').write_text('no image')


BAD = {
    'missing': 'trainannot/1.png (no such file, nor 1_L.png or 1_mask.png)',
    'cut': 'trainannot/1.png (damaged or no image)',
    'empty': 'trainannot/1.png (empty file)',
    'of another size': 'trainannot/1.png (of 19×12, its image of 20×12)',
    'of colour': 'trainannot/1.png (of colour (RGB); expected an index mask',
    'of 16 bits': 'trainannot/1.png (of 16 bits a pixel; expected 8 or fewer)',
    'no PNG': 'trainannot/1.png (no PNG file)',
    'beyond the classes': (
        'trainannot/1.png (has the labels 5, 7 beyond the 3 classes; expected 0 to 2, or 255 to igno'
    ),
    'a bad image': 'train/1.png (damaged or no image)',
}


@pytest.mark.parametrize('name', BAD)
def test_a_bad_mask_is_named_counted_and_skipped(tmp_path, capsys, name):
    root = write(tmp_path, train=[mask(0, 1, 2)] * 4)
    spoil(root, name)
    source = open_at(root, max_bad_fraction=0.3, num_classes=3)
    assert source.train.num_examples == 3
    left = [int(tf.io.decode_image(raw['image'])[0, 0, 0]) for raw in examples(source.train)]
    assert left == [0, 2, 3]
    warning = capsys.readouterr().err
    assert f'1 of 4 train images or masks are bad: {root}/{BAD[name]}' in warning
    with pytest.raises(ValueError, match=r'1 of 4 train .*max_bad_fraction = 0\.1'):
        open_at(root, max_bad_fraction=0.1, num_classes=3)


@pytest.mark.parametrize(('orientation', 'size'), [(3, SIZE), (6, SIZE[::-1])])
def test_a_photo_that_is_shown_another_way_up_is_named(tmp_path, capsys, orientation, size):
    root = write(tmp_path, train=[mask(0, 1, 2)] * 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', SIZE[::-1]).save(root / 'train/1.png', 'JPEG', exif=exif)
    Image.fromarray(mask(0, 1, 2, size=size)).save(root / 'trainannot/1.png')
    open_at(root, max_bad_fraction=0.5)
    told = {
        3: f'1 of 2 train images have an EXIF orientation that turns or mirrors them: {root}/train/1',
        6: '1.png (of 12×20, its image of 20×12, which its EXIF orientation turns: save it upright)',
    }
    assert told[orientation] in capsys.readouterr().err


def test_labels_that_training_lacks_are_beyond_the_classes(tmp_path):
    root = write(tmp_path, val=[mask(0, 3)])
    with pytest.raises(
        ValueError, match=r'valannot/0\.png \(has the labels 3 beyond the 3 classes'
    ):
        open_at(root)


@pytest.mark.parametrize('name', sorted(BAD.keys() - {'beyond the classes', 'a bad image'}))
def test_training_masks_that_are_all_bad_are_named(tmp_path, name):
    root = write(tmp_path, train=[mask(0, 1, 2)] * 2)
    spoil(root, name)
    for file in ('train/0.png', 'trainannot/0.png'):
        (root / file).unlink()
    with pytest.raises(
        ValueError, match=rf'1 of 1 train .* bad: {re.escape(f"{root}/{BAD[name]}")}'
    ):
        open_at(root)


def test_an_empty_folder_of_masks_is_told_of_by_what_it_lacks(tmp_path):
    root = write(tmp_path)
    (root / 'trainannot/0.png').unlink()
    with pytest.raises(ValueError, match=r'1 of 1 train .*trainannot/0\.png \(no such file'):
        open_at(root)


# ------------------------------------------------------------------------------------- classes


def test_numbers_that_never_occur_count_where_most_do(tmp_path, capsys):
    source = open_at(write(tmp_path, train=[mask(0, 1), mask(0, 2, 4)], val=[mask(0, 3)]))
    assert source.labels == ('0', '1', '2', '3', '4')
    warning = capsys.readouterr().err
    assert f'{tmp_path}: no training mask holds 3, which count as classes' in warning
    assert f'largest number, 4, is in {tmp_path}/trainannot/1.png: mend it if that is a' in warning


def test_a_stray_mask_does_not_make_classes_of_all_numbers_below_its_own(tmp_path, capsys):
    masks = [mask(0, 1, 2), mask(100, 101)]
    assert open_at(write(tmp_path, train=masks)).labels == ('0', '1', '2', '100', '101')
    warning = capsys.readouterr().err
    assert 'no training mask holds 3; 4; 5; 6; 7; …, which are no classes; the largest' in warning
    assert f'number, 101, is in {tmp_path}/trainannot/1.png: mend it' in warning


def test_black_and_white_are_two_classes_where_nothing_is_ignored(tmp_path, capsys):
    root = write(tmp_path, train=[mask(0, 255)], val=[mask(255, 0)])
    with pytest.raises(
        ValueError,
        match=r'hold 1 classes besides config.data.ignore_label = 255; expected at least 2. The num'
        r'bers of their pixels are 0, 255; if 255 is a class, as white is, give --config.data.ignore'
        r'_label=-1',
    ):
        open_at(root)
    for fields in ({}, {'num_classes': 2}):
        source = open_at(root, ignore_label=-1, **fields)
        assert source.labels == ('0', '255')
        (raw,) = examples(source.val)
        np.testing.assert_array_equal(classes(raw), mask(1, 0))
    assert 'warning' not in capsys.readouterr().err


def test_black_and_white_have_the_two_names_that_are_given(tmp_path, capsys):
    root = write(tmp_path, train=[mask(0, 255)], val=[mask(255, 0)])
    (root / 'labels.txt').write_text('ground\nthing\n')
    source = open_at(root, ignore_label=-1)
    assert source.labels == ('ground', 'thing')
    (raw,) = examples(source.val)
    np.testing.assert_array_equal(classes(raw), mask(1, 0))
    assert 'of class 0 ground: 50.0%, 255 thing: 50.0%' in capsys.readouterr().err
    with pytest.raises(ValueError, match=r'hold 1 classes .* give --config.data.ignore_label=-1'):
        open_at(root)


@pytest.mark.parametrize('fields', [{}, {'num_classes': 3}])
def test_training_masks_of_one_class_are_refused(tmp_path, fields):
    root = write(tmp_path, train=[mask(1, 1)])
    with pytest.raises(ValueError, match=r'hold 1 classes .* numbers of their pixels are 1$'):
        open_at(root, **fields)


def test_smoothed_masks_are_not_a_hundred_classes(tmp_path):
    smoothed = Image.fromarray(np.uint8([[0, 255]])).resize((240, 1), Image.Resampling.BILINEAR)
    root = write(tmp_path / 'smoothed', train=[np.reshape(smoothed, SIZE)])
    with pytest.raises(
        ValueError, match=r'hold \d+ numbers, as smoothed masks do; expected at most 64'
    ):
        open_at(root, ignore_label=-1)
    many = np.resize(np.arange(150, dtype=np.uint8), SIZE)
    assert len(open_at(write(tmp_path / 'many', train=[many]), num_classes=150).labels) == 150


def test_more_classes_than_a_mask_can_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match='has 256 classes; expected at most 255'):
        open_at(write(tmp_path), num_classes=256, ignore_label=-1)


def test_the_shares_of_the_numbers_are_told(tmp_path, capsys):
    root = write(tmp_path, train=[mask(0, 0, 1, 11)], val=[mask(0, 1)])
    (root / 'classes.txt').write_text('\n'.join(['sky', 'road', *'abcdefghi', 'Void']))
    open_at(root, ignore_label=11)
    err = capsys.readouterr().err
    assert (
        f'note: pixels in {root}/trainannot of class 0 sky: 50.0%, 1 road: 25.0%; ignored '
        '(config.data.ignore_label = 11): 25.0%\n'
    ) in err
    assert "'Void'" not in err
    open_at(root)
    err = capsys.readouterr().err
    assert '11 Void: 25.0%; ignored (config.data.ignore_label = 255): 0.0%' in err
    assert "classes.txt names class 11 'Void', which is learned as any other; if its pixels" in err
    assert 'shall not count, give --config.data.ignore_label=11' in err


def test_two_files_with_other_names_are_refused(tmp_path):
    root = write(tmp_path)
    for file, text in (('labels.txt', 'a\nb\nc'), ('codes.txt', 'a\nb\nd')):
        (root / file).write_text(text)
    with pytest.raises(ValueError, match=r'labels\.txt and codes\.txt name different classes'):
        open_at(root)
    (root / 'codes.txt').write_text('a\nb\nc\n')
    assert open_at(root).labels == ('a', 'b', 'c')


@pytest.mark.parametrize(
    ('missing', 'reason'),
    [
        (
            'train',
            r'has masks for val alone, training needs train and val; segmentation expects ima',
        ),
        (
            'val',
            r'has masks for train alone, training needs train and val; .* in train/ with traina',
        ),
        (
            'trainannot',
            r'train has no masks; .*in is expected to hold trainannot/, .* or train_masks/',
        ),
        ('valannot', r'val has no masks; .*in is expected to hold valannot/'),
    ],
)
def test_a_missing_folder_is_named(tmp_path, missing, reason):
    root = write(tmp_path / 'in')
    (root / missing).rename(tmp_path / 'gone')
    with pytest.raises(ValueError, match=reason):
        open_at(root)


def test_an_empty_folder_is_refused(tmp_path):
    root = write(tmp_path)
    (root / 'val/0.png').rename(root / 'val/.0.png')
    with pytest.raises(ValueError, match=r'val has no images \(\.jpg'):
        open_at(root)


# --------------------------------------------------------------------------------- real data


@pytest.mark.skipif(not REAL.is_dir(), reason='needs the shared data folder beside the repository')
def test_street_scenes():
    fields = {'dataset': f'folder:{REAL}', 'background': False}
    source = open_source(config(ignore_label=11, **fields), 'segmentation')
    assert source.labels == tuple(str(number) for number in range(11))
    assert (source.train.num_examples, source.val.num_examples) == (184, 101)
    (raw,) = source.val.examples().take(1).as_numpy_iterator()
    assert classes(raw).shape == (360, 480)
    assert set(np.unique(classes(raw))) <= {*range(11), 255}
