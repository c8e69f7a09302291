"""Carries weights from `tf_keras.applications` into our networks."""

import re

import numpy as np
import tf_keras

# Layers of tf_keras.applications.MobileNetV3* outside its blocks.
_V3_OUTER = {
    'Conv': 'stem/conv',
    'Conv/BatchNorm': 'stem/bn',
    'Conv_1': 'last/conv',
    'Conv_1/BatchNorm': 'last/bn',
    'Conv_2': 'features/conv',
    'Logits': 'logits/conv',
}
_V3_PARTS = {
    'expand': 'expand/conv',
    'expand/BatchNorm': 'expand/bn',
    'depthwise': 'depthwise/conv',
    'depthwise/BatchNorm': 'depthwise/bn',
    'squeeze_excite/Conv': 'se/squeeze',
    'squeeze_excite/Conv_1': 'se/excite',
    'project': 'project/conv',
    'project/BatchNorm': 'project/bn',
}
# Layers of tf_keras.applications.MobileNetV2.
_V2_OUTER = {
    'Conv1': 'stem/conv',
    'bn_Conv1': 'stem/bn',
    'Conv_1': 'last/conv',
    'Conv_1_bn': 'last/bn',
    'predictions': 'logits/conv',
}
_V2_PARTS = {
    'expand': 'expand/conv',
    'expand_BN': 'expand/bn',
    'depthwise': 'depthwise/conv',
    'depthwise_BN': 'depthwise/bn',
    'project': 'project/conv',
    'project_BN': 'project/bn',
}


def carry_keras_weights(source: tf_keras.Model, target: tf_keras.Model) -> None:
    """Copies every weight of a `tf_keras.applications` MobileNetV2 or V3 into ours, BN statistics too.

    With or without the classifier: `include_top=False` leaves the target's features and logits as
    they are. The networks are the same functions when the target's spec has the source's BN epsilon
    (1e-3 in both).

    Args:
      source: a model of tf_keras.applications.MobileNetV3Large, MobileNetV3Small or MobileNetV2.
      target: a model of `build_model` with the same multiplier and number of classes.

    Raises:
      ValueError: a layer has no counterpart or another shape; every such layer is listed, and the
        target is unchanged.
    """
    targets = {layer.name: layer for layer in target.layers if layer.weights}
    carried: dict[str, list[np.ndarray]] = {}
    misfits = []
    for layer in source.layers:
        if not layer.weights:
            continue
        name = _target_name(layer.name)
        if name is None or name not in targets:
            misfits.append(f'{layer.name}: ours has no {name or "layer of that name"}')
            continue
        values = layer.get_weights()
        shapes = [tuple(w.shape) for w in targets[name].weights]
        if isinstance(layer, tf_keras.layers.Dense):
            values[0] = values[0][np.newaxis, np.newaxis]  # [C, k] -> [1, 1, C, k]
        if [v.shape for v in values] != shapes:
            misfits.append(f'{layer.name}: {[v.shape for v in values]}, ours {name} {shapes}')
            continue
        carried[name] = values
    head = {'features/conv', 'logits/conv'}
    without_top = not head & set(carried)
    for name in targets:
        if name not in carried and not (without_top and name in head):
            misfits.append(f'{name}: nothing in the source fills it')
    if misfits:
        raise ValueError(
            f'{source.name} does not fit {target.name}; build ours with the same network, '
            'multiplier, classes and input channels. These differ: ' + '; '.join(misfits)
        )
    for name, values in carried.items():
        targets[name].set_weights(values)


def _target_name(source: str) -> str | None:
    """The name of our layer for a layer of tf_keras.applications."""
    if match := re.fullmatch(r'expanded_conv(?:_(\d+))?/(.+)', source):
        part = _V3_PARTS.get(match[2])
        return part and f'bneck_{int(match[1] or 0) + 1}/{part}'
    if match := re.fullmatch(r'expanded_conv_(.+)', source):  # V2's first block
        part = _V2_PARTS.get(match[1])
        return part and f'bneck_1/{part}'
    if match := re.fullmatch(r'block_(\d+)_(.+)', source):
        part = _V2_PARTS.get(match[2])
        return part and f'bneck_{int(match[1]) + 1}/{part}'
    return _V3_OUTER.get(source) or _V2_OUTER.get(source)
