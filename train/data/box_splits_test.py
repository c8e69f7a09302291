import pytest
from ml_collections import ConfigDict

from train.data.box_splits import BoxFolder, hold_out, make_room
from train.data.boxes import Annotated, Annotations, Box
from train.data.source import Split, open_source, open_split


def open_one(path, split, labels=('green', 'red', 'blue', 'grey')):
    fields = {'dataset': f'voc:{path}', 'background': False, 'max_bad_fraction': 0}
    return open_split(ConfigDict(fields), 'detection', split, labels)


@pytest.fixture
def alone(box_folder, tmp_path):
    """Makes a folder of the same images that has some of the lists only."""

    def make(*names):
        for folder in ('JPEGImages', 'Annotations'):
            (tmp_path / folder).symlink_to(box_folder / folder)
        (tmp_path / 'ImageSets/Main').mkdir(parents=True)
        for name in names:
            text = (box_folder / f'ImageSets/Main/{name}.txt').read_text()
            (tmp_path / f'ImageSets/Main/{name}.txt').write_text(text)
        return tmp_path

    return make


# ------------------------------------------------------------------------ one split of all


@pytest.mark.parametrize(
    ('names', 'split', 'count'),
    [
        (['test'], 'test', 4),
        (['test'], 'val', 4),
        (['val'], 'val', 7),
        (['train', 'test'], 'test', 4),
        (['train', 'test'], 'train', 10),
        (['train'], 'train', 8),
        (['train'], 'val', 2),
    ],
)
def test_a_split_needs_no_other(alone, names, split, count):
    opened = open_one(alone(*names), split)
    assert opened.split.num_examples == count
    # Classes are found by name: those of the data are in another order, and one is not in it.
    assert opened.labels == ('green', 'red', 'blue', 'grey')
    found = {int(n) for raw in opened.split.examples() for n in raw['box_labels']}
    assert found == {0, 1, 2}


def test_classes_are_matched_by_name(box_folder):
    ours = open_one(box_folder, 'val', ('red', 'blue', 'green')).split.examples()
    theirs = open_one(box_folder, 'val', ('blue', 'green', 'red')).split.examples()
    for one, other in zip(ours, theirs, strict=True):
        assert [(n + 2) % 3 for n in one['box_labels'].numpy()] == other[
            'box_labels'
        ].numpy().tolist()


def test_a_split_that_is_bad_does_not_matter_to_another(alone):
    root = alone('train', 'val')
    (root / 'ImageSets/Main/train.txt').write_text('gone\n')
    assert open_one(root, 'val').split.num_examples == 7
    with pytest.raises(ValueError, match=r'1 of 1 train images are bad: .*gone'):
        open_one(root, 'train')


@pytest.mark.parametrize(
    ('names', 'split', 'told'),
    [
        (['val'], 'test', 'has no test split; .*, or one that it has: --split=val$'),
        (['test'], 'train', 'has no train split; .*, or one that it has: --split=test$'),
        (['train', 'val'], 'test', 'has no test split; .*: --split=train or --split=val$'),
    ],
)
def test_a_split_that_is_not_there_is_answered_with_those_that_are(alone, names, split, told):
    with pytest.raises(ValueError, match=told):
        open_one(alone(*names), split)


def test_classes_that_the_model_does_not_know_are_named(box_folder):
    told = 'boxes of classes that the model does not know: blue; green; it knows red; sky. Remove'
    with pytest.raises(ValueError, match=told):
        open_one(box_folder, 'val', ('red', 'sky'))


def test_a_model_without_names_takes_those_of_the_data(box_folder):
    assert open_one(box_folder, 'val', ('0', '1', '2')).labels == ('blue', 'green', 'red')


# ----------------------------------------------------------------------- a test without boxes


@pytest.mark.parametrize('xml', ['missing', 'without objects', 'bad'])
def test_a_test_split_without_boxes_is_left_out(alone, capsys, xml):
    root = alone('train', 'val')
    annotations = root / 'Annotations'
    (root / 'ImageSets/Main/test.txt').write_text('secret\n')
    if xml != 'missing':
        there = {file.name: file.read_text() for file in annotations.iterdir()}
        annotations.unlink()  # a link
        annotations.mkdir()
        there['secret.xml'] = f'<annotation>{"<object/>" if xml == "bad" else ""}</annotation>'
        for name, text in there.items():
            (annotations / name).write_text(text)
    fields = {'dataset': f'voc:{root}', 'background': False, 'max_bad_fraction': 0}
    source = open_source(ConfigDict({**fields, 'max_boxes': 100}), 'detection')
    assert (source.train.num_examples, source.val.num_examples) == (10, 7)
    assert source.test is None
    told = f'warning: voc:{root}: no box of the test split can be read; it is left out\n'
    assert capsys.readouterr().err == told
    with pytest.raises(ValueError, match=r'1 of 1 test images are bad'):
        open_one(root, 'test')


# ---------------------------------------------------------------------------- a part of train


def found(*names):
    box = (Box('told', 'cat', (0, 0, 1, 1)),)
    return Annotations(tuple(Annotated(name, box) for name in names), ('bad.jpg (gone)',))


def images(annotations):
    return [image.image for image in annotations.images]


FOLDER = BoxFolder('voc:x', {}, 'lists')


def test_what_is_held_out_hangs_on_names_alone():
    names = [f'a/{n}.jpg' for n in range(50)]
    train, val = hold_out(found(*names), FOLDER)
    assert (len(train.images), len(val.images)) == (40, 10)
    assert sorted(images(train) + images(val)) == sorted(names)
    assert train.bad_images == ('bad.jpg (gone)',)
    moved = [name.replace('a/', 'b/') for name in reversed(names)]
    _, again = hold_out(found(*moved), FOLDER)
    assert {i[2:] for i in images(again)} == {i[2:] for i in images(val)}


def test_of_two_images_one_is_held_out_and_one_is_too_few():
    train, val = hold_out(found('a.jpg', 'b.jpg'), FOLDER)
    assert len(train.images) == len(val.images) == 1
    with pytest.raises(ValueError, match='voc:x has 1 annotated images; expected at least 2'):
        hold_out(found('a.jpg'), FOLDER)


# ---------------------------------------------------------------------------------- many boxes


def split(most):
    return Split(1, lambda: None, lambda seed, skip: None, most)


def test_room_is_made_for_the_most_boxes(capsys):
    fields = ConfigDict({'max_boxes': 100})
    make_room(fields, split(0), split(100), None)
    assert (fields.max_boxes, capsys.readouterr().err) == (100, '')
    make_room(fields, split(7), split(120), split(110))
    assert fields.max_boxes == 120
    told = 'warning: an image has 120 boxes: config.data.max_boxes is raised to that from 100\n'
    assert capsys.readouterr().err == told
