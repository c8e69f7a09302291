"""Reads the HDF5 files of Keras 2 and 3, and the archive (.keras) of both, as arrays.

The files are data of strangers: links out of the file, virtual and external arrays and sizes that no
network has are refused, and no layer is made of what a config says.
"""

import io
import json
import re
import zipfile
import zlib
from typing import Any, BinaryIO

import h5py
import numpy as np

from train.weights.imported import LARGEST_BYTES, Arrays

_MOST_NODES = 100_000
_MOST_LEVELS = 16
# Arrays of each class of layer in the order of `vars`.
_CLASSES = {
    'conv2d': ('kernel', 'bias'),
    'depthwise_conv2d': ('kernel', 'bias'),
    'dense': ('kernel', 'bias'),
    'batch_normalization': ('gamma', 'beta', 'mean', 'variance'),
}
ROLES = {
    'kernel': 'kernel',
    'depthwise_kernel': 'kernel',
    'bias': 'bias',
    'gamma': 'gamma',
    'beta': 'beta',
    'moving_mean': 'mean',
    'moving_variance': 'variance',
}
# Not of the network: what trained it, and the seeds of dropout.
_PASSED_OVER = re.compile(r'(^|/)(optimizer|optimizer_weights|seed_generator)(/|$)')

# (name or None, class and number such as ('conv2d', 3)) of a layer, with its arrays.
Key = tuple[str | None, tuple[str, int]]


def read_keras_file(path: str) -> tuple[list[tuple[Key, Arrays]], list[str]]:
    """The layers with weights of a .keras, .weights.h5 or .h5 file.

    Returns:
      Each layer's name, class and number with its arrays, in the file's order; and the names of
      arrays that are of no known class of layer.

    Raises:
      ValueError: it is no such file, or it is damaged or not to be trusted.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = _config_names(json.loads(_member(archive, 'config.json')))
                return _read(io.BytesIO(_member(archive, 'model.weights.h5')), names)
        with open(path, 'rb') as file:
            return _read(file, {})
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError,
        NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError,
    ) as e:  # fmt: skip
        reason = ' '.join(str(e).split()) or type(e).__name__
        raise ValueError(f'{path} cannot be read as weights of Keras: {reason}') from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > LARGEST_BYTES:
        raise ValueError(f'{name} unpacks to {info.file_size} bytes, more than any network here')
    with archive.open(info) as member:
        content = member.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise ValueError(f'{name} is not as long as the archive says')
    return content


def _config_names(config: Any) -> dict[tuple[str, int], str]:
    """Names of layers by class and number, of the config of a flat model."""
    names: dict[tuple[str, int], str] = {}
    counts: dict[str, int] = {}
    for layer in config['config']['layers']:
        kind = _snake(layer['class_name'])
        names[kind, counts.get(kind, 0)] = str(layer['config']['name'])
        counts[kind] = counts.get(kind, 0) + 1
    return names


def _snake(class_name: str) -> str:
    """Conv2D as Keras writes it: conv2d."""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z][a-z])', '_', str(class_name)).lower()


def _read(
    file: BinaryIO, names: dict[tuple[str, int], str]
) -> tuple[list[tuple[Key, Arrays]], list[str]]:
    with h5py.File(file, 'r') as opened:
        arrays: dict[str, np.ndarray] = {}
        _walk(opened, '', arrays, [0])
        root = opened.get('model_weights', opened)
        if _attribute(root, 'layer_names'):
            return _read_named(root, arrays, 'model_weights/' if root is not opened else '')
        if not any(path.startswith('layers/') for path in arrays):
            raise ValueError('it has neither layer_names nor layers, as the files of Keras have')
        return _read_numbered(opened, arrays, names)


def _walk(group: h5py.Group, prefix: str, arrays: dict[str, np.ndarray], count: list[int]) -> None:
    """Collects every array of a file by its path."""
    for key in group:
        count[0] += 1
        path = f'{prefix}{key}'
        if count[0] > _MOST_NODES or path.count('/') > _MOST_LEVELS:
            raise ValueError('it nests more than any network here')
        if _PASSED_OVER.search(path):
            continue
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f'{path} is a link; expected arrays only')
        node = group[key]
        if isinstance(node, h5py.Group):
            _walk(node, f'{path}/', arrays, count)
            continue
        if not isinstance(node, h5py.Dataset) or node.external or node.is_virtual:
            raise ValueError(f'{path} lies outside the file; expected arrays only')
        size = int(np.prod(node.shape, dtype=np.float64)) * node.dtype.itemsize
        if node.dtype.kind not in 'fiu' or size > LARGEST_BYTES:
            raise ValueError(
                f'{path} is {node.dtype} {node.shape}; expected the weights of a layer'
            )
        values = node[()]
        arrays[path] = values.astype(np.float32) if node.dtype.kind == 'f' else values


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of names; Keras splits a long one into name0, name1, …"""
    parts = sorted(
        (key for key in group.attrs if re.fullmatch(rf'{name}\d*', key)),
        key=lambda key: int(key.removeprefix(name) or 0),
    )
    values = [value for part in parts for value in group.attrs[part]]
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _read_named(
    root: h5py.Group, arrays: dict[str, np.ndarray], prefix: str
) -> tuple[list[tuple[Key, Arrays]], list[str]]:
    """The layout of Keras 2: a group a layer, named as the layer."""
    layers: list[tuple[Key, Arrays]] = []
    unknown = []
    for name in _attribute(root, 'layer_names'):
        found: Arrays = {}
        for weight in _attribute(root[name], 'weight_names'):
            role = ROLES.get(weight.rpartition('/')[2].partition(':')[0])
            if role is None or role in found:
                unknown.append(weight)
            else:
                found[role] = arrays[f'{prefix}{name}/{weight}']
        if found:
            layers.append(((name, ('', len(layers))), found))
    return layers, unknown


def _read_numbered(
    file: h5py.File, arrays: dict[str, np.ndarray], names: dict[tuple[str, int], str]
) -> tuple[list[tuple[Key, Arrays]], list[str]]:
    """The layout of Keras 3: layers/<class>_<number>/vars/<number>, in newer files with a name."""
    layers: dict[tuple[str, int], Arrays] = {}
    told: dict[tuple[str, int], str] = {}
    unknown = []
    for path, values in arrays.items():
        match = re.fullmatch(r'layers/([a-z0-9_]+?)(?:_(\d+))?/vars/(\d+)', path)
        roles = _CLASSES.get(match[1], ()) if match else ()
        if match is None or int(match[3]) >= len(roles):
            unknown.append(path)
            continue
        key = match[1], int(match[2] or 0)
        layers.setdefault(key, {})[roles[int(match[3])]] = values
        name = file[path].parent.attrs.get('name') or names.get(key)
        if name:
            told[key] = str(name)
    return [((told.get(key), key), layers[key]) for key in sorted(layers)], unknown
