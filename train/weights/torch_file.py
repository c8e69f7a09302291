"""Reads PyTorch state dicts: .safetensors, and .pth or .pt without unpickling objects."""

import pickle
from typing import Any

import numpy as np

from train.reasons import reason
from train.weights.safetensors import read_safetensors

# What training scripts wrap a state dict in, averaged and raw.
_WRAPPERS = {
    'averaged': ('state_dict_ema', 'model_ema'),
    'raw': ('state_dict', 'model'),
}


def read_torch(path: str, weights: str) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name, floats as float32.

    Args:
      path: .safetensors, .pth, .pt or .bin.
      weights: 'averaged' or 'raw', of a checkpoint that holds both; averaged ones are missing in
        most, whose only ones are taken then.

    Raises:
      ValueError: it is no such file, it holds objects that only unpickling would make, or PyTorch,
        which .pth needs, is not installed.
    """
    if path.endswith('.safetensors'):
        arrays = read_safetensors(path)
    else:
        arrays = _arrays(_unwrap(_load(path), path, weights), path)
    prefixes = ('module.', '_orig_mod.')  # of DataParallel, of torch.compile
    for prefix in prefixes:
        if arrays and all(name.startswith(prefix) for name in arrays):
            arrays = {name.removeprefix(prefix): values for name, values in arrays.items()}
    return {
        name: values.astype(np.float32) if values.dtype.kind == 'f' else values
        for name, values in arrays.items()
    }


def _load(path: str) -> Any:
    try:
        import torch
    except ImportError:
        raise ValueError(
            f'{path} is a file of PyTorch, which is not installed: pip install '
            "'mobilenet-v3-pipeline[torch]', or give the same weights as .safetensors"
        ) from None
    try:
        # Only tensors and containers: a pickle that would run code is refused.
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as e:
        raise ValueError(
            f'{path} holds more than weights, and is not unpickled: {reason(e)} '
            'Save its state dict alone, best as .safetensors'
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as e:
        raise ValueError(
            f'{path} cannot be read as PyTorch weights ({reason(e)}); download it again'
        ) from None


def _unwrap(loaded: Any, path: str, weights: str) -> dict:
    if not isinstance(loaded, dict):
        raise ValueError(
            f'{path} holds a {type(loaded).__name__}; expected a state dict: names and tensors'
        )
    keys = _WRAPPERS['raw'] if weights == 'raw' else _WRAPPERS['averaged'] + _WRAPPERS['raw']
    for key in keys:
        if isinstance(loaded.get(key), dict):
            return loaded[key]
    return loaded


def _arrays(state: dict, path: str) -> dict[str, np.ndarray]:
    others = [str(name) for name, value in state.items() if not hasattr(value, 'detach')]
    if others:
        raise ValueError(
            f'{path} is no state dict: {", ".join(others[:5])} are no tensors; save '
            'model.state_dict() alone, best as .safetensors'
        )
    return {
        name: (value.float() if value.is_floating_point() else value).detach().cpu().numpy()
        for name, value in state.items()
    }
