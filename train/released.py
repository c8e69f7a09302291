"""Weights of a released file, dequantized, as an archive of convolutions in graph order (.npz).

`NN_<OP>_w` and `NN_<OP>_b` are the weights, as TFLite lays them out, and the bias of convolution NN,
with batch normalisation folded in.
"""

import dataclasses
import os
import re
import zipfile
import zlib

import numpy as np
import tf_keras

from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.transforms import with_features

_NAME = re.compile(r'(\d+)_(CONV_2D|DEPTHWISE_CONV_2D)_([wb])')


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One convolution of the archive: kernel as Keras has it, and bias [k]."""

    kernel: np.ndarray
    bias: np.ndarray


def read_released(path: str) -> list[Convolution]:
    """Reads the convolutions of an archive, in their order.

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
            for name in archive.files:
                match = _NAME.fullmatch(name)
                if match is None:
                    raise ValueError(f'it holds {name!r}')
                if (int(match[1]), match[3]) in arrays:
                    raise ValueError(f'it holds {match[1]} twice')
                arrays[int(match[1]), match[3]] = match[2], archive[name]
        if not arrays:
            raise ValueError('it is empty')
        numbers = range((len(arrays) + 1) // 2)
        return [_convolution(*arrays[i, 'w'], arrays[i, 'b'][1]) for i in numbers]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as e:
        raise ValueError(
            f'{path} cannot be read as released weights ({e}); expected an .npz with NN_<OP>_w and '
            'NN_<OP>_b for each convolution from 00 on, OP being CONV_2D or DEPTHWISE_CONV_2D'
        ) from None


def fit_spec(spec: ModelSpec, weights: list[Convolution]) -> ModelSpec:
    """The spec with the head of the weights: every release of V3-Small has 1024 features, not 1280."""
    if spec.features is None or len(weights) < 2:
        return spec
    return with_features(spec, weights[-2].kernel.shape[-1])


def carry_released(weights: list[Convolution], model: tf_keras.Model) -> None:
    """Sets the weights of `model`, whose batch normalisations become the identity plus the bias.

    Raises:
      ValueError: the number of convolutions or a shape differs; the first of them is named, and the
        model is unchanged.
    """
    kinds = (tf_keras.layers.Conv2D, tf_keras.layers.DepthwiseConv2D)
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    if len(layers) != len(weights):
        raise ValueError(
            f'the weights hold {len(weights)} convolutions, {model.name} has {len(layers)}; give '
            'the --model that they were released for'
        )
    for number, (layer, new) in enumerate(zip(layers, weights, strict=True)):
        ours = tuple(layer.weights[0].shape)
        depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
        channels = ours[2] if depthwise else ours[3]
        if ours != new.kernel.shape or new.bias.shape != (channels,):
            raise ValueError(
                f'convolution {number} of the weights is {new.kernel.shape} with a bias of '
                f'{new.bias.size}, {layer.name} of {model.name} is {ours}; give the --model, '
                '--multiplier and --num_classes that they were released for'
            )
        if not (np.all(np.isfinite(new.kernel)) and np.all(np.isfinite(new.bias))):
            raise ValueError(f'convolution {number} of the weights has values that are not finite')
    for layer, new in zip(layers, weights, strict=True):
        if layer.use_bias:
            layer.set_weights([new.kernel, new.bias])
            continue
        layer.set_weights([new.kernel])
        norm = model.get_layer(layer.name.removesuffix('conv') + 'bn')
        ones = np.ones_like(new.bias)
        # (x - 0) / √(1 - ε + ε) · 1 + bias
        norm.set_weights([ones, new.bias, ones * 0, ones - np.float32(norm.epsilon)])


def _convolution(op: str, kernel: np.ndarray, bias: np.ndarray) -> Convolution:
    if kernel.ndim != 4 or bias.ndim != 1 or kernel.dtype.kind != 'f' or bias.dtype.kind != 'f':
        raise ValueError(f'a {op} has weights {kernel.dtype} {kernel.shape}, bias {bias.shape}')
    # TFLite: [k, h, w, C], a depthwise one [1, h, w, C]. Keras: [h, w, C, k] and [h, w, C, 1].
    return Convolution(np.ascontiguousarray(kernel.transpose(1, 2, 3, 0)), bias)
