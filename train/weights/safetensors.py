"""Reads .safetensors: eight bytes of length, a JSON header, and the arrays' bytes.

The format can hold nothing but arrays. Ours is a strict reader of its own, so that neither the
package nor PyTorch is needed.
"""

import json
import os
import struct

import numpy as np

from train.weights.imported import LARGEST_BYTES

_LARGEST_HEADER = 10_000_000
_DTYPES = {
    'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8', 'I32': '<i4',
    'I16': '<i2', 'I8': 'i1', 'U8': 'u1', 'BOOL': '?',
}  # fmt: skip


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """The arrays of a file by name; bfloat16 becomes float32.

    Raises:
      ValueError: the file is truncated or not of this format.
    """
    size = os.path.getsize(path)
    if size > LARGEST_BYTES:
        raise ValueError(f'{path} has {size} bytes; expected weights of at most {LARGEST_BYTES}')
    with open(path, 'rb') as file:
        content = file.read()
    try:
        return _parse(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(
            f'{path} cannot be read as safetensors ({type(e).__name__}: {e}); download it again'
        ) from None


def _parse(content: bytes) -> dict[str, np.ndarray]:
    if len(content) < 8:
        raise ValueError('it is shorter than its header')
    (length,) = struct.unpack('<Q', content[:8])
    if length > min(_LARGEST_HEADER, len(content) - 8):
        raise ValueError(f'its header of {length} bytes is longer than the file')
    header = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError('its header is no JSON object')
    header.pop('__metadata__', None)
    data = memoryview(content)[8 + length :]
    arrays, spans = {}, []
    for name, entry in header.items():
        begin, end = entry['data_offsets']
        arrays[name] = _array(name, entry['dtype'], entry['shape'], data, begin, end)
        spans.append((begin, end))
    last = 0
    for begin, end in sorted(spans):
        if begin != last:
            raise ValueError('its arrays overlap or leave gaps')
        last = end
    if last != len(data):
        raise ValueError(f'it has {len(data)} bytes of arrays, its header tells of {last}')
    return arrays


def _array(
    name: str, dtype: str, shape: list[int], data: memoryview, begin: int, end: int
) -> np.ndarray:
    if dtype not in _DTYPES:
        raise ValueError(f'{name} is {dtype!r}; expected one of {", ".join(_DTYPES)}')
    sides = [begin, end, *shape]
    if any(type(side) is not int or side < 0 for side in sides):  # True is an int
        raise ValueError(f'{name} has the shape {shape} at {begin} to {end}')
    kind = np.dtype(_DTYPES[dtype])
    count = 1
    for side in shape:
        count *= side
    if end > len(data) or count * kind.itemsize != end - begin:
        raise ValueError(f'{name} {shape} of {dtype} does not lie at {begin} to {end}')
    values = np.frombuffer(data[begin:end], kind).reshape(shape)
    if dtype == 'BF16':  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _unique(pairs: list[tuple[str, object]]) -> dict:
    if len(dict(pairs)) != len(pairs):
        raise ValueError('a name stands in its header twice')
    return dict(pairs)
