"""Reads TFLite metadata, labels and normalisation inside a file; needs flatbuffers only."""

import io
import struct
import zipfile
from typing import Any

from flatbuffers import number_types
from flatbuffers.encode import Get
from flatbuffers.packer import uoffset
from flatbuffers.table import Table

from train.tflite_file import IDENTIFIER


def read_metadata(content: bytes) -> dict | None:
    """Reads what `export.metadata.add_metadata` wrote; needs no mediapipe.

    Returns:
      'name' and 'description' of the model, 'labels' (a list), 'outputs' (their names) and
      'normalization' ('mean' and 'std', a list of floats each). None where there is no metadata.

    Raises:
      ValueError: the content is no TFLite file, or its metadata is damaged.
    """
    check_identifier(content)
    try:
        metadata = _find_metadata(content)
        return None if metadata is None else _describe(metadata, content)
    except (
        struct.error,
        LookupError,
        TypeError,
        StopIteration,
        UnicodeError,
        zipfile.BadZipFile,
    ) as e:
        raise ValueError(
            f"the metadata of the file cannot be read: {e!r}; expected what MediaPipe's writers "
            'write; export the file again'
        ) from e


def check_identifier(content: bytes) -> None:
    """ValueError for what is no TFLite file."""
    if content[4:8] != IDENTIFIER:
        raise ValueError(
            f'this is no TFLite file: bytes 4 to 8 are {content[4:8]!r}, expected {IDENTIFIER!r}; '
            'give the content of a .tflite file'
        )


class _Reader:
    """A flatbuffer table, its fields by their place in the schema; an absent one is empty."""

    def __init__(self, content: bytes, position: int) -> None:
        self._table = Table(content, position)

    @classmethod
    def root(cls, content: bytes) -> '_Reader':
        return cls(content, Get(uoffset, content, 0))

    def number(self, field: int, flags: Any) -> int:
        offset = self._offset(field)
        return self._table.Get(flags, offset + self._table.Pos) if offset else 0

    def text(self, field: int) -> str:
        offset = self._offset(field)
        return self._table.String(offset + self._table.Pos).decode() if offset else ''

    def table(self, field: int) -> '_Reader':
        return _Reader(
            self._table.Bytes, self._table.Indirect(self._offset(field) + self._table.Pos)
        )

    def tables(self, field: int) -> list['_Reader']:
        starts = self._vector(field, 4)
        return [_Reader(self._table.Bytes, self._table.Indirect(start)) for start in starts]

    def floats(self, field: int) -> list[float]:
        starts = self._vector(field, 4)
        return [self._table.Get(number_types.Float32Flags, start) for start in starts]

    def blob(self, field: int) -> bytes:
        span = self._vector(field, 1)
        return bytes(self._table.Bytes[span.start : span.stop])

    def _offset(self, field: int) -> int:
        return self._table.Offset(4 + 2 * field)

    def _vector(self, field: int, width: int) -> range:
        offset = self._offset(field)
        if not offset:
            return range(0)
        start = self._table.Vector(offset)
        return range(start, start + width * self._table.VectorLen(offset), width)


def _find_metadata(content: bytes) -> bytes | None:
    # Model: buffers 4, metadata 6. Metadata: name 0, buffer 1. Buffer: data 0.
    model = _Reader.root(content)
    for entry in model.tables(6):
        if entry.text(0) == 'TFLITE_METADATA':
            return model.tables(4)[entry.number(1, number_types.Uint32Flags)].blob(0)
    return None


def _describe(metadata: bytes, content: bytes) -> dict:
    # ModelMetadata: name 0, description 1, subgraphs 3. SubGraphMetadata: inputs 2, outputs 3.
    # TensorMetadata: name 0, process units 4, files 6.
    model = _Reader.root(metadata)
    subgraph = model.tables(3)[0]
    image, outputs = subgraph.tables(2)[0], subgraph.tables(3)
    return {
        'name': model.text(0),
        'description': model.text(1),
        'labels': _read_labels([file for output in outputs for file in output.tables(6)], content),
        'outputs': [output.text(0) for output in outputs],
        'normalization': _read_normalization(image.tables(4)),
    }


def minimum_version(metadata: bytes) -> str:
    """The version of the schema that a reader of this metadata, a flatbuffer, has to know."""
    # SubGraphMetadata: groups of outputs 8, which came with 1.2.0, and custom metadata 9, with 1.5.0.
    # Of what else came later, `add_metadata` writes nothing: tokens, audio, units for all tensors.
    subgraph = _Reader.root(metadata).tables(3)[0]
    if subgraph.tables(9):
        return '1.5.0'
    return '1.2.0' if subgraph.tables(8) else '1.0.0'


def _read_labels(files: list[_Reader], content: bytes) -> list[str]:
    # AssociatedFile: name 0, type 2, whose values 2 and 3 are labels of an axis and of values.
    names = [file.text(0) for file in files if file.number(2, number_types.Int8Flags) in (2, 3)]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(names[0]).decode().removesuffix('\n').split('\n')


def _read_normalization(units: list[_Reader]) -> dict[str, list[float]]:
    # ProcessUnit: type of options 0, whose value 1 is normalisation, options 1: mean 0, std 1.
    options = next(unit.table(1) for unit in units if unit.number(0, number_types.Uint8Flags) == 1)
    return {'mean': options.floats(0), 'std': options.floats(1)}
