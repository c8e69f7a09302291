"""What each of MediaPipe's tasks asks of a file's outputs, and what its metadata says of them."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

# MediaPipe's labels are those of one tensor, with the file of their names.
LABELS_FILE = 'labels.txt'
Detail = dict[str, Any]  # of a tensor, as the interpreter has it


@dataclasses.dataclass(frozen=True)
class MediaPipeTask:
    """How one of MediaPipe's tasks reads a file.

    Attributes:
      name: of the task.
      check_outputs: given the details of all outputs and the number of labels; raises ValueError for
        what the task refuses, loads and fails on at the first image, or answers nonsense to.
      add_outputs: given MediaPipe's module `metadata_writer`, a writer of it and the labels.
    """

    name: str
    check_outputs: Callable[[list[Detail], int], None]
    add_outputs: Callable[[Any, Any, list[str]], None]


def image_classifier(activation: Literal['none', 'softmax']) -> MediaPipeTask:
    """One output of N values, [1, N] or [1, 1, 1, N].

    MediaPipe adds no softmax and shows scores as they are; the name of the output, its `head_name`,
    tells whether they are probabilities.
    """
    name, description = {
        'softmax': ('probability', 'Probability of each label.'),
        'none': ('logit', 'Logit of each label, before the softmax.'),
    }[activation]

    def add(module: Any, writer: Any, labels: list[str]) -> None:
        writer.add_classification_output(
            _packed(module, labels), name=name, description=description
        )

    return MediaPipeTask('ImageClassifier', _check_classifier, add)


def object_detector() -> MediaPipeTask:
    """The four outputs of TFLite_Detection_PostProcess: boxes, classes, scores and their count."""

    def add(module: Any, writer: Any, labels: list[str]) -> None:
        writer.add_detection_output(_packed(module, labels))

    return MediaPipeTask('ObjectDetector', _check_detector, add)


def image_segmenter(activation: Literal['none', 'softmax']) -> MediaPipeTask:
    """One output [1, H, W, N]; of logits MediaPipe takes the softmax itself, as it is told to."""

    def add(module: Any, writer: Any, labels: list[str]) -> None:
        from mediapipe.tasks.python.metadata.metadata_writers import image_segmenter as segmenter

        own = segmenter.Activation.NONE if activation == 'softmax' else segmenter.Activation.SOFTMAX
        writer.add_custom_metadata(segmenter.ImageSegmenterOptionsMd(own))
        writer.add_segmentation_output(labels=_packed(module, labels))

    return MediaPipeTask('ImageSegmenter', _check_segmenter, add)


def _packed(module: Any, labels: list[str]) -> Any:
    return module.Labels().add(labels, exported_filename=LABELS_FILE)


def _shapes(outputs: list[Detail]) -> list[tuple[int, ...]]:
    return [tuple(int(side) for side in detail['shape']) for detail in outputs]


def _check_classifier(outputs: list[Detail], num_labels: int) -> None:
    shapes = _shapes(outputs)
    if len(shapes) != 1:
        raise ValueError(
            f'the file has {len(shapes)} outputs, expected one score a class; give a classification '
            'file'
        )
    _check_type(outputs[0])
    if shapes[0] not in ((1, shapes[0][-1]), (1, 1, 1, shapes[0][-1])):
        raise ValueError(
            f'the output is {list(shapes[0])}, expected [1, classes]; give a classification file'
        )
    _check_count(shapes[0][-1], num_labels)


def _check_detector(outputs: list[Detail], num_labels: int) -> None:
    shapes = _shapes(outputs)
    # How many classes there are, the shapes do not say.
    boxes = shapes[0][1] if len(shapes[0]) == 3 else 0
    if shapes != [(1, boxes, 4), (1, boxes), (1, boxes), (1,)]:
        raise ValueError(
            f'the outputs are {[list(shape) for shape in shapes]}, expected boxes [1, D, 4], classes '
            '[1, D], scores [1, D] and their count [1]; export with --outputs=detections'
        )


def _check_segmenter(outputs: list[Detail], num_labels: int) -> None:
    shapes = _shapes(outputs)
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            f'the outputs are {[list(shape) for shape in shapes]}, expected scores [1, height, width, '
            'classes]; of a map of labels MediaPipe makes nonsense: export with --outputs=logits'
        )
    _check_type(outputs[0])
    _check_count(shapes[0][-1], num_labels)


def _check_type(detail: Detail) -> None:
    dtype = np.dtype(detail['dtype'])
    if dtype not in (np.uint8, np.float32):
        raise ValueError(
            f'the output is {dtype}, MediaPipe takes uint8 and float32; export with --io=uint8'
        )


def _check_count(values: int, num_labels: int) -> None:
    if values != num_labels:
        raise ValueError(
            f'{num_labels} labels for the {values} values of the output; give one label a value'
        )
