import json

import numpy as np
import pytest

from train.weights.safetensors import read_safetensors


def entry(dtype, shape, begin, end):
    return {'dtype': dtype, 'shape': shape, 'data_offsets': [begin, end]}


def pack(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + data


ONE = np.arange(6, dtype=np.float32)
GOOD = {'a': entry('F32', [2, 3], 0, 24)}


def test_arrays_of_every_float_are_read(tmp_path):
    path = tmp_path / 'weights.safetensors'
    halves = ONE.astype(np.float16).tobytes()
    brain = (ONE.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    header = {
        '__metadata__': {'format': 'pt'},
        'c': entry('BF16', [6], 36, 48),
        'a': entry('F32', [2, 3], 0, 24),
        'b': entry('F16', [3, 2], 24, 36),
        'n': entry('I64', [], 48, 56),
    }
    path.write_bytes(pack(header, ONE.tobytes() + halves + brain + (7).to_bytes(8, 'little')))
    arrays = read_safetensors(str(path))
    assert set(arrays) == {'a', 'b', 'c', 'n'}
    np.testing.assert_array_equal(arrays['a'], ONE.reshape(2, 3))
    np.testing.assert_array_equal(arrays['b'], ONE.reshape(3, 2))
    np.testing.assert_array_equal(arrays['c'], ONE)
    assert arrays['n'] == 7


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'shorter than its header'),
        (b'hello, world', 'longer than the file'),
        ((2**62).to_bytes(8, 'little'), 'longer than the file'),
        (pack(GOOD, ONE.tobytes())[:-4], 'does not lie at 0 to 24'),
        (pack(GOOD, ONE.tobytes() + b'more'), 'has 28 bytes of arrays, its header tells of 24'),
        (pack(b'{"a": ', b''), 'JSONDecodeError'),
        (pack(b'[1]', b''), 'its header is no JSON object'),
        (pack(b'\xff\xfe', b''), 'UnicodeDecodeError'),
        (pack({'a': {}}, b''), "KeyError: 'data_offsets'"),
        (pack({'a': entry('F32', [7], 0, 24)}, ONE.tobytes()), r'a \[7\] of F32 does not lie at'),
        (pack({'a': entry('F32', [-2, -3], 0, 24)}, ONE.tobytes()), r'a has the shape \[-2, -3\]'),
        (pack({'a': entry('F32', [True], 0, 4)}, ONE.tobytes()), 'a has the shape'),
        (pack({'a': entry('Q4', [6], 0, 24)}, ONE.tobytes()), "a is 'Q4'; expected one of F64"),
        (
            pack({**GOOD, 'b': entry('F32', [6], 0, 24)}, ONE.tobytes()),
            'its arrays overlap or leave gaps',
        ),
        (pack({'a': entry('F32', [5], 4, 24)}, ONE.tobytes()), 'overlap or leave gaps'),
        (
            pack(json.dumps(GOOD).encode()[:-1] + b', "a": 1}', ONE.tobytes()),
            'a name stands in its header twice',
        ),
    ],
)
def test_what_is_no_such_file_is_refused(content, message, tmp_path):
    path = tmp_path / 'weights.safetensors'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'cannot be read as safetensors .*{message}'):
        read_safetensors(str(path))


def test_a_file_larger_than_any_network_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr('train.weights.safetensors.LARGEST_BYTES', 10)
    path = tmp_path / 'weights.safetensors'
    path.write_bytes(pack(GOOD, ONE.tobytes()))
    with pytest.raises(ValueError, match='expected weights of at most 10'):
        read_safetensors(str(path))
