"""Weights of a released file, dequantized, as an archive of convolutions in graph order (.npz).

`NN_<OP>_w` and `NN_<OP>_b` are the weights, as TFLite lays them out, and the bias of convolution NN,
with batch normalisation folded in.
"""

import os
import re
import zipfile
import zlib

import numpy as np

from train.weights.imported import LARGEST_BYTES, Arrays, Imported, Kind, checksum_of_file

_NAME = re.compile(r'(\d+)_(CONV_2D|DEPTHWISE_CONV_2D)_([wb])')


def read_released(path: str) -> Imported:
    """The convolutions of an archive, in their order.

    Raises:
      ValueError: there is no such file, or it is not laid out so.
    """
    arrays: dict[tuple[int, str], tuple[str, np.ndarray]] = {}
    try:
        if not os.path.isfile(path):
            raise ValueError('there is no such file')
        if not zipfile.is_zipfile(path):  # NumPy would advise to unpickle it
            raise ValueError('it is no .npz archive')
        with np.load(path, allow_pickle=False) as archive:
            if sum(member.file_size for member in archive.zip.infolist()) > LARGEST_BYTES:
                raise ValueError('it unpacks to more than any network here')
            for name in archive.files:
                match = _NAME.fullmatch(name)
                if match is None:
                    raise ValueError(f'it holds {name!r}')
                if (int(match[1]), match[3]) in arrays:
                    raise ValueError(f'it holds {match[1]} twice')
                arrays[int(match[1]), match[3]] = match[2], archive[name]
        if not arrays:
            raise ValueError('it is empty')
        by_kind = _by_kind(arrays)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as e:
        raise ValueError(
            f'{path} cannot be read as released weights ({e}); expected an .npz with NN_<OP>_w and '
            'NN_<OP>_b for each convolution from 00 on, OP being CONV_2D or DEPTHWISE_CONV_2D'
        ) from None
    name = os.path.basename(path)
    return Imported(f'archive {name}', checksum_of_file(path), by_kind=by_kind)


def _by_kind(arrays: dict) -> dict[Kind, list[Arrays]]:
    by_kind: dict[Kind, list[Arrays]] = {'conv': [], 'depthwise': [], 'norm': []}
    for i in range((len(arrays) + 1) // 2):
        (op, kernel), (_, bias) = arrays[i, 'w'], arrays[i, 'b']
        kinds = kernel.dtype.kind + bias.dtype.kind
        if kernel.ndim != 4 or bias.ndim != 1 or kinds != 'ff':
            raise ValueError(f'a {op} has weights {kernel.dtype} {kernel.shape}, bias {bias.shape}')
        # TFLite: [k, h, w, C], a depthwise one [1, h, w, C]. Keras: [h, w, C, k] and [h, w, C, 1].
        layer = {'kernel': np.ascontiguousarray(kernel.transpose(1, 2, 3, 0)), 'bias': bias}
        by_kind['conv' if op == 'CONV_2D' else 'depthwise'].append(layer)
    return by_kind
