import importlib.util
import io
import zipfile

import numpy as np
import pytest

from export import metadata
from export.mediapipe_tasks import image_classifier
from export.metadata import add_metadata
from export.metadata_reader import read_metadata
from train.tflite_file import TFLiteModel, dissect

LABELS = ['tench', 'crane', 'Schäfer hund', 'crane', ' 猫 ']  # as ImageNet: one name twice
SIZE = (24, 40)


@pytest.fixture(scope='session')
def contents():
    """Classification files of one tiny network, by what they take and give."""
    import tensorflow as tf
    import tf_keras

    from export import convert

    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((*SIZE, 3))
    x = tf_keras.layers.Conv2D(16, 5, strides=4)(image)
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    # Far apart, so that 8 bits keep the order of the classes.
    logits = tf_keras.layers.Dense(len(LABELS), kernel_initializer='orthogonal')(x * 10.0)
    model = tf_keras.Model(image, tf_keras.layers.Softmax()(logits))
    images = [_pixels(seed) / np.float32(127.5) - 1 for seed in range(20)]

    def quantize(model, dtype):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
        converter.inference_input_type = converter.inference_output_type = dtype
        return converter.convert()

    kept = tf_keras.layers.Reshape((1, 1, len(LABELS)))(model.output)
    gray = tf_keras.Input((8, 8, 1))
    return {
        'float32': convert.convert_float(model),
        'uint8': quantize(model, tf.uint8),
        'logits': quantize(tf_keras.Model(image, logits), tf.uint8),
        '[1, 1, 1, N]': convert.convert_float(tf_keras.Model(image, kept)),
        'int8': quantize(model, tf.int8),
        'two': convert.convert_float(tf_keras.Model(image, {'a': model.output, 'b': logits})),
        'gray': convert.convert_float(
            tf_keras.Model(gray, tf_keras.layers.Dense(5)(tf_keras.layers.Flatten()(gray)))
        ),
        'map': convert.convert_float(tf_keras.Model(image, image * 2.0)),
    }


def _pixels(seed):
    rng = np.random.default_rng(seed)
    tint = rng.uniform(0, 200, 3)  # a colour an image, so that the answers differ
    return (rng.integers(0, 56, (*SIZE, 3)) + tint).astype(np.uint8)


def pack(content, **changes):
    arguments = {
        'task': image_classifier('softmax'),
        'name': 'small',
        'description': 'Tells birds.',
        'labels': LABELS,
    }
    return add_metadata(content, **(arguments | changes))


@pytest.mark.parametrize('kind', ['float32', 'uint8', 'logits', '[1, 1, 1, N]'])
def test_mediapipe_gives_the_labels_and_scores_of_the_interpreter(
    mediapipe, contents, tmp_path, kind
):
    from mediapipe.tasks.python import BaseOptions, vision

    path = tmp_path / 'packed.tflite'
    activation = 'none' if kind == 'logits' else 'softmax'
    path.write_bytes(pack(contents[kind], task=image_classifier(activation)))
    ours = TFLiteModel(path)
    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(path)), max_results=len(LABELS)
    )
    tops = set()
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for seed in range(6):
            pixels = _pixels(100 + seed)
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            (head,) = classifier.classify(image).classifications
            scores = np.ravel(ours(pixels[np.newaxis] / np.float32(127.5) - 1))
            assert head.head_name == ('logit' if kind == 'logits' else 'probability')
            assert {c.index: c.category_name for c in head.categories} == dict(enumerate(LABELS))
            theirs = {c.index: c.score for c in head.categories}
            # Float pixels are normalised in another order of operations; 8 bits are exact.
            tolerance = 0.0 if kind in ('uint8', 'logits') else 1e-5
            np.testing.assert_allclose([theirs[i] for i in range(5)], scores, rtol=tolerance)
            top = head.categories[0].index
            assert scores[top] == scores.max()  # equal scores, which 8 bits have, go either way
            tops.add(top)
    assert len(tops) > 1  # a classifier that always says the same would prove little


@pytest.mark.parametrize('kind', ['float32', 'uint8'])
def test_the_network_stays_as_it_was(mediapipe, contents, tmp_path, kind):
    plain, packed = tmp_path / 'plain.tflite', tmp_path / 'packed.tflite'
    plain.write_bytes(contents[kind])
    packed.write_bytes(pack(contents[kind]))
    assert dissect(packed) == dissect(plain)
    images = np.stack([_pixels(seed) for seed in range(6)]) / np.float32(127.5) - 1
    for delegate in (True, False):
        before, after = (TFLiteModel(p, delegate=delegate)(images) for p in (plain, packed))
        np.testing.assert_array_equal(before, after)


def test_the_metadata_comes_back(mediapipe, contents):
    packed = pack(contents['uint8'])
    assert read_metadata(packed) == {
        'name': 'small',
        'description': 'Tells birds.',
        'labels': LABELS,
        'outputs': ['probability'],
        'normalization': {'mean': [127.5], 'std': [127.5]},
    }
    # As MediaPipe itself reads it.
    from mediapipe.tasks.python.metadata.metadata import MetadataDisplayer

    displayer = MetadataDisplayer.with_model_buffer(packed)
    assert displayer.get_packed_associated_file_list() == ['labels.txt']
    assert displayer.get_associated_file_buffer('labels.txt').decode() == '\n'.join(LABELS)
    assert '"min_parser_version": "1.0.0"' in displayer.get_metadata_json()


def test_the_same_arguments_give_the_same_bytes(mediapipe, contents):
    packed = pack(contents['uint8'])
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.getinfo('labels.txt').date_time == (1980, 1, 1, 0, 0, 0)
    assert pack(contents['uint8']) == packed


def test_nothing_is_complained_about_at_exit(mediapipe, contents, tmp_path, run_python):
    path = tmp_path / 'plain.tflite'
    path.write_bytes(contents['uint8'])
    code = f"""
from pathlib import Path
from export.mediapipe_tasks import image_classifier
from export.metadata import add_metadata
content = Path({str(path)!r}).read_bytes()
add_metadata(content, image_classifier('none'), name='', description='', labels=list('abcde'))
"""
    result = run_python('-c', code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'Exception ignored' not in result.stderr


def test_a_second_time_is_refused(mediapipe, contents):
    with pytest.raises(ValueError, match='has metadata already; give it as the converter made it'):
        pack(pack(contents['uint8']))


@pytest.mark.parametrize('labels', [LABELS[:-1], [*LABELS, 'more'], []])
def test_another_number_of_labels_is_refused(contents, labels):
    with pytest.raises(ValueError, match=rf'^{len(labels)} labels for the 5 values of the output'):
        pack(contents['uint8'], labels=labels)


@pytest.mark.parametrize('label', ['', 'two\nlines', 'carriage\r', 'zero\0'])
def test_labels_that_would_not_come_back_are_refused(contents, label):
    with pytest.raises(ValueError, match=r'label 4 is .* expected text of one line'):
        pack(contents['uint8'], labels=[*LABELS[:-1], label])


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('int8', r'the input is int8, MediaPipe takes uint8 and float32; export with --io=uint8'),
        ('two', r'the file has 2 outputs, expected one score a class; give a classification file'),
        ('gray', r'the input is \[1, 8, 8, 1\], MediaPipe feeds one RGB image'),
        ('map', r'the output is \[1, 24, 40, 3\], expected \[1, classes\]'),
    ],
)
def test_files_that_mediapipe_would_not_run_are_refused(contents, kind, message):
    with pytest.raises(ValueError, match=message):
        pack(contents[kind])


@pytest.mark.parametrize('function', [pack, read_metadata])
def test_what_is_no_tflite_file_is_refused(function):
    with pytest.raises(
        ValueError, match=r"no TFLite file: bytes 4 to 8 are b'o', expected b'TFL3'"
    ):
        function(b'hello')


def test_a_damaged_file_is_refused(contents):
    cut = contents['uint8'][:40]
    with pytest.raises(ValueError, match=r'^the file cannot be run: .*export or copy it again'):
        pack(cut)
    with pytest.raises(ValueError, match=r'metadata of the file cannot be read: .*export the file'):
        read_metadata(cut)


def test_metadata_without_its_labels_is_refused(mediapipe, contents):
    packed = pack(contents['uint8'])
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        start = archive.infolist()[0].header_offset
    with pytest.raises(ValueError, match=r'metadata of the file cannot be read: BadZipFile'):
        read_metadata(packed[:start])


def test_a_file_without_metadata_has_none(contents):
    assert read_metadata(contents['uint8']) is None


def test_without_mediapipe_the_message_says_how_to_get_it(contents, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert not metadata.available()
    with pytest.raises(ValueError, match=r'not installed; pip install --no-deps mediapipe'):
        pack(contents['uint8'])


def test_a_mediapipe_that_cannot_be_loaded_is_named(contents, monkeypatch):
    def find_spec(name):
        if name == 'mediapipe':
            return object()
        raise ImportError("No module named 'cv2'")

    monkeypatch.setattr(importlib.util, 'find_spec', find_spec)
    with pytest.raises(ValueError, match=r"cannot be used: No module named 'cv2'; .*libegl1"):
        pack(contents['uint8'])


def test_a_missing_library_is_named(mediapipe, contents, monkeypatch):
    def populate(self):
        raise OSError('libEGL.so.1: cannot open shared object file')

    monkeypatch.setattr(metadata._import_writers().MetadataWriter, 'populate', populate)
    with pytest.raises(ValueError, match=r'libEGL.so.1: .* apt install libegl1 libgles2'):
        pack(contents['uint8'])
