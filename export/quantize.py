"""From a deploy form to a quantized Keras model: what the int8 file computes, in floats that round.

The model rounds weights, biases and every activation as the file does, so that its answers are the
file's; calibrated only, it is post-training quantization, trained further it is quantization-aware.
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tf_keras

from export.graph import Graph, Node, build
from export.quantizers import (
    FixedQuantizer,
    LayerConfig,
    QuantizedLayer,
    Quantizer,
    RangeQuantizer,
    SharedQuantizer,
    WeightQuantizer,
)

Ranges = dict[str, tuple[float, float]]
# The steps of uint8 pixels, of which 128 is 0: an int8 zero point is a whole number.
PIXELS = (-128 / 127.5, 127 / 127.5)
# So a pixel p stands for (p - 128) / 127.5 in a file, and for p / 127.5 - 1 in training.
HALF_STEP = 0.5 / 127.5
SMALLEST_RANGE = 1e-6
MOST_WIDENING = 1.05
IMAGES = FixedQuantizer(*PIXELS)  # stands before the node that rounds them
# TFLite fixes the scale of LOGISTIC to 1 / 256.
UNIT = (0.0, 255 / 256)


@dataclasses.dataclass(frozen=True)
class Observing:
    """How ranges move in training; see `RangeQuantizer`."""

    decay: float = 0.99
    steps: int = 0


def quantized_model(
    graph: Graph, ranges: Ranges, observing: Observing = Observing()
) -> tf_keras.Model:
    """The quantized model of a deploy form.

    Args:
      graph: of `export.deploy.deploy_graph`; it stays as it is.
      ranges: low and high of each range of `range_owners`, from `export.calibrate`.
      observing: how they move in training.

    Returns:
      A flat functional model of images [N, H, W, C] that `to_pixel_grid` made.

    Raises:
      ValueError: a node has no rule, or a range is missing.
    """
    graph = _with_rounded_input(graph)
    quantizers: dict[str, Quantizer] = {}
    owners = range_owners(graph)

    def wrap(node: Node, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if rule_of(node) == 'same':
            quantizers[node.name] = quantizers[node.inputs[0]]
            return layer
        owner = owners[node.name]
        if owner == node.name:
            output = _output_quantizer(graph, node, owners, observing)
        else:
            output = SharedQuantizer(quantizers[owner])
        quantizers[node.name] = output
        source = quantizers.get(node.inputs[0], IMAGES)
        weight = WeightQuantizer(layer, source) if node.is_convolution else None
        config = LayerConfig(layer, output, source, weight)
        return QuantizedLayer(layer, config)

    model = build(graph, wrap)
    set_ranges(model, ranges)
    return model


# op: 'range' (rounded to a calibrated range), 'same' (values on the steps of its input stay on them),
# 'again' (values between the steps of its input are rounded to these), 'union' (TFLite joins tensors of
# one scale: its inputs and itself share a range), or a fixed range. A new op needs a line here.
RULES: dict[str, str | tuple[float, float]] = {
    'conv': 'range',
    'depthwise': 'range',
    'shift_relu6': 'range',
    'hard_swish': 'range',
    'scale': 'range',
    'relu': 'range',
    'relu6': 'range',
    'add': 'range',
    'mul': 'range',
    'mean': 'range',
    'sigmoid': UNIT,
    'reshape': 'same',
    'pad': 'same',
    'average_pool': 'again',
    'upsample': 'again',
    'resize': 'again',
    'concat': 'union',
    'pixels': PIXELS,
}


def rule_of(node: Node) -> str | tuple[float, float]:
    """The rule of a node.

    Raises:
      ValueError: its op has none.
    """
    if node.op not in RULES:
        raise ValueError(
            f'{node.name} is a {node.op}, which no rule quantizes; add its line to RULES of '
            'export/quantize.py: range, same, again, union, or a fixed range'
        )
    return RULES[node.op]


def range_owners(graph: Graph) -> dict[str, str]:
    """Whose range rounds the tensor of each node: its own name, or that of another node."""
    owners: dict[str, str] = {}
    for node in graph:
        rule = 'same' if node.op == 'input' else rule_of(node)
        if rule in ('same', 'again') and node.inputs:
            owners[node.name] = owners[node.inputs[0]]
            continue
        owners[node.name] = node.name
        if rule != 'union':
            continue
        # A fixed range is not shared: the converter rounds such an input once more.
        joined = {owners[name] for name in node.inputs if has_range(graph.nodes[owners[name]])}
        joined.add(node.name)
        first = next(name for name in graph.nodes if name in joined)
        owners = {name: first if owner in joined else owner for name, owner in owners.items()}
    return owners


def has_range(node: Node) -> bool:
    """Whether a node's tensor is rounded to a calibrated range."""
    return node.op != 'input' and isinstance(rule_of(node), str)


def to_pixel_grid(images: tf.Tensor) -> tf.Tensor:
    """Images [N, H, W, C] of training, p / 127.5 - 1, as a quantized model takes them."""
    return images - HALF_STEP


def _with_rounded_input(graph: Graph) -> Graph:
    """The graph with a node that rounds the images after each input."""
    graph = graph.copy()
    for source in [node for node in graph if node.op == 'input']:
        rounded = Node(f'{source.name}/quantize', 'pixels', [source.name])
        for node in graph.consumers(source.name):
            node.inputs = [rounded.name if name == source.name else name for name in node.inputs]
        graph.insert_after(source.name, rounded)
        _add_half_step(graph, rounded)
    return graph


def _add_half_step(graph: Graph, rounded: Node) -> None:
    """Puts the half step into the biases that see the images; exact away from borders of zeros."""
    for node in graph.consumers(rounded.name):
        if node.op == 'pad':
            _add_half_step(graph, node)
        elif node.is_convolution:
            axes = (0, 1) if node.op == 'depthwise' else (0, 1, 2)
            sums = node.kernel.sum(axis=axes).reshape(node.bias.shape)
            node.bias = node.bias + np.float32(HALF_STEP) * sums


def layer_configs(model: tf_keras.Model) -> dict[str, LayerConfig]:
    """What quantizes each layer of a quantized model, by name."""
    return {
        layer.name: layer.quantize_config
        for layer in model.layers
        if isinstance(layer, QuantizedLayer)
    }


def set_ranges(model: tf_keras.Model, ranges: Ranges) -> None:
    """Sets the ranges of a quantized model.

    Raises:
      ValueError: a range is missing, not finite or empty.
    """
    for name, config in layer_configs(model).items():
        if not isinstance(config.output, RangeQuantizer):
            continue
        low, high = ranges.get(name, (np.nan, np.nan))
        low, high = min(low, 0.0), max(high, 0.0)
        if not (np.isfinite(low) and np.isfinite(high) and high - low > SMALLEST_RANGE):
            raise ValueError(
                f'the range of {name} is [{low:g}, {high:g}]: the tensor is dead or not finite and '
                'cannot be quantized; calibrate with images of the training set, and train longer '
                'where much of the network is dead'
            )
        config.output.low.assign(low)
        config.output.high.assign(high)
    align_means(model)


def align_means(model: tf_keras.Model) -> None:
    """Widens the ranges of pooled tensors a little, so that TFLite's kernels agree on the mean.

    The kernel that runs where XNNPACK does not adds input zero point · input scale / output scale,
    cut off to a whole number: up to a step of error in every mean, and, measured, most of what two
    kernels disagree about. The output's scale grows until that number is whole, by a percent or so:
    more than MOST_WIDENING would cost more than it gives. To be called again after training has moved
    the ranges.
    """
    for config in layer_configs(model).values():
        source, output = config.source, config.output
        pools = isinstance(config.layer, tf_keras.layers.GlobalAveragePooling2D)
        if not pools or not isinstance(output, RangeQuantizer):
            continue
        zero_point = abs(source.zero_point())
        ratio = float(source.scale()) / float(output.scale())
        whole = np.floor(zero_point * ratio)
        # A little more than whole: float arithmetic might cut it to one less, and a ratio of small
        # whole numbers would put many means half way between two steps.
        wider = zero_point * ratio / (whole + 0.02)
        if whole < 1 or wider > MOST_WIDENING:
            continue
        output.low.assign(output.low * wider)
        output.high.assign(output.high * wider)


def _output_quantizer(
    graph: Graph, node: Node, owners: dict[str, str], observing: Observing
) -> Quantizer:
    rule = rule_of(node)
    if not isinstance(rule, str):
        return FixedQuantizer(*rule)
    members = [n for n in graph if owners[n.name] == node.name and rule_of(n) in ('range', 'union')]
    # A shared range stays as it is calibrated: no tensor of it alone shows how far it reaches.
    steps = observing.steps if len(members) == 1 else 0
    return RangeQuantizer(observing.decay, steps, smallest_that_counts(graph, node.name))


def smallest_that_counts(graph: Graph, name: str) -> float | None:
    """-3 for a tensor that only an h-swish takes, which is 0 for all below; None for others."""
    consumers = sorted(graph.consumers(name), key=lambda node: node.op)
    ops = [node.op for node in consumers]
    swish = ops == ['hard_swish']
    if ops == ['mul', 'shift_relu6']:
        swish = set(consumers[0].inputs) == {name, consumers[1].name}
    return -3.0 if swish and name not in graph.outputs.values() else None
