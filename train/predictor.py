"""Whatever answers: a run of train.main or a .tflite file, behind one interface."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from configs import base
from train.card_file import card_path, read_card
from train.classes import numbered
from train.run import Run, load_trained, resolve_spec
from train.tasks import TASKS
from train.tasks.classification import Classification
from train.tflite_file import TFLiteModel, ends_with_softmax, read_identity

_LEAST_PROBABILITY = 1e-9  # of which a logarithm is taken


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained network with what it takes to ask it.

    Attributes:
      name: the path that it was opened by.
      config: of its run; `data.dataset` is '' where nobody knows it.
      task: makes its images: those of evaluation are what it expects.
      outputs: maps images [N, H, W, C] in [-1, 1] to what the network gives, [N, k].
      probabilities: whether that is probabilities and not logits.
      notes: what was assumed, for want of a card.
    """

    name: str
    config: ConfigDict
    task: Classification
    outputs: Callable[[np.ndarray], np.ndarray]
    probabilities: bool
    notes: tuple[str, ...] = ()

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits [N, k] of images; of probabilities their logarithms, which no metric tells apart.

        Raises:
          ValueError: the network gives something that is no number.
        """
        outputs = self.outputs(images)
        if not np.isfinite(outputs).all():
            raise ValueError(f'{self.name} answers with NaN or infinity; train or export it again')
        if self.probabilities:
            return np.log(np.maximum(outputs, np.float32(_LEAST_PROBABILITY)))
        return outputs

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """What `logits` gave as probabilities, [N, k]; those of a file are as the file gives them."""
        return np.exp(logits) if self.probabilities else tf.nn.softmax(logits).numpy()


def open_predictor(model: str, labels: tuple[str, ...] | None = None) -> Predictor:
    """Opens a run or a .tflite file.

    Args:
      model: the --workdir of a run of train.main, whose averaged weights answer (the best ones with
        early stopping), or a .tflite file with its card beside it.
      labels: names of its classes in the place of its own.

    Raises:
      ValueError: there is no such model, it is damaged or no classifier, its card is of another
        file, or there are more or fewer labels than classes.
    """
    if os.path.isdir(model):
        return _from_run(model, labels)
    if not os.path.exists(model):
        raise ValueError(
            f'there is no {model}; expected a .tflite file or the --workdir of a run of train.main'
        )
    return _from_file(model, labels)


def _from_run(workdir: str, labels: tuple[str, ...] | None) -> Predictor:
    run, model, _ = load_trained(workdir)
    if run.config.quantize.source:
        raise ValueError(
            f'{workdir} is the quantization-aware training of an export; give the .tflite file that '
            'it became, or the run that it started from'
        )
    _check_labels(workdir, labels, len(run.labels))
    run = dataclasses.replace(run, labels=labels or run.labels)
    shape = (None, *model.input_shape[1:])
    call = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec(shape, tf.float32)],
    )
    return Predictor(
        workdir,
        run.config,
        run.make_task(),
        lambda images: call(images).numpy(),
        probabilities=False,
    )


def _from_file(path: str, labels: tuple[str, ...] | None) -> Predictor:
    model = TFLiteModel(path)
    classes = _classes(path, model)
    _check_labels(path, labels, classes)
    card = read_card(path)
    described = card is not None and 'config' in card
    run = _described(path, card, classes) if card and described else _undescribed(model)
    run = dataclasses.replace(run, labels=labels or run.labels)
    notes = [] if described else _assumptions(path, run.config, labels is not None)
    output = card.get('output') if card else None
    if isinstance(output, dict) and 'activation' in output:
        probabilities = output['activation'] == 'softmax'
    else:
        probabilities = ends_with_softmax(path)
        notes.append(f'{path} gives {"probabilities" if probabilities else "logits"}')
    return Predictor(path, run.config, run.make_task(), model, probabilities, tuple(notes))


def _classes(path: str, model: TFLiteModel) -> int:
    """How many classes a classifier has; ValueError for a file that is none."""
    inputs, outputs = model.input_shapes, model.output_shapes
    if (
        (len(inputs), len(outputs), len(inputs[0]), len(outputs[0])) != (1, 1, 4, 2)
        or inputs[0][0] != 1
        or inputs[0][3] not in (1, 3)
        or outputs[0][1] < 2
    ):
        raise ValueError(
            f'{path} is no classifier of images: its inputs are {inputs}, its outputs {outputs}; '
            'expected one [1, height, width, 3 or 1] and one [1, classes]'
        )
    return outputs[0][1]


def _described(path: str, card: dict, classes: int) -> Run:
    """The run that a card tells of."""
    found, _ = read_identity(path)
    if card.get('sha256') != found:
        raise ValueError(
            f'card {card_path(path)} is of another file than {path}, its sha256 is not the same; '
            'export again, or remove the card and give --labels'
        )
    try:
        run = Run.from_state(card)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise ValueError(
            f'card {card_path(path)} is not as the export writes it ({type(e).__name__}: {e}); '
            'export again, or remove the card and give --labels'
        ) from None
    if run.config.task not in TASKS:
        raise ValueError(f'{path} is of the task {run.config.task!r}; expected {", ".join(TASKS)}')
    if len(run.labels) != classes:
        raise ValueError(
            f'card {card_path(path)} names {len(run.labels)} classes, {path} has {classes} '
            'outputs; export again'
        )
    return run


def _undescribed(model: TFLiteModel) -> Run:
    """What is assumed of a file that has no card, or one that tells of its speed alone."""
    config = base.get_config()
    config.data.dataset = ''
    _, *resolution, config.model.input_channels = model.input_shapes[0]
    config.model.resolution = tuple(resolution)
    # The task asks for a network, which is never built: it is in the file.
    return Run(config, resolve_spec(config), numbered(model.output_shapes[0][1]))


def _assumptions(path: str, config: ConfigDict, labelled: bool) -> list[str]:
    crop = config.augment.eval_crop
    said = [f'{path} has no card with its preprocessing: a central crop of {crop:g} is assumed']
    if not labelled:
        said.append(
            'its classes have no names, so numbers stand for them; --labels=FILE names them'
        )
    return said


def _check_labels(name: str, labels: tuple[str, ...] | None, classes: int) -> None:
    if labels is not None and len(labels) != classes:
        raise ValueError(f'--labels names {len(labels)} classes, {name} has {classes}')
