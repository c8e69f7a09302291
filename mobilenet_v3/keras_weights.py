"""Carries weights from `tf_keras.applications` into our networks."""

import re

import numpy as np
import tf_keras

# Layers of tf_keras.applications.MobileNetV3* outside its blocks, and in them; Keras 3 writes them with
# small letters and underscores ('expanded_conv_3_squeeze_excite_conv').
_V3_OUTER = {
    'conv': 'stem/conv',
    'conv_bn': 'stem/bn',
    'conv_1': 'last/conv',
    'conv_1_bn': 'last/bn',
    'conv_2': 'features/conv',
    'logits': 'logits/conv',
}
_V3_PARTS = {
    'expand': 'expand/conv',
    'expand_bn': 'expand/bn',
    'depthwise': 'depthwise/conv',
    'depthwise_bn': 'depthwise/bn',
    'squeeze_excite_conv': 'se/squeeze',
    'squeeze_excite_conv_1': 'se/excite',
    'project': 'project/conv',
    'project_bn': 'project/bn',
}
# Layers of MobileNetV2, whose blocks have V3's parts, and of MobileNet.
_V2_OUTER = {
    'conv1': 'stem/conv',
    'bn_conv1': 'stem/bn',
    'predictions': 'logits/conv',
}
_V1_OUTER = {
    'conv1_bn': 'stem/bn',
    'conv_preds': 'logits/conv',
}
_OUTER = _V3_OUTER | _V2_OUTER | _V1_OUTER
_V1_PARTS = {'dw': 'depthwise', 'pw': 'project'}


def carry_keras_weights(source: tf_keras.Model, target: tf_keras.Model) -> None:
    """Copies every weight of a `tf_keras.applications` MobileNet into ours, BN statistics too.

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
        name = our_layer(layer.name)
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


def our_layer(source: str) -> str | None:
    """The name of our layer for a layer of an application of Keras 2 or 3; None where there is none."""
    name = source.lower().replace('/batchnorm', '_bn').replace('/', '_')
    if match := re.fullmatch(r'expanded_conv_(?:(\d+)_)?(.+)', name):
        part = _V3_PARTS.get(match[2])
        return part and f'bneck_{int(match[1] or 0) + 1}/{part}'
    if match := re.fullmatch(r'block_(\d+)_(.+)', name):  # V2's; its first is expanded_conv
        part = _V3_PARTS.get(match[2])
        return part and f'bneck_{int(match[1]) + 1}/{part}'
    if match := re.fullmatch(r'conv_(dw|pw)_(\d+)(_bn)?', name):  # V1's
        return f'bneck_{match[2]}/{_V1_PARTS[match[1]]}/{"bn" if match[3] else "conv"}'
    return _OUTER.get(name)
