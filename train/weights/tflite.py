"""Reads the convolutions of a .tflite file: floats, or dequantized; batch normalisation is folded."""

import os

import numpy as np

from train.weights.imported import Arrays, Imported, Kind, checksum_of_file

_IDENTIFIER = b'TFL3'
_SIXTH = 1 / 6


def read_tflite(path: str) -> Imported:
    """The convolutions of a classification network, in the order of its graph.

    Raises:
      ValueError: it is no such file, it is damaged, or its weights are rewritten for the file alone.
    """
    import struct

    with open(path, 'rb') as file:
        content = file.read()
    if content[4:8] != _IDENTIFIER:
        raise ValueError(
            f'{path} is no TFLite file; expected one with a float or quantized network'
        )
    try:
        by_kind = _Graph(content).convolutions()
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, KeyError) as e:
        raise ValueError(
            f'{path} cannot be read as a network of convolutions: {e or type(e).__name__}; expected '
            'a complete .tflite file of one classification network'
        ) from None
    name = os.path.basename(path)
    return Imported(f'TFLite file {name}', checksum_of_file(path), by_kind=by_kind)


class _Graph:
    """The one subgraph of a file, through its flatbuffer."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model = schema.ModelT.InitFromPackedBuf(content, 0)
        (self._graph,) = self._model.subgraphs
        self._ops = {v: k for k, v in vars(schema.BuiltinOperator).items() if type(v) is int}
        self._made_by = {t: op for op in self._graph.operators for t in op.outputs}

    def convolutions(self) -> dict[Kind, list[Arrays]]:
        """Kernels as Keras lays them out, and biases."""
        by_kind: dict[Kind, list[Arrays]] = {'conv': [], 'depthwise': [], 'norm': []}
        shifts = sum(self._is_shift(op) for op in self._graph.operators)
        sixths = sum(self._is_sixth(op) for op in self._graph.operators)
        for op in self._graph.operators:
            kind = self._kind(op)
            if kind is None:
                continue
            arrays = self._arrays(op, kind)
            if self._feeds_a_gate(op):
                # The converter took the 3 of relu6(x + 3) / 6 into the bias.
                arrays['bias'] = arrays['bias'] - np.float32(3)
                shifts += 1
            by_kind[kind].append(arrays)
        if shifts > sixths:
            raise ValueError(
                f'{shifts - sixths} of its hard sigmoids have their 1/6 in the weights of other '
                'layers, as our own exports do; give the run instead'
            )
        return by_kind

    def _name(self, op) -> str:  # type: ignore[no-untyped-def]
        code = self._model.operatorCodes[op.opcodeIndex]
        return self._ops[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def _kind(self, op) -> Kind | None:  # type: ignore[no-untyped-def]
        name = self._name(op)
        if name in ('CONV_2D', 'FULLY_CONNECTED'):
            return 'conv'
        return 'depthwise' if name == 'DEPTHWISE_CONV_2D' else None

    def _arrays(self, op, kind: Kind) -> Arrays:  # type: ignore[no-untyped-def]
        kernel = self._values(op.inputs[1])
        if kernel is None or kernel.ndim not in (2, 4):
            raise ValueError(f'a {self._name(op)} has no constant kernel')
        if kernel.ndim == 2:  # of a dense layer [k, C]
            kernel = kernel[:, np.newaxis, np.newaxis]
        # TFLite: [k, h, w, C], a depthwise one [1, h, w, C]. Keras: [h, w, C, k] and [h, w, C, 1].
        kernel = np.ascontiguousarray(kernel.transpose(1, 2, 3, 0))
        channels = kernel.shape[2 if kind == 'depthwise' else 3]
        given = len(op.inputs) > 2 and op.inputs[2] >= 0
        bias = self._values(op.inputs[2]) if given else np.zeros(channels, np.float32)
        if bias is None:
            raise ValueError(f'a {self._name(op)} has a bias that is no constant')
        return {'kernel': kernel, 'bias': bias}

    def _values(self, index: int) -> np.ndarray | None:
        """A constant, dequantized; None for a tensor that is computed."""
        maker = self._made_by.get(index)
        if maker is not None:
            # float16 weights come through a DEQUANTIZE.
            return self._values(maker.inputs[0]) if self._name(maker) == 'DEQUANTIZE' else None
        tensor = self._graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None:
            return None
        types = {v: k for k, v in vars(self._schema.TensorType).items() if type(v) is int}
        dtype = np.dtype(types[tensor.type].lower())
        values = np.frombuffer(bytes(data), dtype).reshape(tensor.shape)
        if dtype.kind == 'f':
            return values.astype(np.float32)
        return _dequantize(values, tensor.quantization)

    def _constant(self, op) -> float | None:  # type: ignore[no-untyped-def]
        """The one number that an op's second input is, or None."""
        for index in op.inputs:
            values = self._values(index)
            if values is not None and values.size == 1:
                return float(values.reshape(()))
        return None

    def _activation(self, op) -> int:  # type: ignore[no-untyped-def]
        return getattr(op.builtinOptions, 'fusedActivationFunction', 0)

    def _is_shift(self, op) -> bool:  # type: ignore[no-untyped-def]
        """relu6(x + 3), with its activation or before it."""
        if self._name(op) != 'ADD':
            return False
        constant = self._constant(op)
        return constant is not None and abs(constant - 3) < 0.05

    def _is_sixth(self, op) -> bool:  # type: ignore[no-untyped-def]
        if self._name(op) not in ('MUL', 'DIV'):
            return False
        constant = self._constant(op)
        return constant is not None and (abs(constant - _SIXTH) < 0.01 or abs(constant - 6) < 0.05)

    def _feeds_a_gate(self, op) -> bool:  # type: ignore[no-untyped-def]
        """Whether a convolution's fused RELU6 is that of a hard sigmoid: what it makes is a gate."""
        if self._activation(op) != self._schema.ActivationFunctionType.RELU6:
            return False
        takers = [o for o in self._graph.operators if op.outputs[0] in o.inputs]
        return len(takers) == 1 and self._name(takers[0]) in ('MUL', 'DIV')


def _dequantize(values: np.ndarray, quantization) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Real values, float32, with a scale for the tensor or one for each slice of an axis."""
    if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
        raise ValueError('it has whole numbers without a scale')
    scale = np.asarray(quantization.scale, np.float32)
    zero = np.asarray(quantization.zeroPoint, np.int64)
    if scale.size > 1:
        shape = [1] * values.ndim
        shape[quantization.quantizedDimension] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (values.astype(np.int64) - zero).astype(np.float32) * scale
