"""A network as plain data: named ops with their weights, between a Keras model and its deploy form.

`read` makes a graph of any flat functional Keras model whose layers are listed in `_READERS`, and
`build` makes such a model of a graph. What changes a network in between is a pass over these nodes
(`export/deploy.py`).
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras

from export.deploy_layers import Scale, ShiftReLU6
from mobilenet_v3.layers import HardSwish, Resize

Activation = Literal['linear', 'relu', 'relu6']


@dataclasses.dataclass
class Node:
    """One op and the tensor that it makes.

    Attributes:
      name: of both; that of the Keras layer it comes from.
      op: a key of `_BUILDERS`, or one that no deploy form has: batch_norm, hard_sigmoid, identity.
      inputs: names of the nodes whose tensors it takes.
      config: what else describes the op, such as strides.
      kernel: of a convolution, [h, w, C, k], of a depthwise one [h, w, C, 1].
      bias: [k], of a convolution.
      activation: fused into the op, after its bias.
    """

    name: str
    op: str
    inputs: list[str]
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    kernel: Any = None  # np.ndarray, where there is one
    bias: Any = None
    activation: Activation = 'linear'

    @property
    def is_convolution(self) -> bool:
        """Whether it has a kernel."""
        return self.op in ('conv', 'depthwise')


class Graph:
    """The nodes of a network in an order in which they can be computed.

    Attributes:
      nodes: by name.
      outputs: what the network gives: the name of each output and of its node; the only output of a
        network with one is ''.
    """

    def __init__(self, name: str, nodes: list[Node], outputs: dict[str, str]) -> None:
        self.name, self.outputs = name, outputs
        self.nodes = {node.name: node for node in nodes}

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self.nodes.values()))

    def consumers(self, name: str) -> list[Node]:
        """The nodes that take the tensor of a node."""
        return [node for node in self if name in node.inputs]

    def feeds_only(self, name: str, consumer: str) -> bool:
        """Whether nothing but `consumer` sees the tensor of a node."""
        consumers = self.consumers(name)
        return [node.name for node in consumers] == [consumer] and name not in self.outputs.values()

    def replace(self, name: str, by: str) -> None:
        """Removes a node; whoever took its tensor takes another's."""
        for node in self:
            node.inputs = [by if source == name else source for source in node.inputs]
        self.outputs = {k: by if source == name else source for k, source in self.outputs.items()}
        del self.nodes[name]

    def insert_after(self, name: str, new: Node) -> None:
        """Adds a node in the order after another."""
        nodes = list(self.nodes.values())
        nodes.insert(list(self.nodes).index(name) + 1, new)
        self.nodes = {node.name: node for node in nodes}

    def copy(self) -> 'Graph':
        """A graph whose nodes can be changed without changing this one's; weights are shared."""
        nodes = [dataclasses.replace(node, inputs=list(node.inputs)) for node in self]
        return Graph(self.name, nodes, dict(self.outputs))


def read(model: tf_keras.Model) -> Graph:
    """The graph of a Keras model, with copies of its weights.

    Raises:
      ValueError: the model is not flat and functional, a layer has no rule, or a weight is not
        finite.
    """
    if not getattr(model, '_is_graph_network', False) or isinstance(model, tf_keras.Sequential):
        raise ValueError(f'{model.name} is no functional model; expected one of build_model')
    nodes = []
    config = model.get_config()
    for entry in config['layers']:
        layer = model.get_layer(entry['name'])
        reader = _READERS.get(type(layer).__name__)
        if len(entry['inbound_nodes']) > 1:
            raise ValueError(
                f'layer {layer.name} is called {len(entry["inbound_nodes"])} times, for which there '
                'is no rule; give each call a layer of its own'
            )
        if reader is None:
            raise ValueError(
                f'layer {layer.name} is a {type(layer).__name__}, for which there is no rule; add '
                'one to _READERS and _BUILDERS of export/graph.py and to RULES of '
                'export/quantize.py, or build the network of other layers'
            )
        for weight in layer.weights:
            if not np.all(np.isfinite(weight.numpy())):
                raise ValueError(
                    f'{weight.name} is not finite; export a checkpoint from before it diverged'
                )
        inputs = [source[0] for call in entry['inbound_nodes'] for source in call]
        nodes.append(reader(layer, inputs))
    outputs = config['output_layers']
    if isinstance(outputs, dict):
        named = {name: source[0] for name, source in outputs.items()}
    elif len(outputs) == 1:
        named = {'': outputs[0][0]}
    else:
        named = {source[0]: source[0] for source in outputs}
    return Graph(model.name, nodes, named)


def build(
    graph: Graph,
    wrap: Callable[[Node, tf_keras.layers.Layer], tf_keras.layers.Layer] | None = None,
    outputs: dict[str, str] | None = None,
) -> tf_keras.Model:
    """A flat functional Keras model of a graph.

    Args:
      graph: with none but the ops of `_BUILDERS`.
      wrap: makes another layer of the layer of a node, such as one that quantizes.
      outputs: name of each output and of its node, where they are not the graph's.
    """
    tensors: dict[str, tf.Tensor] = {}
    inputs = []
    for node in graph:
        if node.op == 'input':
            tensors[node.name] = tf_keras.Input(node.config['shape'], name=node.name)
            inputs.append(tensors[node.name])
            continue
        layer = _BUILDERS[node.op](node)
        sources = [tensors[source] for source in node.inputs]
        if node.kernel is not None:
            with tf.name_scope(node.name):
                layer.build(sources[0].shape)
            layer.set_weights([node.kernel, node.bias])
        outer = wrap(node, layer) if wrap else layer
        tensors[node.name] = outer(sources if len(sources) > 1 else sources[0])
    result = {name: tensors[source] for name, source in (outputs or graph.outputs).items()}
    return tf_keras.Model(inputs, result.get('', result), name=graph.name)


def _read_input(layer: tf_keras.layers.Layer, inputs: list[str]) -> Node:
    return Node(layer.name, 'input', inputs, {'shape': layer.input_shape[0][1:]})


def _read_convolution(layer: tf_keras.layers.Layer, inputs: list[str]) -> Node:
    depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
    if getattr(layer, 'groups', 1) != 1 or (depthwise and layer.depth_multiplier != 1):
        raise ValueError(f'layer {layer.name} is a grouped convolution, for which there is no rule')
    kernel = layer.depthwise_kernel if depthwise else layer.kernel
    channels = kernel.shape[2] if depthwise else kernel.shape[3]
    bias = layer.bias.numpy() if layer.use_bias else np.zeros(channels, np.float32)
    config = {
        'strides': layer.strides,
        'padding': layer.padding,
        'dilation_rate': layer.dilation_rate,
    }
    if not layer.trainable:  # the constants of normalised images
        config['trainable'] = False
    op = 'depthwise' if depthwise else 'conv'
    activation = tf_keras.activations.serialize(layer.activation)
    if activation not in ('linear', 'relu', 'relu6'):
        raise ValueError(
            f'layer {layer.name} has the activation {activation!r}, for which there is no rule; '
            'make it a layer of its own'
        )
    return Node(layer.name, op, inputs, config, kernel.numpy(), bias, activation)


def _read_batch_norm(layer: tf_keras.layers.Layer, inputs: list[str]) -> Node:
    zeros = np.zeros(layer.moving_mean.shape, np.float32)
    gamma = layer.gamma.numpy() if layer.scale else zeros + 1
    scale = gamma / np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
    shift = (layer.beta.numpy() if layer.center else zeros) - layer.moving_mean.numpy() * scale
    return Node(layer.name, 'batch_norm', inputs, {'scale': scale, 'shift': shift})


def _read_relu(layer: tf_keras.layers.Layer, inputs: list[str]) -> Node:
    kinds: dict[float | None, str] = {None: 'relu', 6.0: 'relu6'}
    top = None if layer.max_value is None else float(layer.max_value)
    if top not in kinds or layer.negative_slope or layer.threshold:
        raise ValueError(f'layer {layer.name} is a ReLU of a form for which there is no rule')
    return Node(layer.name, kinds[top], inputs)


def _read_activation(layer: tf_keras.layers.Layer, inputs: list[str]) -> Node:
    name = tf_keras.activations.serialize(layer.activation)
    kinds = {'linear': 'identity', 'relu': 'relu', 'relu6': 'relu6', 'sigmoid': 'sigmoid'}
    if name not in kinds:
        raise ValueError(f'layer {layer.name} has the activation {name!r}, without a rule')
    return Node(layer.name, kinds[name], inputs)


def _read_pool(layer: tf_keras.layers.Layer, inputs: list[str]) -> Node:
    height, width, channels = layer.input_shape[1:]
    if (height, width) == (1, 1):  # of one value it is none, and the converter drops it
        if layer.keepdims:
            return Node(layer.name, 'identity', inputs)
        return Node(layer.name, 'reshape', inputs, {'target_shape': (channels,)})
    return Node(layer.name, 'mean', inputs, {'keepdims': bool(layer.keepdims)})


def _reader(op: str, *fields: str) -> Callable[[tf_keras.layers.Layer, list[str]], Node]:
    """Reads a layer without weights, of which these fields of the config are kept."""

    def read_layer(layer: tf_keras.layers.Layer, inputs: list[str]) -> Node:
        config = layer.get_config()
        return Node(layer.name, op, inputs, {field: config[field] for field in fields})

    return read_layer


# A new kind of layer needs a line here, one in _BUILDERS and one in RULES of export/quantize.py.
_READERS: dict[str, Callable[[tf_keras.layers.Layer, list[str]], Node]] = {
    'InputLayer': _read_input,
    'Conv2D': _read_convolution,
    'DepthwiseConv2D': _read_convolution,
    'BatchNormalization': _read_batch_norm,
    'ReLU': _read_relu,
    'Activation': _read_activation,
    'HardSwish': _reader('hard_swish'),
    'HardSigmoid': _reader('hard_sigmoid'),
    'Dropout': _reader('identity'),
    'SeededDropout': _reader('identity'),
    'Add': _reader('add'),
    'Multiply': _reader('mul'),
    'GlobalAveragePooling2D': _read_pool,
    'Reshape': _reader('reshape', 'target_shape'),
    'ZeroPadding2D': _reader('pad', 'padding'),
    'Concatenate': _reader('concat', 'axis'),
    'AveragePooling2D': _reader('average_pool', 'pool_size', 'strides', 'padding'),
    'UpSampling2D': _reader('upsample', 'size', 'interpolation'),
    'Resize': _reader('resize', 'size'),
}


def _build_conv(node: Node) -> tf_keras.layers.Layer:
    height, width, _, filters = node.kernel.shape
    return tf_keras.layers.Conv2D(
        filters, (height, width), activation=_function(node), name=node.name, **node.config
    )


def _build_depthwise(node: Node) -> tf_keras.layers.Layer:
    return tf_keras.layers.DepthwiseConv2D(
        node.kernel.shape[:2], activation=_function(node), name=node.name, **node.config
    )


def _function(node: Node) -> Any:
    return tf.nn.relu6 if node.activation == 'relu6' else node.activation


def _builder(layer: Callable[..., tf_keras.layers.Layer], **fixed: Any) -> Callable:
    return lambda node: layer(name=node.name, **fixed, **node.config)


_BUILDERS: dict[str, Callable[[Node], tf_keras.layers.Layer]] = {
    'conv': _build_conv,
    'depthwise': _build_depthwise,
    'shift_relu6': _builder(ShiftReLU6),
    'hard_swish': _builder(HardSwish),
    'scale': _builder(Scale),
    'sigmoid': _builder(tf_keras.layers.Activation, activation='sigmoid'),
    'relu': _builder(tf_keras.layers.ReLU),
    'relu6': _builder(tf_keras.layers.ReLU, max_value=6.0),
    'add': _builder(tf_keras.layers.Add),
    'mul': _builder(tf_keras.layers.Multiply),
    'mean': _builder(tf_keras.layers.GlobalAveragePooling2D),
    'reshape': _builder(tf_keras.layers.Reshape),
    'pad': _builder(tf_keras.layers.ZeroPadding2D),
    'concat': _builder(tf_keras.layers.Concatenate),
    'average_pool': _builder(tf_keras.layers.AveragePooling2D),
    'upsample': _builder(tf_keras.layers.UpSampling2D),
    'resize': _builder(Resize),
    'identity': _builder(tf_keras.layers.Activation, activation='linear'),
    'pixels': _builder(tf_keras.layers.Activation, activation='linear'),
}
