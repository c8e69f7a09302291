"""A .tflite file as the LiteRT runtime sees it: identity, inputs, outputs, ops and partitions."""

import collections
import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

IDENTIFIER = b'TFL3'  # flatbuffer file identifier, bytes 4..8 of every .tflite


def read_identity(path: str | os.PathLike) -> tuple[str, int]:
    """SHA-256 and size in bytes of a .tflite file.

    Raises:
      ValueError: there is no such file, or it is something else.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f'{file} is not a file, expected a .tflite file; check the path')
    content = file.read_bytes()
    if content[4:8] != IDENTIFIER:
        raise ValueError(
            f'{file} is not a TFLite file: bytes 4 to 8 are {content[4:8]!r}, expected '
            f'{IDENTIFIER!r}; give a file that the export wrote'
        )
    return hashlib.sha256(content).hexdigest(), len(content)


def open_interpreter(
    path: str | os.PathLike, *, threads: int = 1, delegate: bool = True
) -> Any:  # ai_edge_litert.interpreter.Interpreter: imported only when it is needed
    """An interpreter for a file, not yet allocated.

    Args:
      path: a .tflite file.
      threads: of the runtime.
      delegate: whether XNNPACK takes the ops it knows, as it does by default.

    Raises:
      ValueError: the file is no TFLite file, or the runtime cannot read it.
    """
    # Imported here: --help or a wrong flag does not need the runtime.
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    read_identity(path)
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        return Interpreter(
            model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver
        )
    except (ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error


def unreadable(path: str | os.PathLike, error: Exception) -> ValueError:
    """The error for a file that the runtime refuses."""
    reason = ' '.join(str(error).split())  # the runtime's messages have line breaks
    return ValueError(
        f'{path} cannot be run: {reason}; expected a complete .tflite file of builtin ops '
        'with float, uint8 or int8 inputs; export or copy it again'
    )


def open_content(content: bytes) -> Any:
    """An interpreter for the content of a file, not yet allocated; one thread, XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content, num_threads=1)


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """What a file is made of.

    Attributes:
      ops: how often each op occurs.
      float_ops: the ops that compute in floating point, by name.
      partitions: the pieces that XNNPACK runs; one, and nothing outside it, is the whole network in
        a single call.
      outside: the ops that stand outside the pieces; each cuts the network.
    """

    ops: dict[str, int]
    float_ops: dict[str, int]
    partitions: int
    outside: dict[str, int]


def dissect(path: str | os.PathLike) -> Anatomy:
    """Counts the ops and XNNPACK's partitions of a file."""
    plain = open_interpreter(path, delegate=False)
    delegated = open_interpreter(path)
    try:
        plain.allocate_tensors()
        delegated.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error
    # The runtime has no public list of ops; this is what its own analyzer and debugger read.
    ops = plain._get_ops_details()
    plan = delegated._get_ops_details()
    pieces = [op for op in plan if op['op_name'] == 'DELEGATE']
    # Delegation appends its pieces to the list and leaves the ops in it.
    inside = _delegated(plan, pieces)
    return Anatomy(
        ops=_count(op['op_name'] for op in ops),
        float_ops=_count(op['op_name'] for op in ops if np.float32 in op['result_types']),
        partitions=len(pieces),
        outside=_count(
            op['op_name'] for op in plan if op['index'] not in inside and op not in pieces
        ),
    )


def _delegated(plan: list[dict], pieces: list[dict]) -> set[int]:
    """The indices of the ops that lie between a piece's inputs and its outputs."""
    producer = {int(t): op for op in plan if op not in pieces for t in op['outputs']}
    inside: set[int] = set()
    for piece in pieces:
        borders = {int(t) for t in piece['inputs']}
        stack = [int(t) for t in piece['outputs']]
        while stack:
            op = producer.get(stack.pop())
            if op is None or op['index'] in inside:
                continue
            inside.add(op['index'])
            stack += [int(t) for t in op['inputs'] if int(t) not in borders]
    return inside


def _count(names: Any) -> dict[str, int]:
    return dict(sorted(collections.Counter(names).items()))


def ends_with_softmax(path: str | os.PathLike) -> bool:
    """Whether the first output of a file is that of a softmax, whatever its dtype and shape."""
    interpreter = open_interpreter(path, delegate=False)
    ops = interpreter._get_ops_details()
    made_by = {int(t): op for op in ops for t in op['outputs']}
    op = made_by.get(interpreter.get_output_details()[0]['index'])
    while op is not None and op['op_name'] in ('QUANTIZE', 'DEQUANTIZE', 'RESHAPE'):
        op = made_by.get(int(op['inputs'][0]))
    return op is not None and op['op_name'] == 'SOFTMAX'


class TFLiteModel:
    """Runs a file on batches of images, one image a call.

    Args:
      path: a .tflite file with one image input [1, H, W, C].
      threads: of the runtime.
      delegate: whether XNNPACK takes part.

    Attributes:
      input_shapes: of every input; the first one is fed.
      output_shapes: of every output.
      output_names: of every output, as the file's signature has them; without one the tensors'.
    """

    def __init__(self, path: str | os.PathLike, *, threads: int = 1, delegate: bool = True) -> None:
        self._interpreter = open_interpreter(path, threads=threads, delegate=delegate)
        try:
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise unreadable(path, error) from error
        inputs = self._interpreter.get_input_details()
        self._input, self._outputs = inputs[0], named_outputs(self._interpreter)
        self.input_shapes = [tuple(int(side) for side in d['shape']) for d in inputs]
        self.output_shapes = [tuple(int(n) for n in d['shape']) for d in self._outputs.values()]
        self.output_names = tuple(self._outputs)

    def __call__(self, images: np.ndarray) -> Any:
        """Maps float images [N, H, W, C] in [-1, 1] to real values.

        Returns:
          [N, …] of a file with one output; of several a dict of them by name.
        """
        results: dict[str, list[np.ndarray]] = {name: [] for name in self._outputs}
        for image in images:
            pixels = quantize_image(image[np.newaxis], self._input)
            self._interpreter.set_tensor(self._input['index'], pixels)
            self._interpreter.invoke()
            for name, detail in self._outputs.items():
                output = self._interpreter.get_tensor(detail['index'])
                results[name].append(dequantize(output, detail)[0])
        stacked = {name: np.stack(values) for name, values in results.items()}
        return stacked if len(stacked) > 1 else stacked.popitem()[1]

    @property
    def output_scale(self) -> float:
        """The size of one step of the first output; 0 for floats."""
        return next(iter(self.output_scales.values()))

    @property
    def output_scales(self) -> dict[str, float]:
        """The size of one step of each output, by its name; 0 for floats and whole numbers."""
        return {name: float(d['quantization'][0]) for name, d in self._outputs.items()}


def named_outputs(interpreter: Any) -> dict[str, dict]:
    """What the interpreter says of each output, by its name, in the order of their positions."""
    details = {int(d['index']): d for d in interpreter.get_output_details()}
    if not interpreter.get_signature_list():
        return {d['name']: d for d in details.values()}
    named = interpreter.get_signature_runner().get_output_details()
    names = {int(d['index']): name for name, d in named.items()}
    return {names.get(index, d['name']): d for index, d in details.items()}


def quantize_image(images: np.ndarray, detail: dict) -> np.ndarray:
    """Images in [-1, 1] in the dtype of an input.

    8-bit inputs take the pixels themselves, as an app feeds them: by scale and zero point they would
    fall half way between two steps.
    """
    dtype = np.dtype(detail['dtype'])
    if dtype.itemsize > 1:
        return quantize(images, detail)
    pixels = np.round((images + 1.0) * 127.5)
    return (pixels + np.iinfo(dtype).min).astype(dtype)


def quantize(values: np.ndarray, detail: dict) -> np.ndarray:
    """Real values in the dtype of a tensor, by its scale and zero point."""
    dtype = np.dtype(detail['dtype'])
    if dtype.kind == 'f':
        return values.astype(dtype)
    scale, zero_point = detail['quantization']
    limits = np.iinfo(dtype)
    steps = np.round(values / scale) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(values: np.ndarray, detail: dict) -> np.ndarray:
    """The real values of a tensor, float32; whole numbers without steps, such as labels, stay."""
    if np.dtype(detail['dtype']).kind == 'f':
        return values.astype(np.float32)
    scale, zero_point = detail['quantization']
    if not scale:
        return values
    return (values.astype(np.float32) - zero_point) * np.float32(scale)
