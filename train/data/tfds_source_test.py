from types import SimpleNamespace

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from train.data import shapes, tfds_source
from train.data.source import open_source


def config(dataset, data_dir='', streams=1):
    fields = {
        'background': False,
        'data_dir': str(data_dir),
        'shuffle_buffer': 100,
        'streams': streams,
    }
    return ConfigDict({'dataset': dataset, **fields})


@pytest.mark.parametrize(
    ('name', 'meant'), [('cifar11', 'cifar10'), ('imagnet2012', 'imagenet2012'), ('mnits', 'mnist')]
)
def test_an_unknown_name_is_answered_with_the_nearest(name, meant):
    with pytest.raises(ValueError, match=rf"unknown dataset '{name}'; did you mean '{meant}"):
        open_source(config(name))


def test_a_name_near_nothing_is_answered_with_what_is_expected():
    with pytest.raises(
        ValueError, match=r"unknown dataset 'qqqqqqqq'; Expected a TFDS name, folder:"
    ):
        open_source(config('qqqqqqqq'))


@pytest.mark.parametrize('name', ['shape', 'Shapes', ''])
def test_an_unknown_built_in_is_answered_with_the_one_there_is(name):
    expected = f'unknown dataset builtin:{name}; did you mean builtin:shapes?'
    with pytest.raises(ValueError) as raised:
        open_source(config(f'builtin:{name}'))
    assert str(raised.value) == expected


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, 'SPLITS', {'train': 16, 'validation': 8})
        yield tmp_path_factory.mktemp('tfds')


@pytest.fixture(scope='module')
def built_in(data_dir):
    return open_source(config('builtin:shapes', data_dir))


def test_the_built_in_dataset_opens_offline(built_in):
    assert built_in.name == 'builtin:shapes'
    assert built_in.labels == shapes.CLASSES
    assert (built_in.train.num_examples, built_in.val.num_examples) == (16, 8)
    assert sorted(int(e['label']) for e in built_in.val.examples()) == list(range(8))


def test_images_stay_encoded_until_the_pipeline(built_in):
    image = next(iter(built_in.train.examples()))['image']
    assert image.dtype == tf.string
    assert bool(tf.io.is_jpeg(image))


def test_an_epoch_holds_every_example_in_another_order(built_in):
    images = [e['image'].numpy() for e in built_in.train.shuffled(0, 0).take(32)]
    assert set(images[:16]) == set(images[16:])
    assert len(set(images)) == 16
    assert images[:16] != images[16:]


def test_hosts_read_parts_of_their_own_in_the_order_of_one(data_dir):
    shuffled = open_source(config('builtin:shapes', data_dir, streams=4)).train.shuffled

    def images(*arguments):
        return [e['image'].numpy() for e in shuffled(*arguments).take(16)]

    whole = [e['image'].numpy() for e in shuffled(0, 0).take(32)]
    hosts = [images(0, host, 2) for host in (0, 1)]
    assert hosts == [whole[::2], whole[1::2]]
    assert [len(set(found)) for found in hosts] == [8, 8]
    assert not set(hosts[0]) & set(hosts[1])


def fake(features, splits):
    infos = {name: SimpleNamespace(num_examples=1) for name in splits}
    return SimpleNamespace(
        info=SimpleNamespace(features=features, splits=infos), download_and_prepare=lambda: None
    )


def open_fake(monkeypatch, builder, task='classification'):
    monkeypatch.setattr(tfds, 'builder', lambda name, data_dir: builder)
    return tfds_source.open_tfds('some', config('some'), task)


def test_a_dataset_without_images_is_refused(monkeypatch):
    builder = fake({'text': 1, 'label': 2}, ('train', 'test'))
    with pytest.raises(ValueError, match=r"some has features \['text', 'label'\]; expected image"):
        open_fake(monkeypatch, builder)


@pytest.mark.parametrize('splits', [('train',), ('test',), ('train', 'extra')])
def test_a_dataset_without_an_evaluation_split_is_refused(monkeypatch, splits):
    label = tfds.features.ClassLabel(names=['a', 'b'])
    builder = fake({'image': tfds.features.Image(), 'label': label}, splits)
    with pytest.raises(ValueError, match='expected train and validation or test'):
        open_fake(monkeypatch, builder)


def test_a_label_that_is_no_class_is_refused(monkeypatch):
    features = {'image': tfds.features.Image(), 'label': tfds.features.Scalar(tf.float32)}
    with pytest.raises(ValueError, match='label'):
        open_fake(monkeypatch, fake(features, ('train', 'test')))


def test_a_dataset_that_cannot_be_prepared_says_why(monkeypatch):
    def fail():
        raise AssertionError('Manual directory is missing.\nmore')

    builder = fake({}, ())
    builder.download_and_prepare = fail
    with pytest.raises(
        ValueError, match=r'Manual directory is missing\.\); .*--data_dir'
    ) as raised:
        open_fake(monkeypatch, builder)
    assert '\n' not in str(raised.value)
