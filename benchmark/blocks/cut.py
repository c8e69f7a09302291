"""Pieces of a .tflite file as files of their own: some of its ops with their weights.

So one op or one block can be measured by itself, wherever files can be measured, with the weights,
ranges and fused activations that it has in the whole.
"""

import copy
import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from train.tflite_file import IDENTIFIER

# A block's own ops come under its name: 'large/bneck_3/expand/conv/Conv2D;…'.
_OURS = re.compile(r'(?:^|/)(stem|bneck_\d+|last|pool|features|logits)(?=/|$)')
_HEAD = ('pool', 'features', 'logits')
# A path after the network's name: 'MobilenetV3/expanded_conv_1/expand/Relu'.
_OTHERS = re.compile(r'^[^/]+/([^/]+)/')
_ALIGNMENT = 16  # of weights in a file, as the schema asks


@dataclasses.dataclass(frozen=True)
class Op:
    """One op of a file.

    Attributes:
      index: its place in the order in which the ops run.
      kind: 'CONV_2D', …
      name: of the tensor that it makes.
      block: which block of the network it belongs to, '' where its name does not tell.
    """

    index: int
    kind: str
    name: str
    block: str


class Pieces:
    """A .tflite file that can be cut.

    Args:
      content: of the file; of its subgraphs the first is the network.

    Raises:
      ValueError: the content is no .tflite file.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        if content[4:8] != IDENTIFIER:
            raise ValueError(
                f'this is no TFLite file: bytes 4 to 8 are {content[4:8]!r}, expected '
                f'{IDENTIFIER!r}; give the content of a .tflite file'
            )
        self._schema = schema
        self._model = schema.ModelT.InitFromPackedBuf(content)
        self._graph = self._model.subgraphs[0]
        self._makers = {
            int(t): index for index, op in enumerate(self._graph.operators) for t in op.outputs
        }
        self._constants = self._find_constants()
        self.ops = self._read_ops()

    def _read_ops(self) -> list[Op]:
        codes = self._schema.BuiltinOperator
        kinds = {value: name for name, value in vars(codes).items() if isinstance(value, int)}
        ops: list[Op] = []
        for index, op in enumerate(self._graph.operators):
            code = self._model.operatorCodes[op.opcodeIndex]
            # Codes above 127 do not fit into the older of the two fields.
            kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
            name = _text(self._graph.tensors[int(op.outputs[0])].name)
            block = block_of(name)
            if not block:  # the last op is called after the output: it goes with what it takes
                makers = [self._makers[int(t)] for t in op.inputs if int(t) in self._makers]
                block = ops[makers[0]].block if makers else ''
            ops.append(Op(index, kind, name, block))
        return ops

    @property
    def computing(self) -> list[Op]:
        """The ops that compute at every run: not those that unpack weights."""
        return [op for op in self.ops if op.index not in self._constants]

    def cut(self, indices: Iterable[int]) -> bytes:
        """The content of a file with these ops and nothing else.

        Args:
          indices: of ops. What they take from others becomes an input, what others take an output;
            ops that only unpack their weights come along.

        Raises:
          ValueError: there is no op, or none of that index.
        """
        chosen = sorted(set(indices))
        if not chosen or chosen[0] < 0 or chosen[-1] >= len(self.ops):
            raise ValueError(
                f'ops {chosen} of a file with {len(self.ops)}; expected some from 0 to '
                f'{len(self.ops) - 1}'
            )
        inside = self._with_unpacking(chosen)
        operators = [self._graph.operators[index] for index in inside]
        taken = _numbers(op.inputs for op in operators)
        made = _numbers(op.outputs for op in operators)
        needed = set(_numbers([self._graph.outputs]))
        for index, op in enumerate(self._graph.operators):
            if index not in inside:
                needed.update(_numbers([op.inputs]))
        inputs = [t for t in taken if t not in made and not self._has_content(t)]
        return self._pack(operators, inputs, [t for t in made if t in needed])

    def _with_unpacking(self, indices: list[int]) -> list[int]:
        """The ops and those that make constants for them, in their order."""
        found = set(indices)
        stack = list(indices)
        while stack:
            for t in _numbers([self._graph.operators[stack.pop()].inputs]):
                maker = self._makers.get(t)
                if maker is not None and maker not in found and maker in self._constants:
                    found.add(maker)
                    stack.append(maker)
        return sorted(found)

    def _find_constants(self) -> set[int]:
        """The ops that give the same at every run, as all that they take is the same."""
        found: set[int] = set()
        for index, op in enumerate(self._graph.operators):  # in the order in which they run
            inputs = _numbers([op.inputs])
            if all(self._has_content(t) or self._makers.get(t) in found for t in inputs):
                found.add(index)
        return found

    def _has_content(self, tensor: int) -> bool:
        data = self._model.buffers[self._graph.tensors[tensor].buffer].data
        return data is not None and len(data) > 0

    def _pack(self, operators: list[Any], inputs: list[int], outputs: list[int]) -> bytes:
        import flatbuffers

        schema = self._schema
        used = _numbers([inputs, outputs, *(op.inputs for op in operators)])
        used = sorted({*used, *_numbers(op.outputs for op in operators)})
        places = {old: new for new, old in enumerate(used)}
        buffers = [schema.BufferT()]  # the first stands for no content
        tensors = []
        for old in used:
            tensor = copy.copy(self._graph.tensors[old])
            tensor.buffer = 0
            if self._has_content(old):
                tensor.buffer = len(buffers)
                buffers.append(self._aligned(self._graph.tensors[old].buffer))
            tensors.append(tensor)
        graph = schema.SubGraphT(
            name='main',
            tensors=tensors,
            inputs=[places[t] for t in inputs],
            outputs=[places[t] for t in outputs],
            operators=[_renumbered(op, places) for op in operators],
        )
        model = schema.ModelT(
            version=self._model.version,
            operatorCodes=self._model.operatorCodes,
            subgraphs=[graph],
            description='A piece of a network',
            buffers=buffers,
        )
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _aligned(self, number: int) -> Any:
        """A buffer that is packed with the alignment that the generated code leaves out."""

        class Aligned(self._schema.BufferT):  # type: ignore[name-defined]
            def Pack(self, builder: Any) -> int:  # noqa: N802
                builder.Prep(_ALIGNMENT, len(self.data))
                return super().Pack(builder)

        return Aligned(data=self._model.buffers[number].data)


def block_of(name: str) -> str:
    """The block to which a tensor of this name belongs; '' where the name does not tell.

    The networks of this project: 'stem', 'bneck_3', 'last' and 'head', which is pooling, features and
    logits. Others: the first part of the path after the network's name, such as 'expanded_conv_3'.
    """
    path = name.split(';')[0]  # the converter joins the names of what it has fused
    ours = _OURS.search(path)
    if ours:
        return 'head' if ours[1] in _HEAD else ours[1]
    others = _OTHERS.match(path)
    return others[1] if others else ''


def _renumbered(op: Any, places: dict[int, int]) -> Any:
    op = copy.copy(op)
    # -1 is an input that is left out.
    op.inputs = [places.get(int(t), -1) for t in op.inputs]
    op.outputs = [places[int(t)] for t in op.outputs]
    op.intermediates = None  # of recurrent ops, which no network here has
    return op


def _numbers(lists: Iterable[Any]) -> list[int]:
    """The tensors of several lists, each once, without those that are left out."""
    return list(dict.fromkeys(int(t) for tensors in lists for t in tensors if t >= 0))


def _text(name: Any) -> str:
    return name.decode('utf-8', 'replace') if isinstance(name, bytes) else str(name or '')
