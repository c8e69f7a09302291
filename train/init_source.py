"""A SOURCE of --init, whatever it is: which reader it goes to."""

import dataclasses
import json
import os

import numpy as np
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.spec import Normalize
from mobilenet_v3.spec_file import load_model_spec
from train.weights.imported import Definition, Imported, checksum_of_arrays, checksum_of_file

EXPECTED = (
    'keras:imagenet, a file .h5, .weights.h5, .keras, .safetensors, .pth, .tflite or .npz, a '
    'SavedModel, a TF1 checkpoint or the --workdir of a run'
)
_KERAS = ('.h5', '.hdf5', '.keras')
_TORCH = ('.safetensors', '.pth', '.pt', '.bin', '.tar')


def read_source(config: ConfigDict) -> Imported:
    """Reads `config.init.source`; what `config.init` says of it has the last word.

    Raises:
      ValueError: there is no such source, it is damaged or of another kind, or it is not said which
        definition it follows where two have the same names.
    """
    init = config.init
    if init.weights not in ('averaged', 'raw'):
        raise ValueError(f"config.init.weights is {init.weights!r}; expected 'averaged' or 'raw'")
    imported = _read(config)
    definition = imported.definition
    if init.mean or init.std:
        given = Normalize(tuple(init.mean), tuple(init.std))
        halves = set(init.mean) == set(init.std) == {0.5}  # is [-1, 1]
        definition = dataclasses.replace(definition, normalize=None if halves else given)
        imported = dataclasses.replace(imported, definition=definition)
    if imported.spec is not None and (init.mean or init.std or init.definition != 'auto'):
        raise ValueError(
            'config.init.mean, std and definition are not for a run, which knows its own'
        )
    return imported


def _read(config: ConfigDict) -> Imported:
    from train.weights import keras_source, released, tf_checkpoint, tflite

    source, weights = config.init.source, config.init.weights
    if source.startswith('keras:'):
        if source != 'keras:imagenet':
            raise ValueError(f'--init={source} is unknown; expected keras:imagenet or a file')
        return keras_source.download(
            load_model_spec(config.model.name), float(config.model.multiplier)
        )
    path = os.path.expanduser(source)
    if os.path.isdir(os.path.join(path, 'checkpoints')):
        return _read_run(path)
    prefix = tf_checkpoint.checkpoint_prefix(path)
    if prefix is not None:
        return tf_checkpoint.read_checkpoint(prefix, weights)
    if not os.path.exists(path):
        raise ValueError(f'--init={source}: there is no such file or folder; expected {EXPECTED}')
    ending = os.path.splitext(path)[1].lower()
    if os.path.isdir(path) or ending not in (*_KERAS, *_TORCH, '.npz', '.tflite'):
        raise ValueError(f'--init={source} is no source of weights; expected {EXPECTED}')
    if ending in _TORCH:
        return _read_torch(path, config)
    if ending in _KERAS:
        return keras_source.read_keras(path)
    return released.read_released(path) if ending == '.npz' else tflite.read_tflite(path)


def _read_torch(path: str, config: ConfigDict) -> Imported:
    from train.weights import torch_names
    from train.weights.torch_file import read_torch

    state = read_torch(path, config.init.weights)
    layout = torch_names.layout_of(state)
    if layout is None:
        raise ValueError(
            f'{path} is no state dict of torchvision, timm or d-li14: it has '
            f'{", ".join(sorted(state)[:6]) or "nothing"}, and no conv_stem or features.0.0'
        )
    layers, unknown = torch_names.to_layers(state, layout)
    if unknown:
        raise ValueError(
            f'{path} looks like a network of {layout}, of which these are no part: '
            + ', '.join(unknown[:12])
        )
    definition = _torch_definition(path, layout, config.init.definition)
    kind = f'{layout} state dict {os.path.basename(path)}'
    return Imported(kind, checksum_of_file(path), layers, definition=definition)


def _torch_definition(path: str, layout: str, given: str) -> Definition:
    """What the network does otherwise; timm says it in the config.json beside its files."""
    from train.weights.torch_names import DEFINITIONS

    fitting = [name for name in DEFINITIONS if name.startswith(layout)]
    if given != 'auto':
        if given not in fitting:
            raise ValueError(
                f'config.init.definition is {given!r}, the names in {path} are those of {layout}; '
                f'expected auto or one of {", ".join(fitting)}'
            )
        return DEFINITIONS[given]
    if layout != 'timm':
        return DEFINITIONS[layout]
    told = os.path.join(os.path.dirname(path), 'config.json')
    if not os.path.isfile(told):
        raise ValueError(
            f"{path} may be of timm's mobilenetv3_* (padding and ε of PyTorch, ImageNet's mean and "
            'std) or of its tf_mobilenetv3_* (those of TensorFlow), whose names and shapes are the '
            'same; say --config.init.definition=timm or timm_tf, or lay its config.json beside it'
        )
    return _timm_definition(told)


def _timm_definition(path: str) -> Definition:
    from train.weights.torch_names import DEFINITIONS

    try:
        with open(path, encoding='utf-8') as file:
            values = json.load(file)
        architecture = str(values['architecture'])
        if values.get('model_args'):
            raise ValueError(f'model_args {values["model_args"]} change the network')
        trained = values.get('pretrained_cfg', {})
        definition = DEFINITIONS['timm_tf' if architecture.startswith('tf_') else 'timm']
        mean, std = (tuple(float(v) for v in trained[k]) for k in ('mean', 'std'))
        halves = set(mean) == set(std) == {0.5}
        return dataclasses.replace(
            definition,
            normalize=None if halves else Normalize(mean, std),
            eval_crop=float(trained.get('crop_pct', 0.875)),
            interpolation=str(trained.get('interpolation', 'bilinear')),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(
            f'{path} is no config of timm ({type(e).__name__}: {e}); remove it and say '
            '--config.init.definition=timm or timm_tf'
        ) from None


def _read_run(workdir: str) -> Imported:
    from train.run import load_trained

    run, model, state = load_trained(workdir)
    layers = {
        layer.name: _arrays(layer)
        for layer in model.layers
        if layer.weights and not layer.name.startswith('normalize/')
    }
    flat = [(f'{name} {role}', v) for name, arrays in layers.items() for role, v in arrays.items()]
    kind = f'run {workdir} at step {state["step"]}'
    return Imported(kind, checksum_of_arrays(flat), layers, spec=run.spec)


def _arrays(layer: tf_keras.layers.Layer) -> dict[str, np.ndarray]:
    from train.weights.hdf5 import ROLES

    roles = (weight.name.rpartition('/')[2].partition(':')[0] for weight in layer.weights)
    return {ROLES[role]: v for role, v in zip(roles, layer.get_weights(), strict=True)}
