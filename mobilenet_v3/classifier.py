"""The classification head: pool, features, dropout, logits."""

import tensorflow as tf
import tf_keras

from mobilenet_v3 import layers
from mobilenet_v3.backbone import conv_norm_activation
from mobilenet_v3.spec import ModelSpec


def classifier(features: tf.Tensor, spec: ModelSpec, num_classes: int) -> tf.Tensor:
    """Classifies the feature map before pooling (Paper: §5.1, Fig. 5, bottom).

    Args:
      features: the backbone's 'last', [N, H, W, C].
      spec: the network; its `features` is the 1×1 convolution after pooling, where it has one.
      num_classes: number of classes k.

    Returns:
      Logits [N, k], float32.
    """
    x = tf_keras.layers.GlobalAveragePooling2D(keepdims=True, name='pool')(features)
    if spec.features is not None:
        x = conv_norm_activation(x, spec.features, spec, 'features')
    x = layers.SeededDropout(spec.dropout, name='dropout')(x)
    x = layers.conv(x, num_classes, name='logits/conv')
    # float32 whatever the policy: a softmax over bfloat16 logits loses the small classes.
    return tf_keras.layers.Reshape((num_classes,), name='logits', dtype='float32')(x)
