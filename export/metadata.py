"""TFLite metadata: labels and normalisation inside a file, so that MediaPipe Tasks loads it as it is.

MediaPipe's own writers make it; `export/metadata_reader.py` reads it without them.
"""

import importlib.util
import io
import sys
import types
import zipfile
from collections.abc import Sequence

import numpy as np

from export.mediapipe_tasks import LABELS_FILE, MediaPipeTask
from export.metadata_reader import check_identifier, minimum_version, read_metadata
from train.tflite_file import unreadable

# Pixels 0..255 become the [-1, 1] of the networks. A uint8 input takes the pixels as they are:
# MediaPipe then ignores the values, and the schema asks to state the float network's.
PIXEL_MEAN = 127.5
PIXEL_STD = 127.5
# --no-deps, since mediapipe asks for absl-py 2 and tensorflow-model-optimization for absl-py 1.
# Only mediapipe's tests and command line use absl. Of what else it asks for, our lock lacks OpenCV and
# sounddevice, and it does without the latter.
INSTALL = 'pip install --no-deps mediapipe opencv-python-headless'


def available() -> bool:
    """Whether mediapipe is installed, which `add_metadata` needs."""
    return importlib.util.find_spec('mediapipe') is not None


def add_metadata(
    content: bytes, task: MediaPipeTask, *, name: str, description: str, labels: Sequence[str]
) -> bytes:
    """Packs labels and normalisation into a .tflite file's content, for one of MediaPipe's tasks.

    Weights and ops stay as they are. The same arguments give the same bytes.

    Args:
      content: of a file without metadata: one image input [1, H, W, 3], uint8 of pixels or float32 in
        [-1, 1], and the outputs that the task asks for.
      task: that is to read it.
      name: of the model.
      description: of the model, for people.
      labels: the classes in the order of the output. Two may be equal: MediaPipe gives the index
        beside the label.

    Returns:
      The content with metadata.

    Raises:
      ValueError: mediapipe or a library of it is missing, or it would not load or run such a file.
    """
    _check_tensors(content, task, len(labels))
    _check_labels(labels)
    if read_metadata(content) is not None:
        raise ValueError('the file has metadata already; give it as the converter made it')
    # The writer must not live in this frame: where PortAudio is missing, mediapipe keeps its failed
    # import's exception, and that this frame, so the writer would complain when Python exits.
    packed = _write(_import_writers(), content, task, general=(name, description), labels=labels)
    return _pack_labels(packed, labels)


def _check_tensors(content: bytes, task: MediaPipeTask, num_labels: int) -> None:
    """Refuses what MediaPipe refuses, or loads and fails on at the first image."""
    from ai_edge_litert.interpreter import Interpreter

    check_identifier(content)
    try:
        interpreter = Interpreter(model_content=content)
    except (ValueError, RuntimeError) as error:
        raise unreadable('the file', error) from error
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise ValueError(f'the file has {len(inputs)} inputs, expected one image')
    dtype = np.dtype(inputs[0]['dtype'])
    if dtype not in (np.uint8, np.float32):
        raise ValueError(
            f'the input is {dtype}, MediaPipe takes uint8 and float32; export with --io=uint8'
        )
    image = tuple(int(side) for side in inputs[0]['shape'])
    if len(image) != 4 or image[0] != 1 or image[3] != 3:
        raise ValueError(
            f'the input is {list(image)}, MediaPipe feeds one RGB image [1, H, W, 3]; '
            'export a network of three channels with batch 1'
        )
    task.check_outputs(interpreter.get_output_details(), num_labels)


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
    task: MediaPipeTask,
    *,
    general: tuple[str, str],
    labels: Sequence[str],
) -> bytes:
    """The content with metadata as MediaPipe writes it; `general` is name and description."""
    writer = writers.MetadataWriter(bytearray(content))
    writer.add_general_info(*general)
    writer.add_image_input([PIXEL_MEAN], [PIXEL_STD])
    task.add_outputs(writers, writer, list(labels))
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
    content needs.
    """
    if importlib.util.find_spec('mediapipe.tasks.cc') is not None:
        return
    package = types.ModuleType('mediapipe.tasks.cc.metadata.python')
    package._pywrap_metadata_version = types.SimpleNamespace(  # type: ignore[attr-defined]
        GetMinimumMetadataParserVersion=lambda metadata: minimum_version(bytes(metadata))
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
