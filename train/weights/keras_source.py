"""Weights of Keras's applications: files of Keras 2 and 3, folders that they export, downloads."""

import contextlib
import io
from collections.abc import Iterable

import numpy as np

from mobilenet_v3.keras_weights import our_layer
from mobilenet_v3.spec import ModelSpec
from train.weights.hdf5 import ROLES, Key, read_keras_file
from train.weights.imported import (
    Arrays,
    Definition,
    Imported,
    Kind,
    Layers,
    checksum_of_arrays,
    checksum_of_file,
)

# Keras's V1 pads on the far side only; the others as TensorFlow does.
_SAME, _AFTER = Definition('same', 1e-3), Definition('after', 1e-3)
_KINDS: dict[str, Kind] = {
    'conv2d': 'conv',
    'dense': 'conv',
    'depthwise_conv2d': 'depthwise',
    'batch_normalization': 'norm',
}
_APPLICATIONS = {
    'large': ('MobileNetV3Large', {'minimalistic': False}),
    'large_minimalistic': ('MobileNetV3Large', {'minimalistic': True}),
    'small': ('MobileNetV3Small', {'minimalistic': False}),
    'small_1024': ('MobileNetV3Small', {'minimalistic': False}),
    'small_minimalistic': ('MobileNetV3Small', {'minimalistic': True}),
    'v2': ('MobileNetV2', {}),
    'v1': ('MobileNet', {}),
}


def read_keras(path: str) -> Imported:
    """The weights of a file of Keras.

    Raises:
      ValueError: it is no such file, or some of its layers are no layers of an application.
    """
    found, unknown = read_keras_file(path)
    kind, sha256 = f'Keras file {path}', checksum_of_file(path)
    if any(name is None for (name, _), _ in found) and not unknown:
        by_kind = _by_kind(found)
        expands = len(by_kind['conv']) > len(by_kind['depthwise']) + 2
        return Imported(kind, sha256, by_kind=by_kind, definition=_SAME if expands else _AFTER)
    return of_layers(kind, sha256, ((name or '', arrays) for (name, _), arrays in found), unknown)


def of_layers(
    kind: str, sha256: str, found: Iterable[tuple[str, Arrays]], unknown: Iterable[str] = ()
) -> Imported:
    """Layers under the names that Keras gives them, as a source.

    Raises:
      ValueError: some names are those of no layer of an application; they are listed.
    """
    strange = list(unknown)
    layers: Layers = {}
    for name, arrays in found:
        ours = our_layer(name)
        if ours is None or ours in layers:
            strange.append(name)
        else:
            layers[ours] = _as_convolution(arrays)
    if strange or not layers:
        listed = ', '.join(strange[:12]) or 'nothing at all'
        raise ValueError(
            f'the {kind} holds what is no layer of a MobileNet of Keras: {listed}; give the weights '
            'of tf_keras.applications or keras.applications, with or without their top'
        )
    expands = any('/expand/' in name for name in layers)
    return Imported(kind, sha256, layers, definition=_SAME if expands else _AFTER)


def download(spec: ModelSpec, multiplier: float) -> Imported:
    """The ImageNet weights of tf_keras.applications, which Keras downloads and keeps.

    Args:
      spec: the network, by its name in SPECS.
      multiplier: width multiplier; Keras has 0.75 and 1.0 of V3, and more of V1 and V2.

    Raises:
      ValueError: Keras has no such network, or the download fails.
    """
    if spec.name not in _APPLICATIONS:
        raise ValueError(
            f'Keras has no weights of {spec.name}; expected one of {", ".join(_APPLICATIONS)}'
        )
    import tf_keras

    name, options = _APPLICATIONS[spec.name]
    if name.startswith('MobileNetV3'):
        options = {**options, 'include_preprocessing': False}
    try:
        # What Keras prints of its progress stays out of our output.
        with contextlib.redirect_stdout(io.StringIO()):
            model = getattr(tf_keras.applications, name)(
                alpha=multiplier,
                weights='imagenet',
                input_shape=(224, 224, 3),
                classifier_activation=None,
                **options,
            )
    except Exception as e:  # Keras raises a bare Exception for a download that fails
        raise ValueError(
            f'keras:imagenet has no weights of {name} at multiplier {multiplier:g} for us: '
            f'{" ".join(str(e).split())}. Offline, give a file of them that was downloaded elsewhere '
            '(--init=FILE.h5)'
        ) from None
    kind = f'Keras application {name} at {multiplier:g}, trained on ImageNet'
    found = [(layer.name, _arrays_of(layer)) for layer in model.layers if layer.weights]
    flat = [(f'{name} {role}', v) for name, arrays in found for role, v in arrays.items()]
    return of_layers(kind, checksum_of_arrays(flat), found)


def _arrays_of(layer) -> Arrays:  # type: ignore[no-untyped-def]
    roles = (weight.name.rpartition('/')[2].partition(':')[0] for weight in layer.weights)
    return {ROLES[role]: v for role, v in zip(roles, layer.get_weights(), strict=True)}


def _by_kind(found: list[tuple[Key, Arrays]]) -> dict[Kind, list[Arrays]]:
    """Layers without names by their kind, in the order of their numbers."""
    by_kind: dict[Kind, list[Arrays]] = {'conv': [], 'depthwise': [], 'norm': []}
    # A dense layer can only be the last.
    for (_, (kind, _)), arrays in sorted(
        found, key=lambda item: (item[0][1][0] == 'dense', item[0][1])
    ):
        by_kind[_KINDS[kind]].append(_as_convolution(arrays))
    return by_kind


def _as_convolution(arrays: Arrays) -> Arrays:
    """A dense layer [C, k] as the 1×1 convolution that it is."""
    kernel = arrays.get('kernel')
    if kernel is None or kernel.ndim != 2:
        return arrays
    return {**arrays, 'kernel': kernel[np.newaxis, np.newaxis]}
