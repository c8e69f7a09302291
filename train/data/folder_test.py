from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from PIL import Image

from train.data.folder import open_folder
from train.data.source import open_source

REAL = Path(__file__).parents[3] / 'shared' / 'data'


def config(max_bad_fraction=0.01, **fields):
    common = {'background': False, 'max_bad_fraction': max_bad_fraction, 'shuffle_buffer': 10}
    return ConfigDict({**common, **fields})


def open_at(path, **fields):
    return open_folder(str(path), config(**fields))


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 24, 3), value, np.uint8)).save(path)


def write_classes(root, train=('a', 'b'), val=('a', 'b'), count=2, val_name='val'):
    for split, names in (('train', train), (val_name, val)):
        for i, name in enumerate(names):
            for n in range(count):
                image(root / split / name / f'{n}.jpg', value=40 * i + 10 * n)
    return root


def write_lists(root, train='x 0.jpg 0\ny.jpg 1\n', val='v.jpg 1\n', labels=None):
    for name in ('x 0.jpg', 'y.jpg'):
        image(root / 'train' / name, value=50)
    image(root / 'val' / 'v.jpg')
    (root / 'train.txt').write_text(train)
    (root / 'val.txt').write_text(val)
    if labels is not None:
        (root / 'labels.txt').write_text(labels)
    return root


def examples(split):
    """(label, first pixel) of every example in order."""
    return [
        (int(e['label']), int(tf.io.decode_image(e['image'])[0, 0, 0])) for e in split.examples()
    ]


# ------------------------------------------------------------------------- class folders


def test_class_folders_give_sorted_labels_and_every_image(tmp_path):
    source = open_at(write_classes(tmp_path, train=('b', 'a'), val=('a', 'b')))
    assert source.labels == ('a', 'b')
    assert (source.train.num_examples, source.val.num_examples) == (4, 4)
    assert examples(source.train) == [(0, 40), (0, 50), (1, 0), (1, 10)]


@pytest.mark.parametrize('name', ['val', 'validation', 'test'])
def test_the_evaluation_split_has_several_names(tmp_path, name):
    assert open_at(write_classes(tmp_path, val_name=name)).val.num_examples == 4


def test_other_files_and_hidden_folders_are_no_images(tmp_path):
    write_classes(tmp_path)
    (tmp_path / 'train' / 'a' / 'notes.txt').write_text('x')
    (tmp_path / 'train' / 'README').write_text('x')
    (tmp_path / 'train' / '.cache').mkdir()
    source = open_at(tmp_path)
    assert source.labels == ('a', 'b')
    assert source.train.num_examples == 4


def test_endings_are_read_in_any_case(tmp_path):
    write_classes(tmp_path)
    image(tmp_path / 'train' / 'a' / 'SHOUT.JPG')
    image(tmp_path / 'train' / 'a' / 'p.png')
    assert open_at(tmp_path).train.num_examples == 6


def test_an_image_under_a_wrong_ending_is_still_read(tmp_path):
    write_classes(tmp_path)
    image(tmp_path / 'q.png')
    (tmp_path / 'q.png').rename(tmp_path / 'train' / 'a' / 'really_png.jpg')
    assert open_at(tmp_path).train.num_examples == 5


def test_source_names_with_a_colon_open_a_folder(tmp_path):
    write_classes(tmp_path)
    assert open_source(config(dataset=f'folder:{tmp_path}')).labels == ('a', 'b')


# --------------------------------------------------------------------------------- lists


def test_lists_give_file_and_label(tmp_path):
    source = open_at(write_lists(tmp_path))
    assert source.labels == ('0', '1')
    assert examples(source.train) == [(0, 50), (1, 50)]
    assert examples(source.val) == [(1, 0)]


def test_lists_may_name_their_classes(tmp_path):
    assert open_at(write_lists(tmp_path, labels='\ufeffcat\ndog\nowl\n')).labels == (
        'cat',
        'dog',
        'owl',
    )


def test_blank_lines_and_an_editors_mark_in_a_list_are_nothing(tmp_path):
    write_lists(tmp_path, train='\ufeffx 0.jpg 0\ny.jpg 1\n')
    assert open_at(tmp_path).train.num_examples == 2
    write_lists(tmp_path, train='\nx 0.jpg 0\n\ny.jpg 1\n\n')
    assert open_at(tmp_path).train.num_examples == 2


@pytest.mark.parametrize('line', ['y.jpg', 'y.jpg one', 'y.jpg -1', 'y.jpg,1', ' 1'])
def test_a_malformed_line_is_shown_with_its_number(tmp_path, line):
    write_lists(tmp_path, train=f'x 0.jpg 0\n{line}\n')
    with pytest.raises(ValueError, match=r'train\.txt:2: expected "file label", came '):
        open_at(tmp_path)


@pytest.mark.parametrize(
    'name', ['../secret.jpg', '../val/v.jpg', '/etc/hostname', 'a/../../val/v.jpg', '..']
)
def test_a_line_that_leaves_its_folder_is_refused(tmp_path, name):
    write_lists(tmp_path, train=f'{name} 0\n')
    with pytest.raises(ValueError, match=r'train\.txt:1: .* leaves the folder train/'):
        open_at(tmp_path)


def test_a_label_beyond_the_names_is_refused(tmp_path):
    write_lists(tmp_path, val='v.jpg 2\n', labels='cat\ndog\n')
    with pytest.raises(ValueError, match=r'labels\.txt names 2 classes, the lists use 3'):
        open_at(tmp_path)


def test_one_list_without_the_other_is_refused(tmp_path):
    write_lists(tmp_path)
    (tmp_path / 'val.txt').unlink()
    with pytest.raises(ValueError, match=r'val\.txt is missing; train\.txt is there'):
        open_at(tmp_path)


def test_an_empty_list_is_refused(tmp_path):
    write_lists(tmp_path, val='\n')
    with pytest.raises(ValueError, match=r'val\.txt lists no images'):
        open_at(tmp_path)


def test_a_listed_file_that_is_missing_is_named(tmp_path):
    write_lists(tmp_path, train='x 0.jpg 0\nghost.jpg 1\n')
    with pytest.raises(ValueError, match=r'ghost\.jpg \(no such file\)'):
        open_at(tmp_path)


# ------------------------------------------------------------------------ what is missing


def test_a_folder_without_splits_is_refused(tmp_path):
    image(tmp_path / 'a' / '0.jpg')
    with pytest.raises(ValueError, match='has no train/ and val/; expected train/<class>'):
        open_at(tmp_path)


def test_a_folder_without_evaluation_images_is_refused(tmp_path):
    write_classes(tmp_path, val=())
    with pytest.raises(ValueError, match='has no train/ and val/'):
        open_at(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder '.*nowhere' for the dataset"):
        open_source(config(dataset=f'folder:{tmp_path}/nowhere'))


@pytest.mark.parametrize('split', ['train', 'val'])
def test_an_empty_class_folder_is_named(tmp_path, split):
    write_classes(tmp_path, train=('a', 'b', 'c'), val=('a', 'b', 'c'))
    for file in (tmp_path / split / 'b').iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=rf'class folder .*/{split}/b has no images'):
        open_at(tmp_path)


def test_a_class_that_evaluation_lacks_is_named(tmp_path):
    write_classes(tmp_path, train=('a', 'b', 'c'))
    with pytest.raises(ValueError, match=r'class folder .*/val/c has no images'):
        open_at(tmp_path)


def test_a_class_that_training_lacks_is_named(tmp_path):
    write_classes(tmp_path, val=('a', 'b', 'zebra'))
    with pytest.raises(ValueError, match='has classes that train/ lacks: zebra'):
        open_at(tmp_path)


def test_one_class_is_not_enough(tmp_path):
    write_classes(tmp_path, train=('a',), val=('a',))
    with pytest.raises(ValueError, match='has 1 class folders; expected at least 2'):
        open_at(tmp_path)


# ---------------------------------------------------------------------------- bad images


def spoil(root):
    """A text file, an empty file and a cut-off JPEG among the images of train/a."""
    folder = root / 'train' / 'a'
    (folder / 'text.jpg').write_text('no image')
    (folder / 'empty.jpg').touch()
    cut = folder / 'cut.jpg'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:1500])
    return root


def test_bad_images_are_named_counted_and_skipped(tmp_path, capsys):
    source = open_at(spoil(write_classes(tmp_path)), max_bad_fraction=0.5)
    warning = capsys.readouterr().err
    assert 'warning: 3 of 7 train images cannot be decoded' in warning
    assert 'text.jpg (damaged or no image)' in warning
    assert 'empty.jpg (empty file)' in warning
    assert 'cut.jpg (damaged or no image)' in warning
    assert warning.count('\n') == 1
    assert source.train.num_examples == 4
    assert examples(source.train) == [(0, 0), (0, 10), (1, 40), (1, 50)]


def test_too_many_bad_images_stop(tmp_path):
    with pytest.raises(ValueError, match=r'3 of 7 train images cannot .*max_bad_fraction = 0\.01'):
        open_at(spoil(write_classes(tmp_path)))


def test_only_some_of_many_bad_images_are_named(tmp_path, capsys):
    write_classes(tmp_path)
    for n in range(9):
        (tmp_path / 'val' / 'b' / f'bad{n}.png').write_text('no image')
    assert open_at(tmp_path, max_bad_fraction=0.9).val.num_examples == 4
    warning = capsys.readouterr().err
    assert '9 of 13 val images' in warning
    assert warning.count('.png') == 5


def test_a_split_of_bad_images_alone_stops_whatever_the_share(tmp_path):
    write_classes(tmp_path)
    for file in (tmp_path / 'val').glob('*/*.jpg'):
        file.write_text('no image')
    with pytest.raises(ValueError, match='4 of 4 val images cannot be decoded'):
        open_at(tmp_path, max_bad_fraction=1.0)


# ------------------------------------------------------------------------------ shuffling


@pytest.fixture(scope='module')
def nine(tmp_path_factory):
    """Nine training images, image n with n in its first pixel."""
    root = tmp_path_factory.mktemp('nine')
    for n in range(9):
        path = root / 'train' / 'ab'[n % 2] / f'{n}.png'
        image(path, value=n)
    for name in 'ab':
        image(root / 'val' / name / '0.png')
    return open_at(root)


def order(dataset, count):
    return [int(tf.io.decode_image(e['image'])[0, 0, 0]) for e in dataset.take(count)]


def test_every_epoch_holds_every_image_in_another_order(nine):
    numbers = order(nine.train.shuffled(0, 0), 27)
    epochs = [numbers[i : i + 9] for i in (0, 9, 18)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_is_a_function_of_the_seed(nine):
    assert order(nine.train.shuffled(3, 0), 18) == order(nine.train.shuffled(3, 0), 18)
    assert order(nine.train.shuffled(3, 0), 18) != order(nine.train.shuffled(4, 0), 18)


@pytest.mark.parametrize('skip', [4, 9, 13])
def test_skipping_lands_where_the_order_goes_on(nine, skip):
    whole = order(nine.train.shuffled(0, 0), 27)
    assert order(nine.train.shuffled(0, skip), 27 - skip) == whole[skip:]


def test_images_keep_their_labels_when_shuffled(nine):
    for example in nine.train.shuffled(0, 0).take(18):
        assert int(example['label']) == int(tf.io.decode_image(example['image'])[0, 0, 0]) % 2


# ------------------------------------------------------------------------------ real data


@pytest.mark.skipif(not REAL.is_dir(), reason='needs the shared data folder beside the repository')
def test_a_folder_of_photos():
    source = open_at(REAL / 'flowers')
    assert len(source.labels) == 5
    assert source.train.num_examples + source.val.num_examples == 4317
    example = next(iter(source.val.examples()))
    assert tf.io.decode_image(example['image']).shape[-1] == 3


@pytest.mark.skipif(not REAL.is_dir(), reason='needs the shared data folder beside the repository')
def test_lists_of_photos():
    source = open_at(REAL / 'imagenet')
    assert len(source.labels) == 1000
    assert (source.train.num_examples, source.val.num_examples) == (1000, 400)
