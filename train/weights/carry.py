"""Sets the weights of a network, its head where the classes fit, and says what was done."""

import dataclasses
from typing import Literal

import numpy as np
import tf_keras

from mobilenet_v3.spec import ModelSpec
from train.weights.imported import HEAD, OTHER_HEADS, Arrays, Kind, Layers, slots

Head = Literal['auto', 'keep', 'drop']
HEADS: tuple[Head, ...] = ('auto', 'keep', 'drop')
IMAGENET = 1000
# The logit of a background that the source did not have: no image has that class.
NO_BACKGROUND = -10.0


@dataclasses.dataclass(frozen=True)
class Report:
    """What a network has from its source: layers carried, layers as fresh as without it, and why."""

    carried: tuple[str, ...]
    fresh: tuple[str, ...]
    logits: str

    def __str__(self) -> str:
        # A head of dozens of layers by its name, where nothing of it is carried.
        whole = [head for head in OTHER_HEADS if not any(n.startswith(head) for n in self.carried)]
        named = (next((h for h in whole if n.startswith(h)), n).rstrip('/') for n in self.fresh)
        fresh = ', '.join(dict.fromkeys(named)) or 'nothing'
        return f'{len(self.carried)} layers carried; fresh: {fresh}; {self.logits}'


def carry(layers: Layers, spec: ModelSpec, model: tf_keras.Model, head: Head) -> Report:
    """Sets the weights of `model`, a network of `spec`, to those of a source.

    Args:
      layers: as `fit` returned them, with `spec`.
      spec: the network of `model`.
      model: receives the weights.
      head: 'auto' carries the features after pooling, and the logits where the classes fit: as many,
        or 1000 with a background or without it. 'keep' insists on that; 'drop' carries neither. Of
        a network with another head than a classifier's, the head's layers whose shapes are the same
        in the source.

    Raises:
      ValueError: an array is missing, not finite or of another shape, or the head cannot be kept;
        the model is unchanged.
    """
    if head not in HEADS:
        raise ValueError(f'config.init.head is {head!r}; expected one of {", ".join(HEADS)}')
    places, logits, said = _places(layers, spec, model, head)
    new: dict[str, list[np.ndarray | None]] = {}
    fresh, wrong = [], []
    for name, kind in places:
        layer = model.get_layer(name)
        arrays: Arrays | None
        if name == 'logits/conv':
            arrays = logits
        elif name.startswith('features/') and (head == 'drop' or 'features/conv' not in layers):
            arrays = None
        elif name.startswith(OTHER_HEADS):
            arrays = _same_shapes(layers.get(name), layer) if head != 'drop' else None
        else:
            arrays = _folded_norm(layers, name, layer) if kind == 'norm' else layers[name]
        if arrays is None:
            fresh.append(name)
            continue
        values = _in_order(arrays, layer, kind)
        wrong += _wrong(name, values, layer)
        new[name] = values
    if head == 'keep' and any(name.startswith(OTHER_HEADS) for name in fresh):
        raise ValueError(
            f'config.init.head=keep, but {fresh[-1]} is of another shape in the source, or not in it; '
            'leave config.init.head=auto'
        )
    if wrong:
        raise ValueError('the weights cannot be carried: ' + '; '.join(wrong[:12]))
    for name, values in new.items():
        model.get_layer(name).set_weights(values)
    return Report(tuple(new), tuple(fresh), said)


def _places(
    layers: Layers, spec: ModelSpec, model: tf_keras.Model, head: Head
) -> tuple[list[tuple[str, Kind]], Arrays | None, str]:
    """The layers that are to be filled, a classifier's logits, and what the head becomes, in words."""
    others = [layer for layer in model.layers if layer.name.startswith(OTHER_HEADS)]
    if not others:
        return list(slots(spec)), *_logits(layers, model, head)
    backbone = [(name, kind) for name, kind in slots(spec) if name not in HEAD]
    kinds: list[tuple[str, Kind]] = [
        (x.name, 'norm' if isinstance(x, tf_keras.layers.BatchNormalization) else 'conv')
        for x in others
        if x.weights
    ]
    from_another = not any(name in layers for name, _ in kinds)
    said = 'the source has another head' if from_another else 'of its head what fits'
    return backbone + kinds, None, said


def _same_shapes(arrays: Arrays | None, layer: tf_keras.layers.Layer) -> Arrays | None:
    """The arrays of a layer where they fit it."""
    shapes = sorted(tuple(weight.shape) for weight in layer.weights)
    fits = arrays is not None and sorted(a.shape for a in arrays.values()) == shapes
    return arrays if fits else None


def _logits(layers: Layers, model: tf_keras.Model, head: Head) -> tuple[Arrays | None, str]:
    """The arrays of the logits for the classes of `model`, and what they are, in words."""
    ours = int(model.get_layer('logits/conv').filters)
    source = layers.get('logits/conv')
    theirs = 0 if source is None else int(source['kernel'].shape[3])
    if head == 'drop':
        return None, 'the head is dropped'
    if source is not None and theirs == ours:
        return source, f'the {ours} classes of the source'
    if source is not None and (theirs, ours) == (IMAGENET + 1, IMAGENET):
        return {k: v[..., 1:] for k, v in source.items()}, 'its classes without the background'
    if source is not None and (theirs, ours) == (IMAGENET, IMAGENET + 1):
        kernel = np.pad(source['kernel'], ((0, 0), (0, 0), (0, 0), (1, 0)))
        bias = source.get('bias', np.zeros(theirs, np.float32))
        with_background = {'kernel': kernel, 'bias': np.append(np.float32(NO_BACKGROUND), bias)}
        return with_background, 'its classes after a background that no image has'
    told = f'{theirs} classes there, {ours} here' if theirs else 'the source has no head'
    if head == 'keep':
        raise ValueError(
            f'config.init.head=keep, but {told}; give the dataset of the source, or leave '
            'config.init.head=auto'
        )
    return None, told


def _folded_norm(layers: Layers, name: str, norm: tf_keras.layers.Layer) -> Arrays:
    """A batch normalisation's arrays; of one that was folded, those of the bias that is left of it."""
    if name in layers:
        return layers[name]
    bias = layers[name.removesuffix('bn') + 'conv']['bias']
    ones = np.ones_like(bias)
    # (x - 0) / √(1 - ε + ε) · 1 + bias
    variance = ones - np.float32(norm.epsilon)
    return {'gamma': ones, 'beta': bias, 'mean': ones * 0, 'variance': variance}


def _in_order(arrays: Arrays, layer: tf_keras.layers.Layer, kind: str) -> list[np.ndarray | None]:
    """The arrays in the order of the layer's weights; None where one is missing."""
    if kind != 'norm':
        bias = arrays.get('bias', np.zeros(arrays['kernel'].shape[3], np.float32))
        return [arrays['kernel'], bias] if layer.use_bias else [arrays['kernel']]
    some = next(iter(arrays.values()))
    gamma = arrays.get('gamma', np.ones_like(some))  # of a normalisation with scale=False
    return [gamma, *(arrays.get(part) for part in ('beta', 'mean', 'variance'))]


def _wrong(name: str, values: list[np.ndarray | None], layer: tf_keras.layers.Layer) -> list[str]:
    reasons = []
    for value, weight in zip(values, layer.weights, strict=True):
        shape = tuple(weight.shape)
        if value is None:
            reasons.append(f'{weight.name} has no counterpart')
        elif value.shape != shape:
            reasons.append(f'{name} is {list(value.shape)} there, {list(shape)} here')
        elif value.dtype.kind != 'f' or not np.all(np.isfinite(value)):
            reasons.append(f'{name} has values that are not finite numbers')
        elif weight.name.endswith('moving_variance:0') and np.any(value < 0):
            reasons.append(f'{name} has a variance below 0')
    return reasons
