"""The inverted residual block, which all the families share."""

import tensorflow as tf
import tf_keras

from mobilenet_v3 import layers
from mobilenet_v3.spec import ModelSpec, PlacedBlock, explicit_padding


def inverted_residual(
    x: tf.Tensor, placed: PlacedBlock, spec: ModelSpec, endpoints: dict[str, tf.Tensor]
) -> tf.Tensor:
    """Expand, depthwise, squeeze-and-excite, project, add (Paper: §3, Fig. 3 and 4).

    Args:
      x: feature map [N, H, W, in_channels].
      placed: the block with the stride and dilation in effect.
      spec: its network, for BN's constants.
      endpoints: receives '<name>/expand', '<name>/depthwise' (before squeeze-and-excite, where that
        does not stand before the activation) and '<name>', each after its activation.

    Returns:
      Feature map [N, ⌈H / stride⌉, ⌈W / stride⌉, filters].
    """
    block, name, inputs = placed.block, placed.name, x

    def norm(y: tf.Tensor, part: str) -> tf.Tensor:
        return layers.batch_norm(
            y,
            name=f'{name}/{part}/bn',
            momentum=spec.batch_norm_momentum,
            epsilon=spec.batch_norm_epsilon,
        )

    if placed.has_expansion:
        x = layers.conv(x, block.expansion, name=f'{name}/expand/conv', use_bias=False)
        x = norm(x, 'expand')
        x = layers.activation(x, block.activation, f'{name}/expand/act')
    endpoints[f'{name}/expand'] = x

    x = layers.depthwise(
        x,
        name=f'{name}/depthwise/conv',
        kernel=block.kernel,
        stride=placed.stride,
        dilation=placed.dilation,
        padding=explicit_padding(spec, block.kernel, placed.stride),
    )
    x = norm(x, 'depthwise')
    gate_first = block.se is not None and block.se.before_activation and placed.has_expansion
    if gate_first:
        x = _gate(x, placed)
    x = layers.activation(x, block.activation, f'{name}/depthwise/act')
    endpoints[f'{name}/depthwise'] = x
    if not gate_first:
        x = _gate(x, placed)

    x = layers.conv(x, block.filters, name=f'{name}/project/conv', use_bias=False)
    x = norm(x, 'project')
    x = layers.activation(x, block.project_activation, f'{name}/project/act')
    if placed.has_residual:
        x = tf_keras.layers.Add(name=f'{name}/add')([inputs, x])
    endpoints[name] = x
    return x


def _gate(x: tf.Tensor, placed: PlacedBlock) -> tf.Tensor:
    """Squeeze-and-excite, where the block has it."""
    block = placed.block
    if block.se is None:
        return x
    squeezed = block.se.width(placed.in_channels, block.expansion)
    return layers.squeeze_excite(x, block.se, squeezed, f'{placed.name}/se')
