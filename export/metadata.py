"""TFLite metadata: labels and normalisation inside a file, so that MediaPipe Tasks loads it as it is.

MediaPipe's own writers make it. Reading it needs flatbuffers only.
"""

import importlib.util
import io
import struct
import sys
import types
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from flatbuffers import number_types
from flatbuffers.encode import Get
from flatbuffers.packer import uoffset
from flatbuffers.table import Table

from train.tflite_file import IDENTIFIER, unreadable

# Pixels 0..255 become the [-1, 1] of the networks. A uint8 input takes the pixels as they are:
# MediaPipe then ignores the values, and the schema asks to state the float network's.
PIXEL_MEAN = 127.5
PIXEL_STD = 127.5
LABELS_FILE = 'labels.txt'
# --no-deps, since mediapipe asks for absl-py 2 and tensorflow-model-optimization for absl-py 1.
# Only mediapipe's tests and command line use absl. Of what else it asks for, our lock lacks OpenCV and
# sounddevice, and it does without the latter.
INSTALL = 'pip install --no-deps mediapipe opencv-python-headless'


def available() -> bool:
    """Whether mediapipe is installed, which `add_metadata` needs."""
    return importlib.util.find_spec('mediapipe') is not None


def add_metadata(
    content: bytes, *, name: str, description: str, labels: Sequence[str], probabilities: bool
) -> bytes:
    """Packs labels and normalisation into a .tflite file's content, for MediaPipe's ImageClassifier.

    Weights and ops stay as they are. The same arguments give the same bytes.

    Args:
      content: of a classification file without metadata: one image input [1, H, W, 3] and one output
        of N values, [1, N] or [1, 1, 1, N], each uint8 or float32. A float32 input takes images in
        [-1, 1], a uint8 input pixels.
      name: of the model.
      description: of the model, for people.
      labels: the N classes in the order of the output. Two may be equal: MediaPipe gives the index
        beside the label.
      probabilities: whether the outputs are probabilities; else logits. MediaPipe adds no softmax and
        shows scores as they are; the name of the output, its `head_name`, tells which they are.

    Returns:
      The content with metadata.

    Raises:
      ValueError: mediapipe or a library of it is missing, or it would not load or run such a file.
    """
    _check_tensors(content, len(labels))
    _check_labels(labels)
    if read_metadata(content) is not None:
        raise ValueError('the file has metadata already; give it as the converter made it')
    # The writer must not live in this frame: where PortAudio is missing, mediapipe keeps its failed
    # import's exception, and that this frame, so the writer would complain when Python exits.
    packed = _write(
        _import_writers(),
        content,
        general=(name, description),
        labels=list(labels),
        output=('probability', 'Probability of each label.')
        if probabilities
        else ('logit', 'Logit of each label, before the softmax.'),
    )
    return _pack_labels(packed, labels)


def read_metadata(content: bytes) -> dict | None:
    """Reads what `add_metadata` wrote; needs no mediapipe.

    Returns:
      'name' and 'description' of the model, 'labels' (a list), 'output' (the name of the output) and
      'normalization' ('mean' and 'std', a list of floats each). None where there is no metadata.

    Raises:
      ValueError: the content is no TFLite file, or its metadata is damaged.
    """
    _check_identifier(content)
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


def _check_identifier(content: bytes) -> None:
    if content[4:8] != IDENTIFIER:
        raise ValueError(
            f'this is no TFLite file: bytes 4 to 8 are {content[4:8]!r}, expected {IDENTIFIER!r}; '
            'give the content of a .tflite file'
        )


def _check_tensors(content: bytes, num_labels: int) -> None:
    """Refuses what MediaPipe refuses, or loads and fails on at the first image."""
    from ai_edge_litert.interpreter import Interpreter

    _check_identifier(content)
    try:
        interpreter = Interpreter(model_content=content)
    except (ValueError, RuntimeError) as error:
        raise unreadable('the file', error) from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f'the file has {len(inputs)} inputs and {len(outputs)} outputs, expected one image and '
            'one score a class; give a classification file'
        )
    for side, detail in (('input', inputs[0]), ('output', outputs[0])):
        dtype = np.dtype(detail['dtype'])
        if dtype not in (np.uint8, np.float32):
            raise ValueError(
                f'the {side} is {dtype}, MediaPipe takes uint8 and float32; export with --io=uint8'
            )
    image, scores = (tuple(int(n) for n in d['shape']) for d in (inputs[0], outputs[0]))
    if len(image) != 4 or image[0] != 1 or image[3] != 3:
        raise ValueError(
            f'the input is {list(image)}, MediaPipe feeds one RGB image [1, H, W, 3]; '
            'export a network of three channels with batch 1'
        )
    if scores not in ((1, scores[-1]), (1, 1, 1, scores[-1])):
        raise ValueError(
            f'the output is {list(scores)}, expected [1, classes]; give a classification file'
        )
    if scores[-1] != num_labels:
        raise ValueError(
            f'{num_labels} labels for the {scores[-1]} values of the output; give one label a value'
        )


def _check_labels(labels: Sequence[str]) -> None:
    """Refuses labels that would not come back from a file of one label a line."""
    for index, label in enumerate(labels):
        if not label or set(label) & set('\n\r\0'):
            raise ValueError(
                f'label {index} is {label!r}; expected text of one line, which is not empty; '
                'rename that class'
            )


def _write(
    writers: types.ModuleType,
    content: bytes,
    *,
    general: tuple[str, str],
    labels: list[str],
    output: tuple[str, str],
) -> bytes:
    """The content with metadata as MediaPipe writes it; name and description are in pairs."""
    writer = writers.MetadataWriter(bytearray(content))
    writer.add_general_info(*general)
    writer.add_image_input([PIXEL_MEAN], [PIXEL_STD])
    output_name, output_description = output
    writer.add_classification_output(
        writers.Labels().add(labels, exported_filename=LABELS_FILE),
        name=output_name,
        description=output_description,
    )
    try:
        packed, _ = writer.populate()
    except OSError as e:  # its C++ library is loaded no sooner
        raise _unusable(e) from e
    return packed


def _import_writers() -> types.ModuleType:
    """mediapipe's metadata_writer module."""
    if not available():
        raise ValueError(f'mediapipe, which writes the metadata, is not installed; {INSTALL}')
    try:
        _stand_in_for_version()
        from mediapipe.tasks.python.metadata.metadata_writers import metadata_writer
    except (ImportError, OSError) as e:
        raise _unusable(e) from e
    return metadata_writer


def _stand_in_for_version() -> None:
    """Makes mediapipe's metadata writers importable.

    They import one C++ function that the wheels leave out from 0.10.30 on, with all of
    `mediapipe.tasks.cc` (seen up to 1.2.2). It answers which version of the metadata's schema the
    content needs. Ours needs the first: normalisation, an image, value ranges and a label file are
    in it, and everything added later is for text, audio, groups of tensors and custom data.
    """
    if importlib.util.find_spec('mediapipe.tasks.cc') is not None:
        return
    package = types.ModuleType('mediapipe.tasks.cc.metadata.python')
    package._pywrap_metadata_version = types.SimpleNamespace(  # type: ignore[attr-defined]
        GetMinimumMetadataParserVersion=lambda metadata: '1.0.0'
    )
    # Python looks here before it looks for the parent packages.
    sys.modules.setdefault(package.__name__, package)


def _unusable(error: Exception) -> ValueError:
    return ValueError(
        f'mediapipe is installed but cannot be used: {error}; {INSTALL}, and on Debian and Ubuntu '
        'apt install libegl1 libgles2'
    )


def _pack_labels(packed: bytes, labels: Sequence[str]) -> bytes:
    """Puts the appended zip's labels anew, always UTF-8 and without the time of day.

    MediaPipe writes both the locale's way and the clock's, and a card holds the file's hash.
    """
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        start = archive.infolist()[0].header_offset
    buffer = io.BytesIO()
    buffer.write(packed[:start])
    entry = zipfile.ZipInfo(LABELS_FILE)  # of 1980, and not compressed, as MediaPipe asks
    entry.external_attr = 0o644 << 16  # `unzip model.tflite` then gives a file that one can read
    with zipfile.ZipFile(buffer, 'a') as archive:
        archive.writestr(entry, '\n'.join(labels))
    return buffer.getvalue()


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
    image, scores = subgraph.tables(2)[0], subgraph.tables(3)[0]
    return {
        'name': model.text(0),
        'description': model.text(1),
        'labels': _read_labels(scores.tables(6), content),
        'output': scores.text(0),
        'normalization': _read_normalization(image.tables(4)),
    }


def _read_labels(files: list[_Reader], content: bytes) -> list[str]:
    # AssociatedFile: name 0, type 2, whose value 2 is labels.
    names = [file.text(0) for file in files if file.number(2, number_types.Int8Flags) == 2]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(names[0]).decode().removesuffix('\n').split('\n')


def _read_normalization(units: list[_Reader]) -> dict[str, list[float]]:
    # ProcessUnit: type of options 0, whose value 1 is normalisation, options 1: mean 0, std 1.
    options = next(unit.table(1) for unit in units if unit.number(0, number_types.Uint8Flags) == 1)
    return {'mean': options.floats(0), 'std': options.floats(1)}
