import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from ml_collections import ConfigDict
from PIL import Image

from train.data import shapes, tfds_source
from train.data.source import open_source
from train.data.tfds_forms import CITYSCAPES, FORMS


def config(dataset='some', data_dir='', **fields):
    common = {
        'background': False,
        'shuffle_buffer': 100,
        'streams': 1,
        'num_classes': 0,
        'ignore_label': 255,
    }
    return ConfigDict({'dataset': dataset, 'data_dir': str(data_dir), **common, **fields})


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, 'PNG')
    return buffer.getvalue()


# ---------------------------------------------------------------------------- the built-in


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tfds')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, 'SPLITS', {'train': 8, 'validation': 8})
        shapes.prepare(str(folder))
    return folder


def drawn_by_label():
    return {n: shapes.render(shapes.SEED, 'train', n) for n in range(8)}


def test_the_built_in_dataset_has_boxes(data_dir):
    source = open_source(config('builtin:shapes', data_dir), 'detection')
    assert source.labels == shapes.CLASSES
    assert source.test is None
    assert (source.train.num_examples, source.val.num_examples) == (8, 8)
    drawn = drawn_by_label()
    found = list(source.train.examples().as_numpy_iterator())
    for raw in found:
        assert raw.keys() == {'image', 'boxes', 'box_labels', 'crowd', 'areas'}
        shape = drawn[int(raw['box_labels'][0])]  # one image a class, so the largest shape names it
        np.testing.assert_allclose(raw['boxes'], shape.boxes)
        np.testing.assert_array_equal(raw['box_labels'], shape.box_labels)
        assert raw['crowd'].tolist() == [False] * len(shape.boxes)
        assert raw['areas'].tolist() == [0.0] * len(shape.boxes)
        assert tf.io.decode_image(raw['image']).shape == (96, 96, 3)


def test_the_built_in_dataset_has_masks(data_dir):
    source = open_source(config('builtin:shapes', data_dir), 'segmentation')
    assert source.labels == ('background', *shapes.CLASSES)
    drawn = [shape.mask for shape in drawn_by_label().values()]
    for raw in source.train.shuffled(0, 0).take(8).as_numpy_iterator():
        assert raw.keys() == {'image', 'mask', 'mask_classes'}
        mask = raw['mask_classes'][tf.io.decode_png(raw['mask']).numpy()]
        assert any(np.array_equal(mask, expected) for expected in drawn)


def test_a_number_that_is_ignored_is_no_class(data_dir):
    source = open_source(config('builtin:shapes', data_dir, ignore_label=0), 'segmentation')
    assert source.labels == shapes.CLASSES
    (raw,) = source.val.examples().take(1).as_numpy_iterator()
    assert raw['mask_classes'].tolist() == [255, *range(8), *[255] * 247]


# -------------------------------------------------------------------- features as TFDS has them


@pytest.mark.parametrize(('name', 'num_classes'), [('coco/2017', 80), ('voc/2007', 20)])
def test_tfds_names_with_objects_are_for_detection(name, num_classes):
    form = FORMS['detection'](name, tfds.builder(name).info.features, config())
    assert len(form.labels) == num_classes
    ones = {'bbox': tf.constant([[0.1, 0.2, 0.3, 0.4]] * 2), 'label': tf.constant([3, 5], tf.int64)}
    crowd = 'is_crowd' if 'coco' in name else 'is_difficult'
    objects = {**ones, crowd: tf.constant([True, False])}
    if 'coco' in name:
        objects['area'] = tf.constant([7, 9], tf.int64)
    raw = form.raw({'image': tf.constant(b'...'), 'objects': objects})
    assert raw['crowd'].numpy().tolist() == [True, False]
    assert raw['areas'].numpy().tolist() == ([7, 9] if 'coco' in name else [0, 0])
    assert raw['box_labels'].numpy().tolist() == [3, 5]
    assert raw['boxes'].dtype == raw['areas'].dtype == tf.float32


def test_an_image_without_objects_is_an_example():
    form = FORMS['detection']('voc', tfds.builder('voc').info.features, config())
    none = {'bbox': tf.zeros([0, 4]), 'label': tf.zeros([0], tf.int64)}
    none['is_difficult'] = tf.zeros([0], tf.bool)
    raw = form.raw({'image': tf.constant(b''), 'objects': none})
    assert raw['boxes'].shape == (0, 4)
    assert not form.annotated(raw)


def test_the_34_numbers_of_cityscapes_become_its_19_classes():
    form = FORMS['segmentation']('cityscapes', tfds.builder('cityscapes').info.features, config())
    assert len(form.labels) == 19
    assert (form.labels[0], form.labels[18]) == ('road', 'bicycle')
    raw = form.raw({'image_left': tf.constant(b'a'), 'segmentation_label': tf.constant(b'b')})
    assert (raw['image'], raw['mask']) == (b'a', b'b')
    classes = raw['mask_classes'].numpy()
    assert [classes[number] for number in CITYSCAPES.values()] == list(range(19))
    assert sum(classes == 255) == 256 - 19
    assert form.annotated({'mask': png([[0, 7]])})
    assert not form.annotated({'mask': png([[0, 0]])})


def test_pets_count_from_one():
    features = tfds.builder('oxford_iiit_pet').info.features
    form = FORMS['segmentation']('oxford_iiit_pet', features, config())
    assert form.labels == ('pet', 'background', 'border')
    raw = form.raw({'image': tf.constant(b''), 'segmentation_mask': tf.constant(b'')})
    assert raw['mask_classes'].numpy()[:5].tolist() == [255, 0, 1, 2, 255]


def test_masks_whose_numbers_have_no_names_need_their_count():
    image, mask = tfds.features.Image(), tfds.features.Image(shape=(None, None, 1))
    features = {'image': image, 'mask': mask}
    with pytest.raises(ValueError, match='some does not name the classes of its masks; give their'):
        FORMS['segmentation']('some', features, config())
    assert FORMS['segmentation']('some', features, config(num_classes=2)).labels == ('0', '1')


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_a_dataset_without_what_a_task_needs_is_refused(task):
    features = tfds.builder('mnist').info.features
    with pytest.raises(ValueError, match=rf"mnist has features \['image', 'label'\]; {task} needs"):
        FORMS[task]('mnist', features, config())


# ------------------------------------------------------------------------------- test splits


class Coins(tfds.core.GeneratorBasedBuilder):
    """Two images a split; those of 'test' have no label."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = {
            'image': tfds.features.Image(shape=(4, 4, 3), encoding_format='png'),
            'label': tfds.features.ClassLabel(num_classes=2),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name) for name in ('train', 'validation', 'test')}

    def _generate_examples(self, name):
        for n in range(2):
            hidden = name == 'test' and not self.test_labels
            image = np.full((4, 4, 3), n, np.uint8)
            yield n, {'image': image, 'label': -1 if hidden else n}


@pytest.mark.parametrize('annotated', [True, False])
def test_a_test_split_counts_where_it_is_annotated(tmp_path, monkeypatch, annotated):
    monkeypatch.setattr(Coins, 'test_labels', annotated, raising=False)
    builder = Coins(data_dir=str(tmp_path))
    monkeypatch.setattr(tfds, 'builder', lambda name, data_dir: builder)
    tfds.disable_progress_bar()
    source = tfds_source.open_tfds('coins', config('coins'), 'classification')
    if annotated:
        assert source.split('test').num_examples == 2
    else:
        with pytest.raises(ValueError, match='coins has no annotated test split; expected train'):
            source.split('test')
    assert source.split('val') is source.val
