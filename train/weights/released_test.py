import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3 import SPECS, build_model
from mobilenet_v3.spec_file import load_model_spec
from train.data import augment
from train.testing import released_arrays
from train.weights import released
from train.weights.carry import carry
from train.weights.fit import fit
from train.weights.released import read_released
from train.weights.tflite import read_tflite

DATA = Path(__file__).parents[3] / 'shared' / 'data'
RELEASED = DATA / 'released' / 'v3-small_224_1.0_dequantized.npz'
RELEASED_FILE = DATA / 'released' / 'v3-small_224_1.0_uint8.tflite'
KINDS = (tf_keras.layers.Conv2D, tf_keras.layers.DepthwiseConv2D)


@pytest.fixture(scope='module')
def spec(tiny_spec):
    return load_model_spec(str(tiny_spec))


@pytest.fixture
def model(spec):
    return build_model(spec, resolution=32, num_classes=3)


@pytest.fixture(scope='module')
def arrays(spec):
    """An archive's content for the tiny network: weights as TFLite lays them out."""
    return released_arrays(build_model(spec, resolution=32, num_classes=3))


def save(path, arrays):
    np.savez(path, **arrays)
    return str(path)


def test_the_network_computes_the_convolutions_of_the_archive(spec, model, arrays, tmp_path):
    path = save(tmp_path / 'weights.npz', arrays)
    fitted, weights = fit(spec, read_released(path))
    assert fitted == spec
    carry(weights, spec, model, 'keep')
    # Against the same network whose convolutions have the bias and whose BN is taken out.

    def plain(layer):
        if isinstance(layer, KINDS):
            return layer.__class__.from_config({**layer.get_config(), 'use_bias': True})
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            return tf_keras.layers.Activation('linear', name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    expected = tf_keras.models.clone_model(model, clone_function=plain)
    for layer in expected.layers:
        if isinstance(layer, KINDS):
            new = weights[layer.name]
            layer.set_weights([new['kernel'], new['bias']])
    images = np.random.default_rng(1).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    answers = model(images, training=False).numpy()
    np.testing.assert_allclose(answers, expected(images), rtol=1e-5, atol=1e-6)
    # Read and carried once more, they are the same to the bit.
    again = tf_keras.models.clone_model(model)
    carry(fit(spec, read_released(path))[1], spec, again, 'keep')
    np.testing.assert_array_equal(again(images, training=False), answers)


def test_order_is_that_of_the_numbers(arrays, tmp_path):
    shuffled = dict(reversed(arrays.items()))
    ours, theirs = (read_released(save(tmp_path / 'w.npz', a)) for a in (arrays, shuffled))
    assert sum(len(layers) for layers in ours.by_kind.values()) == len(arrays) // 2
    for kind, layers in ours.by_kind.items():
        for one, other in zip(layers, theirs.by_kind[kind], strict=True):
            np.testing.assert_array_equal(one['kernel'], other['kernel'])
            np.testing.assert_array_equal(one['bias'], other['bias'])


def without(name):
    return lambda arrays: {k: v for k, v in arrays.items() if not k.startswith(name)}


@pytest.mark.parametrize(
    'damage',
    [
        without('03_'),
        without('03_CONV_2D_b'),
        without('00_CONV_2D_w'),
        lambda arrays: {**arrays, 'step': np.array(3)},
        lambda arrays: {**arrays, '00_CONV_2D_b': np.array([{}], object)},
        lambda arrays: {**arrays, '00_CONV_2D_b': np.zeros((8, 1), np.float32)},
        lambda arrays: {**arrays, '00_CONV_2D_b': np.zeros(8, np.int32)},
        lambda arrays: {**arrays, '00_CONV_2D_w': np.zeros((8, 27), np.float32)},
        lambda arrays: {**arrays, '00_DEPTHWISE_CONV_2D_w': np.zeros((1, 3, 3, 8), np.float32)},
        lambda arrays: {},
    ],
)
def test_an_archive_of_another_layout_is_refused(arrays, damage, tmp_path):
    path = save(tmp_path / 'weights.npz', damage(arrays))
    with pytest.raises(ValueError, match=f'{path} cannot be read as released weights .* expected '):
        read_released(path)


def test_what_is_no_archive_is_refused(arrays, tmp_path):
    path = tmp_path / 'weights.npz'
    save(path, arrays)
    whole = path.read_bytes()
    np.savez_compressed(tmp_path / 'small.npz', **arrays)
    damaged = bytearray((tmp_path / 'small.npz').read_bytes())
    damaged[100:600] = bytes(500)
    with (tmp_path / 'array.npy').open('wb') as file:
        np.save(file, np.zeros(3))
    array = (tmp_path / 'array.npy').read_bytes()
    for content in (b'', b'no archive', whole[: len(whole) // 2], bytes(damaged), array):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='cannot be read as released weights') as error:
            read_released(str(path))
        assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match='nowhere cannot be read as released weights'):
        read_released('nowhere')
    with pytest.raises(ValueError, match='cannot be read as released weights'):
        read_released(str(tmp_path))


def change(name, values):
    return lambda arrays: {**arrays, name: values}


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (without('10_'), r'it has \d+ convolutions, tiny has \d+'),
        (
            change('00_CONV_2D_w', np.zeros((8, 5, 5, 3), np.float32)),
            r'stem/conv is \[5, 5, 3, 8\], expected \[3, 3, 3, 8\]',
        ),
        (
            change('00_CONV_2D_b', np.zeros(7, np.float32)),
            r'bias of stem/conv is \[7\], not \[8\]',
        ),
    ],
)
def test_weights_of_another_network_are_refused(spec, arrays, damage, message, tmp_path):
    damaged = damage(arrays)
    numbers = sorted({name[:2] for name in damaged})
    damaged = {f'{numbers.index(name[:2]):02}{name[2:]}': v for name, v in damaged.items()}
    imported = read_released(save(tmp_path / 'weights.npz', damaged))
    with pytest.raises(ValueError, match=f'does not fit the network tiny: .*{message}'):
        fit(spec, imported)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_and_change_nothing(
    spec, model, arrays, value, tmp_path
):
    bad = {**arrays, '00_CONV_2D_b': np.full(8, value, np.float32)}
    _, weights = fit(spec, read_released(save(tmp_path / 'weights.npz', bad)))
    before = model.get_weights()
    with pytest.raises(ValueError, match='stem/bn has values that are not finite numbers'):
        carry(weights, spec, model, 'keep')
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_archive_that_unpacks_to_more_than_a_network_is_refused(arrays, tmp_path, monkeypatch):
    path = save(tmp_path / 'weights.npz', arrays)
    monkeypatch.setattr(released, 'LARGEST_BYTES', 1000)
    with pytest.raises(ValueError, match='it unpacks to more than any network here'):
        read_released(path)


released_only = pytest.mark.skipif(
    not RELEASED.is_file(), reason=f'the released weights are not at {RELEASED}'
)


@released_only
def test_the_released_file_is_the_archive_bit_by_bit():
    archive, file = read_released(str(RELEASED)), read_tflite(str(RELEASED_FILE))
    assert sum(len(layers) for layers in file.by_kind.values()) == 54
    for kind, layers in archive.by_kind.items():
        for ours, theirs in zip(file.by_kind[kind], layers, strict=True):
            for role in ('kernel', 'bias'):
                np.testing.assert_array_equal(ours[role], theirs[role])


@released_only
def test_the_released_small_network_knows_its_photos():
    """73.0 % of the 400 photos, as the dequantized weights are known to have."""
    spec, layers = fit(SPECS['small'], read_tflite(str(RELEASED_FILE)))
    assert spec == dataclasses.replace(SPECS['small_1024'], name='small')
    model = build_model(spec, resolution=224, num_classes=1001)
    carry(layers, spec, model, 'keep')
    rows = [row.split() for row in (DATA / 'imagenet' / 'val.txt').read_text().splitlines()]
    hits = 0
    for start in range(0, len(rows), 50):
        images = [
            augment.center_crop(
                tf.io.read_file(str(DATA / 'imagenet' / 'val' / file)), (224, 224), 0.875
            )
            for file, _ in rows[start : start + 50]
        ]
        # The first class is the background.
        labels = [int(label) + 1 for _, label in rows[start : start + 50]]
        logits = model(augment.scale(tf.stack(images)), training=False).numpy()
        hits += int(np.sum(logits.argmax(axis=-1) == labels))
    print(f'top-1 of {len(rows)} photos: {hits / len(rows):.4f}')
    assert len(rows) == 400
    assert 288 <= hits <= 296  # 292 here; decoders of JPEG differ in a bit
