"""Files of Keras that are damaged, of something else, or made to harm."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
import tf_keras

from mobilenet_v3 import SPECS
from train.weights.fit import fit
from train.weights.hdf5 import read_keras_file
from train.weights.keras_source import read_keras


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'weights.h5')


def conv(**more):
    return np.zeros((3, 3, 3, 8), np.float32)


def assert_refused(path, message):
    with pytest.raises(ValueError, match=message) as raised:
        read_keras_file(path)
    assert path in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('content', [b'', b'hello', b'\x89HDF\r\n\x1a\n cut', b'PK\x03\x04'])
def test_what_is_no_file_of_keras_is_refused(path, content):
    with open(path, 'wb') as file:
        file.write(content)
    assert_refused(path, 'cannot be read as weights of Keras')


def test_a_truncated_file_is_refused(path, tmp_path):
    with h5py.File(path, 'w') as file:
        file['layers/conv2d/vars/0'] = np.ones((3, 3, 3, 800), np.float32)
    content = (tmp_path / 'weights.h5').read_bytes()
    (tmp_path / 'weights.h5').write_bytes(content[: len(content) // 2])
    assert_refused(path, 'cannot be read as weights of Keras')


def test_other_hdf5_is_refused(path):
    with h5py.File(path, 'w') as file:
        file['a/b'] = np.zeros(3)
    assert_refused(path, 'has neither layer_names nor layers, as the files of Keras have')


def soft(file):
    file['layers/conv2d/vars/0'] = h5py.SoftLink('/elsewhere')


def external(file):
    file['layers/conv2d/vars/0'] = h5py.ExternalLink('/etc/passwd', '/')


def outside(file):
    where = [('/etc/hostname', 0, 4)]
    file.create_dataset('layers/conv2d/vars/0', (1,), 'f4', external=where)


def virtual(file):
    layout = h5py.VirtualLayout((4,), 'f4')
    layout[:] = h5py.VirtualSource('other.h5', 'x', (4,))
    file.create_virtual_dataset('layers/conv2d/vars/0', layout)


def strings(file):
    file['layers/conv2d/vars/0'] = np.array([b'code'])


def huge(file):
    file.create_dataset('layers/conv2d/vars/0', (2**40,), 'f4', chunks=(1024,))


def deep(file):
    file['/'.join('abcdefghijklmnopqrstuvwxyz')] = np.zeros(1)


def endless(file):
    group = file.create_group('layers')
    group['again'] = group


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (soft, 'is a link; expected arrays only'),
        (external, 'is a link; expected arrays only'),
        (outside, 'lies outside the file'),
        (virtual, 'lies outside the file'),
        (strings, 'expected the weights of a layer'),
        (huge, 'expected the weights of a layer'),
        (deep, 'nests more than any network here'),
        (endless, 'nests more than any network here'),
    ],
)
def test_a_file_that_reaches_out_or_claims_too_much_is_refused(path, make, message):
    with h5py.File(path, 'w') as file:
        make(file)
    assert_refused(path, message)


def archive(path, members):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)


def numbered(layers):
    content = io.BytesIO()
    with h5py.File(content, 'w') as file:
        for name, values in layers.items():
            file[f'layers/{name}/vars/0'] = values
    return content.getvalue()


def test_members_are_read_by_their_names_and_no_layer_is_made(path, tmp_path):
    config = {
        'config': {
            'layers': [
                {'class_name': 'Lambda', 'config': {'name': 'run', 'function': ['code']}},
                {'class_name': 'Conv2D', 'config': {'name': 'Conv'}},
            ]
        }
    }
    weights = numbered({'conv2d': conv()})
    escape = {'../escaped': b'x', '/tmp/escaped': b'x'}
    archive(path, {'config.json': json.dumps(config), 'model.weights.h5': weights, **escape})
    (((name, key), arrays),), unknown = read_keras_file(path)
    assert (name, key, unknown) == ('Conv', ('conv2d', 0), [])
    np.testing.assert_array_equal(arrays['kernel'], conv())
    assert [file.name for file in tmp_path.iterdir()] == ['weights.h5']
    assert not (tmp_path.parent / 'escaped').exists()


@pytest.mark.parametrize(
    'members',
    [
        {'config.json': '{}'},
        {'config.json': '[]', 'model.weights.h5': b''},
        {'config.json': 'no json', 'model.weights.h5': b''},
        {'model.weights.h5': b''},
    ],
)
def test_an_archive_without_its_parts_is_refused(path, members):
    archive(path, members)
    assert_refused(path, 'cannot be read as weights of Keras')


def test_an_archive_that_unpacks_to_too_much_is_refused(path, monkeypatch):
    monkeypatch.setattr('train.weights.hdf5.LARGEST_BYTES', 1000)
    archive(path, {'config.json': ' ' * 100_000, 'model.weights.h5': b''})
    assert_refused(path, 'config.json unpacks to 100000 bytes, more than any network here')


def test_layers_of_another_network_are_listed(tmp_path):
    inputs = tf_keras.Input((8,))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2, name='mine')(inputs))
    model.save_weights(tmp_path / 'other.h5')
    message = 'holds what is no layer of a MobileNet of Keras: mine; give the weights of'
    with pytest.raises(ValueError, match=message):
        read_keras(str(tmp_path / 'other.h5'))
    model.save_weights(tmp_path / 'other.weights.h5')  # without names
    with pytest.raises(ValueError, match='does not fit the network small: it has 1 convolutions'):
        fit(SPECS['small'], read_keras(str(tmp_path / 'other.weights.h5')))
