"""The segmentation heads: Lite R-ASPP, and the R-ASPP of MobileNetV2 that it improves on."""

import tensorflow as tf
import tf_keras

from mobilenet_v3 import layers
from mobilenet_v3.heads import LR_ASPP, POOL_STRIDE, SegmentationHead, skip_of
from mobilenet_v3.spec import ModelSpec, Size


def segmentation_head(
    outputs: dict[str, tf.Tensor],
    spec: ModelSpec,
    *,
    num_classes: int,
    head: SegmentationHead = LR_ASPP,
    size: Size | None = None,
) -> tf.Tensor:
    """Classifies every pixel (Paper: §6.4, Fig. 10).

    Args:
      outputs: of `backbone`.
      spec: the backbone, for its output stride, its skip and its BN's constants.
      num_classes: classes k.
      head: which head, and its channels.
      size: height and width of the answer, to which it is resized; None: the head's own.

    Returns:
      Logits [N, height, width, k], float32. The head's own size is that of the skip, at stride 8, for
      LR-ASPP and that of the backbone's output for R-ASPP.
    """
    of_kind = _lr_aspp if head.kind == 'lr_aspp' else _r_aspp
    logits = of_kind(outputs, spec, num_classes, head)
    # float32 whatever the policy, as a classifier's.
    if size is None:
        return tf_keras.layers.Activation('linear', name='logits', dtype='float32')(logits)
    return layers.Resize(size, name='logits', dtype='float32')(logits)


def _lr_aspp(
    outputs: dict[str, tf.Tensor], spec: ModelSpec, num_classes: int, head: SegmentationHead
) -> tf.Tensor:
    """A gate from large windows over the features, and a skip from stride 8.

    The logits of the deep branch are resized to the skip's size after their 1×1 convolution, not
    before: bilinear weights sum to one, so that both orders compute the same, and this one on a
    quarter of the pixels.
    """
    features, skip = outputs['last'], outputs[skip_of(spec)]
    gate = _pool(features, spec, head, 'lraspp/gate/pool')
    gate = layers.conv(gate, head.filters, name='lraspp/gate/conv')
    gate = layers.activation(gate, 'hard_sigmoid', 'lraspp/gate/act')
    one = tuple(gate.shape[1:3]) == (1, 1)  # a gate for the whole map, which the product repeats
    gate = _resize(gate, (1, 1) if one else _size(features), 'lraspp/gate/resize')
    x = _conv_norm_relu(features, head.filters, spec, 'lraspp/branch')
    x = tf_keras.layers.Multiply(name='lraspp/scale')([x, gate])
    deep = layers.conv(x, num_classes, name='lraspp/deep/conv')
    deep = _resize(deep, _size(skip), 'lraspp/deep/resize')
    shallow = layers.conv(skip, num_classes, name='lraspp/skip/conv')
    return tf_keras.layers.Add(name='lraspp/sum')([deep, shallow])


def _r_aspp(
    outputs: dict[str, tf.Tensor], spec: ModelSpec, num_classes: int, head: SegmentationHead
) -> tf.Tensor:
    """A 1×1 branch and a globally pooled one, joined and projected (MobileNetV2's paper, §6.3)."""
    features = outputs['last']
    pooled = _pool(features, spec, head, 'raspp/pool/mean')
    pooled = _conv_norm_relu(pooled, head.filters, spec, 'raspp/pool')
    pooled = _resize(pooled, _size(features), 'raspp/pool/resize')
    x = _conv_norm_relu(features, head.filters, spec, 'raspp/branch')
    x = tf_keras.layers.Concatenate(name='raspp/join')([pooled, x])
    x = _conv_norm_relu(x, head.filters, spec, 'raspp/project')
    x = layers.SeededDropout(head.dropout, name='raspp/dropout')(x)
    return layers.conv(x, num_classes, name='raspp/deep/conv')


def _pool(x: tf.Tensor, spec: ModelSpec, head: SegmentationHead, name: str) -> tf.Tensor:
    """Means of windows [N, rows, columns, C]; of the whole map where one covers it."""
    kernel = head.pool_kernel(_size(x), spec.output_stride)
    if kernel == _size(x):
        return tf_keras.layers.GlobalAveragePooling2D(keepdims=True, name=name)(x)
    # A side with one window has no step; XNNPACK takes none that is larger than the window.
    strides = tuple(map(min, kernel, POOL_STRIDE))
    return tf_keras.layers.AveragePooling2D(kernel, strides, padding='valid', name=name)(x)


def _size(x: tf.Tensor) -> Size:
    return x.shape[1], x.shape[2]


def _resize(x: tf.Tensor, size: Size, name: str) -> tf.Tensor:
    """Resizes where there is something to resize.

    Otherwise a layer that does nothing takes its place: Keras and its checkpoints order weights by
    the depth of their layers, which must not depend on the resolution.
    """
    if _size(x) == size:
        return tf_keras.layers.Activation('linear', name=name)(x)
    return layers.Resize(size, name=name)(x)


def _conv_norm_relu(x: tf.Tensor, filters: int, spec: ModelSpec, name: str) -> tf.Tensor:
    x = layers.conv(x, filters, name=f'{name}/conv', use_bias=False)
    x = layers.batch_norm(
        x,
        name=f'{name}/bn',
        momentum=spec.batch_norm_momentum,
        epsilon=spec.batch_norm_epsilon,
    )
    return layers.activation(x, 'relu', f'{name}/act')
