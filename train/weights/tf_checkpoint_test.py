"""Checkpoints of slim, written under its names."""

import numpy as np
import pytest
import tensorflow as tf

from mobilenet_v3 import SPECS
from train.weights.fit import fit
from train.weights.imported import slots
from train.weights.tf_checkpoint import checkpoint_prefix, read_checkpoint

OUTER = {'stem': 'Conv', 'last': 'Conv_1', 'features': 'Conv_2', 'logits': 'Logits/Conv2d_1c_1x1'}


def slim_name(layer, version):
    """The scope of slim's for one of our layers."""
    block, _, part = layer.removesuffix('/conv').removesuffix('/bn').partition('/')
    if not block.startswith('bneck_'):
        name = 'Conv2d_0' if (block, version) == ('stem', 1) else OUTER[block]
    elif version == 1:
        name = f'Conv2d_{block[6:]}_{"depthwise" if part == "depthwise" else "pointwise"}'
    else:
        number = int(block[6:]) - 1
        part = {'se/squeeze': 'squeeze_excite/Conv', 'se/excite': 'squeeze_excite/Conv_1'}.get(
            part, part
        )
        name = f'expanded_conv{f"_{number}" if number else ""}/{part}'
    return f'MobilenetV{version}/{name}'


def variables(network, version):
    """Random variables of a network under slim's names, and the same under ours."""
    from mobilenet_v3 import build_model

    rng = np.random.default_rng(0)
    theirs, ours = {}, {}
    model = build_model(SPECS[network], resolution=32, num_classes=1001)
    for layer, kind in slots(SPECS[network]):
        shapes = [tuple(w.shape) for w in model.get_layer(layer).weights]
        roles = ('kernel', 'bias') if kind != 'norm' else ('gamma', 'beta', 'mean', 'variance')
        for role, shape in zip(roles, shapes, strict=False):
            name = {
                'kernel': 'depthwise_weights' if kind == 'depthwise' else 'weights',
                'bias': 'biases',
                'mean': 'BatchNorm/moving_mean',
                'variance': 'BatchNorm/moving_variance',
            }.get(role, f'BatchNorm/{role}')
            values = rng.normal(0, 1, shape).astype(np.float32)
            theirs[f'{slim_name(layer, version)}/{name}'] = values
            ours.setdefault(layer, {})[role] = values
    return theirs, ours


def save(path, arrays):
    """A checkpoint as TF1 writes it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, values in arrays.items():
            tf.compat.v1.get_variable(name, initializer=values, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver()
        return saver.save(session, str(path), write_meta_graph=False)


@pytest.mark.parametrize(
    ('network', 'version'), [('small_1024', 3), ('large_minimalistic', 3), ('v2', 2), ('v1', 1)]
)
def test_variables_of_slim(network, version, tmp_path):
    theirs, ours = variables(network, version)
    training = {
        'global_step': np.array(7),
        f'{next(iter(theirs))}/RMSProp_1': np.zeros(3, np.float32),
        f'{next(iter(theirs))}/Momentum': np.zeros(3, np.float32),
    }
    prefix = save(tmp_path / 'model.ckpt-7', theirs | training)
    imported = read_checkpoint(prefix, 'averaged')
    assert imported.kind.endswith('(raw weights)')
    spec, layers = fit(SPECS[network], imported)
    assert spec == SPECS[network]
    assert layers.keys() == ours.keys()
    for layer, arrays in ours.items():
        for role, values in arrays.items():
            np.testing.assert_array_equal(layers[layer][role], values)


def test_averaged_or_raw(tmp_path):
    theirs, ours = variables('small_1024', 3)
    averaged = {f'{name}/ExponentialMovingAverage': 2 * v for name, v in theirs.items()}
    prefix = save(tmp_path / 'model.ckpt', theirs | averaged)
    for weights, factor in (('averaged', 2), ('raw', 1)):
        imported = read_checkpoint(prefix, weights)
        assert f'({weights} weights)' in imported.kind
        found = imported.layers['bneck_4/se/excite']['kernel']
        np.testing.assert_array_equal(found, factor * ours['bneck_4/se/excite']['kernel'])


def test_every_name_of_a_checkpoint_leads_to_it(tmp_path):
    (tmp_path / 'one').mkdir()
    prefix = save(tmp_path / 'one' / 'model.ckpt-7', {'a': np.zeros(1)})
    for path in (prefix, f'{prefix}.index', f'{prefix}.data-00000-of-00001', str(tmp_path / 'one')):
        assert checkpoint_prefix(path) == prefix
    assert checkpoint_prefix(str(tmp_path)) is None
    assert checkpoint_prefix(str(tmp_path / 'gone')) is None
    save(tmp_path / 'one' / 'model.ckpt-8', {'a': np.zeros(1)})
    with pytest.raises(ValueError, match=r'holds 2 checkpoints: model.ckpt-7, model.ckpt-8; give'):
        checkpoint_prefix(str(tmp_path / 'one'))


def test_another_networks_checkpoint_is_refused(tmp_path):
    prefix = save(tmp_path / 'model.ckpt', {'resnet/conv1/weights': np.zeros(1)})
    with pytest.raises(
        ValueError, match='no variable of a MobileNet of slim: resnet/conv1/weights'
    ):
        read_checkpoint(prefix, 'raw')


@pytest.mark.parametrize('file', ['index', 'data-00000-of-00001'])
def test_a_damaged_checkpoint_is_refused(file, tmp_path):
    prefix = save(tmp_path / 'model.ckpt', {'MobilenetV3/Conv/weights': np.zeros(99)})
    path = tmp_path / f'model.ckpt.{file}'
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match='cannot be read as a checkpoint of TensorFlow'):
        read_checkpoint(prefix, 'raw')
