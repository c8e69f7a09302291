"""Peers with random weights and statistics, imported: the same answers to 1e-4, no download."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3 import SPECS, build_model
from mobilenet_v3.transforms import widen
from train.weights import keras_source, tf_checkpoint, tflite
from train.weights.carry import carry
from train.weights.fit import fit

CLASSES = 10
SIZES = ((224, 224), (193, 225))  # odd ones, too: there padding shows


def photo(size, seed=0):
    """Two images [2, H, W, 3] in [-1, 1], soft as photos are."""
    spots = np.random.default_rng(seed).uniform(-1, 1, (2, 9, 9, 3))
    return np.clip(tf.image.resize(spots, size, 'bicubic'), -1, 1).astype(np.float32)


def randomize(model, seed=0):
    """Random weights, and the statistics that a batch leaves: activations are of order one."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        layer.set_weights([rng.normal(0, 0.1, v.shape) for v in layer.get_weights()])
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma + 1, beta, mean, np.abs(variance)])
            layer.momentum = 0.0
    model(photo(model.input_shape[1:3], seed=9), training=True)


def check(imported, name, answers, *, multiplier=1.0, classes=CLASSES, seed=0):
    """Our network with the weights of a peer gives the peer's answers, at every size."""
    spec, layers = fit(widen(SPECS[name], multiplier), imported)
    for size, expected in answers.items():
        model = build_model(spec, resolution=size, num_classes=classes)
        report = carry(layers, spec, model, 'keep')
        assert report.fresh == ()
        ours = model(photo(size, seed), training=False).numpy()
        difference = np.abs(ours - expected).max() / max(1.0, np.abs(expected).max())
        print(f'{imported.kind}: {size} differs by {difference:.1e}')
        assert np.abs(expected).std() > 1e-2
        assert difference < 1e-4
    return spec


# ------------------------------------------------------------------- tf_keras.applications

V3 = {'include_preprocessing': False, 'classifier_activation': None}
APPLICATIONS = {
    'large': ('large', 'MobileNetV3Large', 1.0, V3),
    'large 0.75': ('large', 'MobileNetV3Large', 0.75, V3),
    'small': ('small', 'MobileNetV3Small', 1.0, V3),
    'small 0.75': ('small_1024', 'MobileNetV3Small', 0.75, V3),
    'small 0.35': ('small_1024', 'MobileNetV3Small', 0.35, V3),  # whose stem stays at 16
    'large minimalistic': ('large_minimalistic', 'MobileNetV3Large', 1.0, V3 | {'minimalistic': True}),
    'small minimalistic': ('small_minimalistic', 'MobileNetV3Small', 1.0, V3 | {'minimalistic': True}),
    'v2': ('v2', 'MobileNetV2', 1.0, {'classifier_activation': None}),
    'v2 0.35': ('v2', 'MobileNetV2', 0.35, {'classifier_activation': None}),
    'v1': ('v1', 'MobileNet', 1.0, {'classifier_activation': None}),
    'v1 0.5': ('v1', 'MobileNet', 0.5, {'classifier_activation': None}),
}  # fmt: skip


def application(key, size=(224, 224), weights=None):
    _, peer, alpha, more = APPLICATIONS[key]
    build = getattr(tf_keras.applications, peer)
    options = {'classes': CLASSES, 'weights': None, 'alpha': alpha, **more}
    model = build(input_shape=(*size, 3), **options)
    if weights is None:
        randomize(model)
    else:
        model.set_weights(weights)
    return model


@pytest.mark.slow
@pytest.mark.parametrize('key', APPLICATIONS)
def test_applications_of_keras_2(key, tmp_path):
    model = application(key)
    others = {size: application(key, size, model.get_weights()) for size in SIZES}
    answers = {size: other(photo(size)).numpy() for size, other in others.items()}
    path = tmp_path / 'peer.h5'
    model.save_weights(path)
    name, _, multiplier, _ = APPLICATIONS[key]
    check(keras_source.read_keras(str(path)), name, answers, multiplier=multiplier)


def save_as(model, form, folder):
    """Saves a model of Keras 2 in one of its forms; its source."""
    path = folder / {'weights.h5': 'peer.weights.h5', 'keras': 'peer.keras'}.get(form, 'peer')
    if form == 'weights.h5':
        model.save_weights(path)
    elif form == 'checkpoint':
        model.save_weights(path)
        return tf_checkpoint.read_checkpoint(str(path), 'averaged')
    elif form == 'export':
        model.export(path)
    else:
        model.save(path)
    if path.is_dir():
        prefix = tf_checkpoint.checkpoint_prefix(str(path))
        return tf_checkpoint.read_checkpoint(prefix, 'averaged')
    return keras_source.read_keras(str(path))


@pytest.mark.slow
@pytest.mark.parametrize('key', ['small', 'v2', 'v1'])
@pytest.mark.parametrize('form', ['weights.h5', 'keras', 'SavedModel', 'checkpoint', 'export'])
def test_forms_of_keras_2(key, form, tmp_path):
    model = application(key)
    answers = {(224, 224): model(photo((224, 224))).numpy()}
    name = APPLICATIONS[key][0]
    spec = check(save_as(model, form, tmp_path), name, answers)
    assert spec.padding == ('after' if key == 'v1' else 'same')


# ------------------------------------------------------------------- keras.applications, Keras 3

KERAS_3 = """
import json, os, sys
import numpy as np
import keras

folder, cases = sys.argv[1], json.load(open(sys.argv[1] + '/cases.json'))
for key, (peer, alpha, options, size) in cases.items():
    build = getattr(keras.applications, peer)
    model = build(input_shape=(*size, 3), weights=None, alpha=alpha, **options)
    rng = np.random.default_rng(0)
    images = np.load(f'{folder}/{size[0]}.npy')
    for layer in model.layers:
        values = [rng.normal(0, 0.1, v.shape) for v in layer.get_weights()]
        if type(layer).__name__ == 'BatchNormalization':
            values = [values[0] + 1, values[1], values[2], np.abs(values[3])]
            layer.momentum = 0.0
        layer.set_weights(values)
    model(images, training=True)
    np.save(f'{folder}/{key}.npy', np.array(model(images, training=False)))
    model.save(f'{folder}/{key}.keras')
    model.save_weights(f'{folder}/{key}.weights.h5')
    model.save(f'{folder}/{key}.h5')
    model.export(f'{folder}/{key}_saved', verbose=0)
"""


@pytest.fixture(scope='module')
def keras_3(tmp_path_factory):
    """A folder with networks of Keras 3, in all its forms, and their answers."""
    folder = tmp_path_factory.mktemp('keras_3')
    for size in SIZES:
        np.save(folder / f'{size[0]}.npy', photo(size))
    cases = {}
    for key in ('small 0.75', 'large minimalistic', 'v2', 'v1'):
        _, peer, alpha, options = APPLICATIONS[key]
        cases[key] = (peer, alpha, {'classes': CLASSES, **options}, SIZES[key in ('v2', 'v1')])
    (folder / 'cases.json').write_text(json.dumps(cases))
    environment = {k: v for k, v in os.environ.items() if k != 'TF_USE_LEGACY_KERAS'}
    result = subprocess.run(
        [sys.executable, '-c', KERAS_3, str(folder)],
        env={**environment, 'KERAS_BACKEND': 'tensorflow'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('key', ['small 0.75', 'large minimalistic', 'v2', 'v1'])
@pytest.mark.parametrize('form', ['.keras', '.weights.h5', '.h5', '_saved'])
def test_applications_of_keras_3(keras_3, key, form):
    path = str(keras_3 / f'{key}{form}')
    if form == '_saved':
        imported = tf_checkpoint.read_checkpoint(tf_checkpoint.checkpoint_prefix(path), 'raw')
    else:
        imported = keras_source.read_keras(path)
    size = SIZES[key in ('v2', 'v1')]
    name, _, multiplier, _ = APPLICATIONS[key]
    check(imported, name, {size: np.load(keras_3 / f'{key}.npy')}, multiplier=multiplier)


# ------------------------------------------------------------------- .tflite


def convert(model, form, images):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if form != 'float32':
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == 'float16':
        converter.target_spec.supported_types = [tf.float16]
    elif form == 'int8':
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    return converter.convert()


@pytest.mark.slow
@pytest.mark.parametrize('key', ['large', 'small minimalistic', 'v2', 'v1'])
def test_float_files_of_keras(key, tmp_path):
    size = (96, 96)
    model = application(key, size)
    path = tmp_path / 'peer.tflite'
    path.write_bytes(convert(model, 'float32', None))
    name = APPLICATIONS[key][0]
    spec = widen(SPECS[name], 1.0)
    check(tflite.read_tflite(str(path)), spec.name, {size: model(photo(size)).numpy()})


@pytest.mark.slow
@pytest.mark.parametrize(('form', 'most'), [('float16', 2e-3), ('dynamic', 0.02), ('int8', 0.02)])
def test_quantized_files_are_dequantized(form, most, tmp_path):
    size = (96, 96)
    model = application('small', size)
    path = tmp_path / 'peer.tflite'
    path.write_bytes(convert(model, form, photo(size)))
    spec, layers = fit(SPECS['small'], tflite.read_tflite(str(path)))
    ours = build_model(spec, resolution=size, num_classes=CLASSES)
    carry(layers, spec, ours, 'keep')
    kernels = {layer.name: layer.get_weights()[0] for layer in model.layers if layer.weights}
    # The gates' convolutions have no batch normalisation: their kernels come back as they were.
    theirs = kernels['expanded_conv_3/squeeze_excite/Conv_1']
    errors = np.abs(ours.get_layer('bneck_4/se/excite').kernel - theirs)
    assert errors.max() <= most * np.abs(theirs).max()
    bias = model.get_layer('expanded_conv_3/squeeze_excite/Conv_1').bias
    np.testing.assert_allclose(ours.get_layer('bneck_4/se/excite').bias, bias, atol=2e-2)
