"""From images to named feature maps."""

import tensorflow as tf

from mobilenet_v3 import layers
from mobilenet_v3.block import inverted_residual
from mobilenet_v3.spec import ConvSpec, ModelSpec, endpoints, explicit_padding, place


def backbone(images: tf.Tensor, spec: ModelSpec) -> dict[str, tf.Tensor]:
    """Runs the stem, the blocks and the last 1×1 convolution.

    Args:
      images: [N, H, W, C], scaled to [-1, 1].
      spec: the network.

    Returns:
      Every named output: 'stem', 'bneck_3/expand', 'bneck_3/depthwise', 'bneck_3', …, 'last', and
      C1 … C5, the last feature map of each stride (see `spec.endpoints`). 'last' is what is pooled.
    """
    outputs: dict[str, tf.Tensor] = {}
    x = images if spec.normalize is None else layers.normalize(images, spec.normalize)
    x = conv_norm_activation(x, spec.stem, spec, 'stem')
    outputs['stem'] = x
    for placed in place(spec):
        x = inverted_residual(x, placed, spec, outputs)
    if spec.last is not None:
        x = conv_norm_activation(x, spec.last, spec, 'last')
    outputs['last'] = x
    outputs.update({name: outputs[source] for name, source in endpoints(spec).items()})
    return outputs


def conv_norm_activation(x: tf.Tensor, conv: ConvSpec, spec: ModelSpec, name: str) -> tf.Tensor:
    """A convolution with BN, or where the spec has none with a bias, and its activation."""
    x = layers.conv(
        x,
        conv.filters,
        kernel=conv.kernel,
        stride=conv.stride,
        use_bias=not conv.batch_norm,
        padding=explicit_padding(spec, conv.kernel, conv.stride, stem=True),
        name=f'{name}/conv',
    )
    if conv.batch_norm:
        x = layers.batch_norm(
            x,
            name=f'{name}/bn',
            momentum=spec.batch_norm_momentum,
            epsilon=spec.batch_norm_epsilon,
        )
    return layers.activation(x, conv.activation, f'{name}/act')
