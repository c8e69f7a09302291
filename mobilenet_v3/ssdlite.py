"""The SSDLite head: boxes and classes from feature maps of falling resolution."""

import math

import tensorflow as tf
import tf_keras

from mobilenet_v3 import layers
from mobilenet_v3.heads import SSDLITE, DetectionHead, maps_of
from mobilenet_v3.spec import ModelSpec

# Paper: released code. With the focal loss every class starts out as rare as an object is: at 1 %.
CLASS_BIAS = -math.log((1 - 0.01) / 0.01)


def ssdlite(
    outputs: dict[str, tf.Tensor],
    spec: ModelSpec,
    *,
    num_classes: int,
    head: DetectionHead = SSDLITE,
) -> dict[str, tf.Tensor]:
    """Predicts a correction and classes for every anchor (Paper: §6.3).

    The first predictors stand on C4, the second on C5, the others on maps that follow C5, each half
    the size of the one before it. Every convolution but the last of a predictor has BN and ReLU6.

    Args:
      outputs: of `backbone`.
      spec: the backbone, for its BN's constants.
      num_classes: classes K without the background.
      head: channels of the extra maps, and the anchors.

    Returns:
      Raw answers for the A anchors in the order of `anchors.anchors`, float32: 'boxes' [N, A, 4],
      the box codes ty, tx, th, tw, and 'scores' [N, A, K + 1], logits of which the first is the
      background's.
    """
    maps = [outputs[name] for name in maps_of(spec)]
    for i, channels in enumerate(head.extras):
        maps.append(_extra(maps[-1], channels, spec, f'ssd/extra_{i + 1}'))
    boxes, scores = [], []
    for i, (features, anchors) in enumerate(zip(maps, head.anchors_per_map, strict=True)):
        name = f'ssd/map_{i + 1}'
        boxes.append(_predict(features, anchors, 4, spec, f'{name}/boxes'))
        scores.append(
            _predict(features, anchors, num_classes + 1, spec, f'{name}/scores', CLASS_BIAS)
        )
    # float32 whatever the policy: box codes and the logits of rare classes need it.
    return {
        'boxes': tf_keras.layers.Concatenate(axis=1, name='boxes', dtype='float32')(boxes),
        'scores': tf_keras.layers.Concatenate(axis=1, name='scores', dtype='float32')(scores),
    }


def _extra(x: tf.Tensor, channels: int, spec: ModelSpec, name: str) -> tf.Tensor:
    """A feature map of half the size: [N, ⌈H / 2⌉, ⌈W / 2⌉, channels]."""
    x = layers.conv(x, channels // 2, name=f'{name}/reduce/conv', use_bias=False)
    x = _norm_relu6(x, spec, f'{name}/reduce')
    x = _depthwise(x, spec, f'{name}/depthwise', stride=2)
    x = layers.conv(x, channels, name=f'{name}/expand/conv', use_bias=False)
    return _norm_relu6(x, spec, f'{name}/expand')


def _predict(
    x: tf.Tensor, anchors: int, size: int, spec: ModelSpec, name: str, bias: float = 0.0
) -> tf.Tensor:
    """`size` numbers for each anchor of each cell: [N, H · W · anchors, size]."""
    height, width = x.shape[1:3]
    x = _depthwise(x, spec, f'{name}/depthwise')
    x = layers.conv(x, anchors * size, name=f'{name}/predict/conv', bias=bias)
    return tf_keras.layers.Reshape((height * width * anchors, size), name=f'{name}/reshape')(x)


def _depthwise(x: tf.Tensor, spec: ModelSpec, name: str, stride: int = 1) -> tf.Tensor:
    x = layers.depthwise(x, name=f'{name}/conv', kernel=3, stride=stride)
    return _norm_relu6(x, spec, name)


def _norm_relu6(x: tf.Tensor, spec: ModelSpec, name: str) -> tf.Tensor:
    x = layers.batch_norm(
        x,
        name=f'{name}/bn',
        momentum=spec.batch_norm_momentum,
        epsilon=spec.batch_norm_epsilon,
    )
    return layers.activation(x, 'relu6', f'{name}/act')
