"""From a trained model to its deploy form: the same function, in ops that quantize well.

Batch normalisations are folded into convolutions. A hard sigmoid after a convolution becomes its
bias + 3 and a fused RELU6; an h-swish becomes ADD(x, 3) with a fused RELU6, and MUL. The sixths that
both leave behind travel along the linear path to the next convolution's weights. No float kernel is
left without an int8 one of XNNPACK's, so that the quantized network runs in one piece: int8
HARD_SWISH has none, and every one of them would cut the network in two.

A tensor of the deploy form is a known multiple of the tensor that it stands for; `_carry_factors`
keeps the books.
"""

from typing import Literal

import numpy as np
import tf_keras

from export.graph import Graph, Node, build, read

HardSwishForm = Literal['fused', 'decomposed']
SIXTH = 1.0 / 6.0
MOST_JOINED = 5  # tensors that XNNPACK joins in one op


def deploy_graph(model: tf_keras.Model, *, hard_swish: HardSwishForm) -> Graph:
    """The deploy form of a model, as a graph.

    Args:
      model: flat and functional, of layers that `export/graph.py` lists: a backbone with any head.
      hard_swish: 'fused' keeps one HARD_SWISH op an h-swish, which is faster in float; 'decomposed'
        is what runs in one piece in int8.

    Raises:
      ValueError: a layer has no rule, a batch normalisation follows no convolution, or a weight is
        not finite.
    """
    graph = read(model)
    _drop_identities(graph)
    _fold_batch_norms(graph)
    _rewrite_hard_sigmoids(graph)
    if hard_swish == 'decomposed':
        _decompose_hard_swish(graph)
    _fuse_relus(graph)
    _split_concatenations(graph)
    _carry_factors(graph)
    return graph


def deploy_form(model: tf_keras.Model, *, hard_swish: HardSwishForm) -> tf_keras.Model:
    """The deploy form as a flat functional Keras model; its outputs are the model's to 1e-4."""
    return build(deploy_graph(model, hard_swish=hard_swish))


def _drop_identities(graph: Graph) -> None:
    """Dropout and linear activations do nothing once a network is trained."""
    for node in graph:
        if node.op == 'identity':
            graph.replace(node.name, node.inputs[0])


def _fold_batch_norms(graph: Graph) -> None:
    for node in graph:
        if node.op != 'batch_norm':
            continue
        source = _own_convolution(graph, node)
        if source is None:
            before = graph.nodes[node.inputs[0]]
            raise ValueError(
                f'batch normalisation {node.name} follows {before.name} ({before.op}), expected a '
                'convolution that nothing else sees; no rule folds it'
            )
        _scale_outputs(source, node.config['scale'])
        source.bias = source.bias + node.config['shift']
        graph.replace(node.name, source.name)


def _rewrite_hard_sigmoids(graph: Graph) -> None:
    """relu6(z + 3) / 6: the 3 goes into the bias of the convolution that makes z."""
    for node in graph:
        if node.op != 'hard_sigmoid':
            continue
        source = _own_convolution(graph, node)
        node.config['factor'] = SIXTH
        if source is not None:
            source.bias, source.activation = source.bias + np.float32(3), 'relu6'
            source.config['factor'] = SIXTH
            graph.replace(node.name, source.name)
        else:
            node.op = 'shift_relu6'


def _decompose_hard_swish(graph: Graph) -> None:
    """x · relu6(x + 3) / 6 as two ops."""
    for node in graph:
        if node.op != 'hard_swish':
            continue
        x = node.inputs[0]
        shift = Node(f'{node.name}/shift', 'shift_relu6', [x])
        graph.insert_after(x, shift)
        node.op, node.inputs, node.config['factor'] = 'mul', [x, shift.name], SIXTH


def _fuse_relus(graph: Graph) -> None:
    """A ReLU is part of the convolution before it."""
    for node in graph:
        if node.op not in ('relu', 'relu6'):
            continue
        source = _own_convolution(graph, node)
        if source is not None:
            source.activation = 'relu6' if node.op == 'relu6' else 'relu'
            graph.replace(node.name, source.name)


def _own_convolution(graph: Graph, node: Node) -> Node | None:
    """The convolution without an activation that makes a node's input and nothing else's, or None."""
    source = graph.nodes[node.inputs[0]]
    plain = source.is_convolution and source.activation == 'linear'
    return source if plain and graph.feeds_only(source.name, node.name) else None


def _split_concatenations(graph: Graph) -> None:
    """Joins many tensors in steps of no more than XNNPACK takes, the first and largest ones last."""
    for node in graph:
        parts = 0
        while node.op == 'concat' and len(node.inputs) > MOST_JOINED:
            parts += 1
            last = node.inputs[-MOST_JOINED:]
            part = Node(f'{node.name}/part_{parts}', 'concat', last, dict(node.config))
            graph.insert_after(max(last, key=list(graph.nodes).index), part)
            node.inputs = [*node.inputs[:-MOST_JOINED], part.name]


# Ops that map f · x to f · y for every f > 0.
_HOMOGENEOUS = ('mean', 'reshape', 'pad', 'average_pool', 'upsample', 'resize', 'relu', 'scale')


def _carry_factors(graph: Graph) -> None:
    """Moves the constant factors that the rewriting left along linear paths into convolutions.

    factors[t] times the tensor t of the deploy form is the tensor of the trained model. A node's own
    'factor' in its config is what its rewriting owes.
    """
    factors: dict[str, float] = {}
    for node in graph:
        own = node.config.pop('factor', 1.0)
        taken = [factors[source] for source in node.inputs]
        if node.is_convolution:
            node.kernel = node.kernel * np.float32(taken[0])
            factors[node.name] = own
        elif node.op in _HOMOGENEOUS:
            factors[node.name] = own * taken[0]
        elif node.op == 'mul':
            factors[node.name] = own * float(np.prod(taken))
        elif node.op in ('add', 'concat'):
            factors[node.name] = own * _agree(graph, node, factors)
        else:
            for source in list(node.inputs):
                _materialise(graph, source, factors, for_node=node)
            factors[node.name] = own
    for source in set(graph.outputs.values()):
        _materialise(graph, source, factors)


def _agree(graph: Graph, node: Node, factors: dict[str, float]) -> float:
    """Gives all inputs of a sum the same factor, and returns it.

    An h-swish cannot be scaled afterwards, a convolution without RELU6 can: in a residual sum the
    projection follows the shortcut.
    """
    stiff = [s for s in node.inputs if not _can_scale(graph, graph.nodes[s], node)]
    target = factors[stiff[0] if stiff else node.inputs[0]]
    for source in list(node.inputs):
        if factors[source] == target:
            continue
        convolution = graph.nodes[source]
        if _can_scale(graph, convolution, node):
            _scale_outputs(convolution, np.float32(factors[source] / target))
            factors[source] = target
        else:
            _materialise(graph, source, factors, for_node=node, target=target)
    return target


def _can_scale(graph: Graph, source: Node, consumer: Node) -> bool:
    free = source.is_convolution and source.activation in ('linear', 'relu')
    return free and graph.feeds_only(source.name, consumer.name)


def _scale_outputs(node: Node, scale: np.ndarray | np.float32) -> None:
    """Multiplies what a convolution gives, channel by channel."""
    per_channel = np.asarray(scale)
    # A depthwise kernel is [h, w, C, 1]: its output channels are not the last axis.
    factor = per_channel[..., np.newaxis] if node.op == 'depthwise' else per_channel
    node.kernel, node.bias = node.kernel * factor, node.bias * per_channel


def _materialise(
    graph: Graph,
    source: str,
    factors: dict[str, float],
    *,
    for_node: Node | None = None,
    target: float = 1.0,
) -> None:
    """Multiplies by the factor after all, in an op of its own, where no convolution can take it in.

    For one consumer, or for the outputs of the graph.
    """
    if factors[source] == target:
        return
    name = f'{source}/unscale' if target == 1.0 else f'{source}/scale_to_{target:.6g}'
    scaled = Node(name, 'scale', [source], {'factor': factors[source] / target})
    if scaled.name not in graph.nodes:
        graph.insert_after(source, scaled)
    factors[scaled.name] = target
    if for_node is None:
        graph.outputs = {
            k: scaled.name if name == source else name for k, name in graph.outputs.items()
        }
    else:
        for_node.inputs = [scaled.name if name == source else name for name in for_node.inputs]
