from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mobilenet_v3 import SPECS, build_model
from mobilenet_v3.spec_file import load_model_spec
from train.data import augment
from train.released import Convolution, carry_released, fit_spec, read_released

DATA = Path(__file__).parents[2] / 'shared' / 'data'
RELEASED = DATA / 'released' / 'v3-small_224_1.0_dequantized.npz'
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
    rng = np.random.default_rng(0)
    model = build_model(spec, resolution=32, num_classes=3)
    arrays = {}
    for number, layer in enumerate(la for la in model.layers if isinstance(la, KINDS)):
        depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
        kernel = rng.normal(0, 0.3, layer.weights[0].shape).astype(np.float32)
        op = 'DEPTHWISE_CONV_2D' if depthwise else 'CONV_2D'
        # Keras: [h, w, C, k] and [h, w, C, 1]; TFLite: [k, h, w, C] and [1, h, w, C].
        arrays[f'{number:02}_{op}_w'] = kernel.transpose(3, 0, 1, 2)
        channels = kernel.shape[2 if depthwise else 3]
        arrays[f'{number:02}_{op}_b'] = rng.normal(0, 0.3, channels).astype(np.float32)
    return arrays


def save(path, arrays):
    np.savez(path, **arrays)
    return str(path)


def test_the_network_computes_the_convolutions_of_the_archive(model, arrays, tmp_path):
    weights = read_released(save(tmp_path / 'weights.npz', arrays))
    carry_released(weights, model)
    # Against the same network whose convolutions have the bias and whose BN is taken out.
    layers = iter(weights)

    def plain(layer):
        if isinstance(layer, KINDS):
            return layer.__class__.from_config({**layer.get_config(), 'use_bias': True})
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            return tf_keras.layers.Activation('linear', name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    expected = tf_keras.models.clone_model(model, clone_function=plain)
    for layer in expected.layers:
        if isinstance(layer, KINDS):
            new = next(layers)
            layer.set_weights([new.kernel, new.bias])
    images = np.random.default_rng(1).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    answers = model(images, training=False).numpy()
    np.testing.assert_allclose(answers, expected(images), rtol=1e-5, atol=1e-6)
    # Read and carried once more, they are the same to the bit.
    again = tf_keras.models.clone_model(model)
    carry_released(read_released(str(tmp_path / 'weights.npz')), again)
    np.testing.assert_array_equal(again(images, training=False), answers)


def test_order_is_that_of_the_numbers(arrays, tmp_path):
    shuffled = dict(reversed(arrays.items()))
    ours, theirs = (read_released(save(tmp_path / 'w.npz', a)) for a in (arrays, shuffled))
    assert len(ours) == len(arrays) // 2
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)
        np.testing.assert_array_equal(one.bias, other.bias)


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


def change(number, **values):
    def damage(weights):
        weights = list(weights)
        old = weights[number]
        weights[number] = Convolution(**{'kernel': old.kernel, 'bias': old.bias, **values})
        return weights

    return damage


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (
            lambda w: w[:-1],
            r'hold (\d+) convolutions, tiny has \d+; give the --model that they wer',
        ),
        (lambda w: [*w, w[0]], r'hold (\d+) convolutions, tiny has \d+'),
        (lambda w: [], 'hold 0 convolutions, tiny has'),
        (
            change(0, kernel=np.zeros((3, 3, 1, 8), np.float32)),
            r'convolution 0 of the weights is \(3, 3, 1, 8\) .*, stem/conv of tiny is \(3, 3, 3, 8\); g',
        ),
        (
            change(-1, kernel=np.zeros((1, 1, 24, 1001), np.float32)),
            r'is \(1, 1, 24, 1001\) .*, logits.* of tiny is \(1, 1, 24, 3\); give .* --num_classes',
        ),
        (
            change(0, bias=np.zeros(7, np.float32)),
            'convolution 0 of the weights .* with a bias of 7, stem/conv',
        ),
        (change(2, bias=np.full(8, np.nan, np.float32)), 'convolution 2 .* not finite'),
        (
            change(1, kernel=np.full((3, 3, 8, 1), np.inf, np.float32)),
            'convolution 1 of the weights has values that are not finite',
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(
    model, arrays, damage, message, tmp_path
):
    weights = read_released(save(tmp_path / 'weights.npz', arrays))
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        carry_released(damage(weights), model)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_spec_takes_the_head_of_the_weights(spec, arrays, tmp_path):
    weights = read_released(save(tmp_path / 'weights.npz', arrays))
    assert fit_spec(spec, weights) == spec
    small = SPECS['small']
    assert fit_spec(small, weights).features.filters == 24
    assert fit_spec(SPECS['v1'], weights) == SPECS['v1']  # it has no such layer
    assert fit_spec(small, []) == small


@pytest.mark.skipif(not RELEASED.is_file(), reason=f'the released weights are not at {RELEASED}')
def test_the_released_small_network_knows_its_photos():
    weights = read_released(str(RELEASED))
    spec = fit_spec(SPECS['small'], weights)
    assert spec.features.filters == 1024
    model = build_model(spec, resolution=224, num_classes=1001)
    carry_released(weights, model)
    rows = (DATA / 'imagenet' / 'val.txt').read_text().split('\n')[:40]
    images, labels = [], []
    for row in rows:
        file, label = row.split()
        encoded = tf.io.read_file(str(DATA / 'imagenet' / 'val' / file))
        images.append(augment.center_crop(encoded, (224, 224), 0.875))
        labels.append(int(label) + 1)  # the first class is the background
    logits = model(augment.scale(tf.stack(images)), training=False).numpy()
    top1 = np.mean(logits.argmax(axis=-1) == labels)
    print(f'top-1 of {len(labels)} photos: {top1:.3f}')
    assert top1 >= 0.6
