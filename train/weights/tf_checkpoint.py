"""Reads TensorFlow checkpoints: TF1's of the slim code, and those in SavedModels of Keras.

Variables only: the graph of a SavedModel is never loaded.
"""

import os
import re

from train.weights.hdf5 import ROLES
from train.weights.imported import Arrays, Definition, Imported, Layers, checksum_of_arrays
from train.weights.keras_source import of_layers

_OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'
_EMA = '/ExponentialMovingAverage'
# Slim's networks normalise with ε 1e-3 and pad as TensorFlow does.
_SLIM = Definition('same', 1e-3)
_SLIM_OUTER = {
    'Conv': 'stem',
    'Conv2d_0': 'stem',
    'Conv_1': 'last',
    'Conv_2': 'features',
    'Logits/Conv2d_1c_1x1': 'logits',
}
_SLIM_ROLES = {
    'weights': ('conv', 'kernel'),
    'depthwise_weights': ('conv', 'kernel'),
    'biases': ('conv', 'bias'),
    'BatchNorm/gamma': ('bn', 'gamma'),
    'BatchNorm/beta': ('bn', 'beta'),
    'BatchNorm/moving_mean': ('bn', 'mean'),
    'BatchNorm/moving_variance': ('bn', 'variance'),
}
# What training leaves beside the weights.
_SLOTS = re.compile(r'(^|/)(global_step|RMSProp(_\d+)?|Momentum|Adam(_\d+)?|beta\d_power|loss.*)$')


def checkpoint_prefix(path: str) -> str | None:
    """The prefix of the checkpoint that a path stands for: a SavedModel, a folder, a file; or None."""
    if os.path.isdir(path):
        inside = os.path.join(path, 'variables', 'variables')
        if os.path.isfile(f'{inside}.index'):
            return inside
        prefixes = [f.removesuffix('.index') for f in os.listdir(path) if f.endswith('.index')]
        if len(prefixes) > 1:
            raise ValueError(
                f'{path} holds {len(prefixes)} checkpoints: {", ".join(sorted(prefixes)[:5])}; give '
                'one of them, without its ending'
            )
        return os.path.join(path, prefixes[0]) if prefixes else None
    prefix = re.sub(r'\.(index|data-\d+-of-\d+|meta)$', '', path)
    return prefix if os.path.isfile(f'{prefix}.index') else None


def read_checkpoint(prefix: str, weights: str) -> Imported:
    """The weights of a checkpoint.

    Args:
      prefix: its path without '.index'.
      weights: 'averaged' or 'raw', of slim's, which may hold both; the raw ones are taken where
        there are no averaged ones.

    Raises:
      ValueError: it is damaged, or of another network.
    """
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = reader.get_variable_to_shape_map()
        if _OBJECT_GRAPH in shapes:
            return _of_keras(prefix, reader)
        arrays = {name: reader.get_tensor(name) for name in shapes if not _SLOTS.search(name)}
    except (tf.errors.OpError, RuntimeError, OSError, IndexError) as e:
        reason = ' '.join(str(e).split())[:200]
        raise ValueError(
            f'{prefix} cannot be read as a checkpoint of TensorFlow: {reason}'
        ) from None
    return _of_slim(prefix, arrays, weights)


def _of_keras(prefix: str, reader) -> Imported:  # type: ignore[no-untyped-def]
    """Layers by the names that a checkpoint of objects gives its variables."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_OBJECT_GRAPH))
    layers: Layers = {}
    unknown = []
    for node in graph.nodes:
        for attribute in node.attributes:
            layer, _, role = attribute.full_name.partition(':')[0].rpartition('/')
            if not layer or 'optimizer' in attribute.checkpoint_key or 'seed' in role:
                continue
            if role not in ROLES:
                unknown.append(attribute.full_name)
                continue
            # Keras 3 keeps each variable twice.
            values = reader.get_tensor(attribute.checkpoint_key)
            layers.setdefault(layer, {})[ROLES[role]] = values
    flat = [(f'{name} {role}', v) for name, arrays in layers.items() for role, v in arrays.items()]
    return of_layers(f'Keras folder {prefix}', checksum_of_arrays(flat), layers.items(), unknown)


def _of_slim(prefix: str, arrays: Arrays, weights: str) -> Imported:
    averaged = {n.removesuffix(_EMA): v for n, v in arrays.items() if n.endswith(_EMA)}
    raw = {n: v for n, v in arrays.items() if not n.endswith(_EMA)}
    used = {**raw, **averaged} if weights == 'averaged' else raw
    layers: Layers = {}
    unknown = []
    for name, values in used.items():
        place = _slim_place(name)
        if place is None:
            unknown.append(name)
            continue
        layer, role = place
        layers.setdefault(layer, {})[role] = values
    if unknown or not layers:
        raise ValueError(
            f'{prefix} holds what is no variable of a MobileNet of slim: '
            f'{", ".join(sorted(unknown)[:12]) or "nothing at all"}; expected names such as '
            'MobilenetV3/expanded_conv_3/expand/weights'
        )
    which = 'averaged' if averaged and weights == 'averaged' else 'raw'
    kind = f'TF1 checkpoint {prefix} ({which} weights)'
    return Imported(kind, checksum_of_arrays(used.items()), layers, definition=_SLIM)


def _slim_place(name: str) -> tuple[str, str] | None:
    """Our layer and its array for a variable of slim's."""
    match = re.fullmatch(r'MobilenetV[123]/(.+?)/(BatchNorm/\w+|\w+)', name)
    if match is None or match[2] not in _SLIM_ROLES:
        return None
    suffix, role = _SLIM_ROLES[match[2]]
    layer = _slim_layer(match[1])
    if layer is None:
        return None
    return layer if '/se/' in layer else f'{layer}/{suffix}', role


def _slim_layer(scope: str) -> str | None:
    if scope in _SLIM_OUTER:
        return _SLIM_OUTER[scope]
    if match := re.fullmatch(r'Conv2d_(\d+)_(depthwise|pointwise)', scope):  # V1
        part = 'depthwise' if match[2] == 'depthwise' else 'project'
        return f'bneck_{match[1]}/{part}'
    if match := re.fullmatch(r'expanded_conv(?:_(\d+))?/(expand|depthwise|project)', scope):
        return f'bneck_{int(match[1] or 0) + 1}/{match[2]}'
    if match := re.fullmatch(r'expanded_conv(?:_(\d+))?/squeeze_excite/Conv(_1)?', scope):
        return f'bneck_{int(match[1] or 0) + 1}/se/{"excite" if match[2] else "squeeze"}'
    return None
