"""Whatever answers: a run of train.main or a .tflite file, behind one interface."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from configs import base
from train.answers import ANSWERS
from train.card_file import card_path, read_card
from train.classes import check_labels
from train.data.labels import numbered
from train.file_forms import FORMS, log_probabilities
from train.run import Run, load_trained, resolve_spec
from train.task import Task
from train.tasks import TASKS
from train.tflite_file import TFLiteModel, ends_with_softmax, read_identity


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained network with what it takes to ask it.

    Attributes:
      name: the path that it was opened by.
      config: of its run; `data.dataset` is '' where nobody knows it.
      task: makes its images: those of evaluation are what it expects.
      network: maps images [N, H, W, C] in [-1, 1] to outputs of the task, an array or a dict of them.
      probabilities: whether it gives probabilities [N, k] or [N, h, w, k] and not logits.
      notes: what was assumed, for want of a card.
    """

    name: str
    config: ConfigDict
    task: Task
    network: Callable[[np.ndarray], Any]
    probabilities: bool = False
    notes: tuple[str, ...] = ()

    def outputs(self, images: np.ndarray) -> Any:
        """What the task evaluates; of probabilities logits, which no metric tells apart.

        Raises:
          ValueError: the network gives something that is no number.
        """
        given = self.network(images)
        if not all(np.isfinite(leaf).all() for leaf in tf.nest.flatten(given)):
            raise ValueError(f'{self.name} answers with NaN or infinity; train or export it again')
        return log_probabilities(given) if self.probabilities else given

    def answers(self, outputs: Any) -> Any:
        """What people are shown of `outputs`: probabilities [N, k], detections, or classes of pixels.

        Probabilities of a classifier's file are as the file gives them.
        """
        if self.probabilities and self.config.task == 'classification':
            return np.exp(outputs)
        return ANSWERS[self.config.task].answers(self.task, outputs)


def open_predictor(model: str, labels: tuple[str, ...] | None = None) -> Predictor:
    """Opens a run or a .tflite file.

    Args:
      model: the --workdir of a run of train.main, whose averaged weights answer (the best ones with
        early stopping), or a .tflite file with its card beside it.
      labels: names of its classes in the place of its own.

    Raises:
      ValueError: there is no such model, it is damaged or no classifier, its card is of another
        file, or `labels` do not fit it (`check_labels`).
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
    check_labels(labels, len(run.labels), workdir, run.config.task)
    run = dataclasses.replace(run, labels=labels or run.labels)
    shape = (None, *model.input_shape[1:])
    call = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec(shape, tf.float32)],
    )

    def network(images: np.ndarray) -> Any:
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), call(images))

    return Predictor(workdir, run.config, run.make_task(), network)


def _from_file(path: str, labels: tuple[str, ...] | None) -> Predictor:
    model = TFLiteModel(path)
    card = read_card(path)
    described = card is not None and 'config' in card
    run = _described(path, card) if card and described else None
    # Without its card a file is taken for a classifier: boxes mean nothing without their anchors.
    task = run.config.task if run else 'classification'
    output = card.get('output') if card else None
    activation = output.get('activation') if isinstance(output, dict) else None
    form = FORMS[task](path, model, activation == 'sigmoid')
    run = run or _undescribed(model)
    classes = len(run.labels) if form.classes is None else form.classes
    if len(run.labels) != classes:
        raise ValueError(
            f'card {card_path(path)} names {len(run.labels)} classes, {path} has {classes} '
            'outputs; export again'
        )
    check_labels(labels, classes, path, task)
    run = dataclasses.replace(run, labels=labels or run.labels)
    notes = [] if described else _assumptions(path, run.config, labels is not None)
    probabilities = activation == 'softmax'
    if activation is None and task == 'classification':
        probabilities = ends_with_softmax(path)
        notes.append(f'{path} gives {"probabilities" if probabilities else "logits"}')

    def network(images: np.ndarray) -> Any:
        return form.outputs(model(images))

    return Predictor(path, run.config, run.make_task(), network, probabilities, tuple(notes))


def _described(path: str, card: dict) -> Run:
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
