"""One file of the paper's grid and its card: built, or found to be there already."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.paper.card_key import GIVEN, head_values
from benchmark.paper.grid import AnyEntry, Entry
from benchmark.untrained import (
    CALIBRATION_IMAGES,
    images_for,
    our_float,
    our_int8,
    settle_statistics,
)
from export.card import make_card, make_untrained_card
from mobilenet_v3.heads import DetectionHead
from mobilenet_v3.spec_file import to_dict
from train.card_file import read_card, write_card
from train.files import write_file
from train.tflite_file import read_identity

if TYPE_CHECKING:
    import numpy as np
    import tf_keras

    from train.run import Run

RANDOM = 'random, normalised'
SEED = 0  # of random weights


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run of train.main whose weights entries of its network take.

    Attributes:
      workdir: its folder.
      step: of its newest checkpoint.
      checkpoint: SHA-256 of that, so that files of an older one are built again.
      examples, metrics: of its evaluation with averaged weights; None where it has not ended.
    """

    workdir: str
    step: int
    checkpoint: str
    examples: int | None = None
    metrics: dict[str, float] | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """A file to build: its entry, the grid's folder, and whose weights it takes, or random ones."""

    entry: AnyEntry
    folder: str
    run: TrainedRun | None = None

    @property
    def path(self) -> Path:
        """The .tflite file; its card lies beside it."""
        return Path(self.folder, self.entry.folder, f'{self.entry.key}.tflite')

    def wanted(self) -> dict[str, Any]:
        """What its card says if it is there already."""
        entry = self.entry
        values = {
            'spec': to_dict(entry.spec),
            'resolution': entry.resolution,
            'scheme': entry.scheme,
            'hard_swish': entry.hard_swish,
            'weights': 'run' if self.run else RANDOM,
            'run': dataclasses.asdict(self.run) if self.run else None,
        }
        if entry.head:
            values |= {'task': entry.task, 'head': head_values(entry), 'gives': GIVEN[entry.task]}
            values |= {} if self.run else {'classes': entry.num_classes}
        return json.loads(json.dumps(values))  # tuples become lists, as in a card


def is_there(job: Job) -> bool:
    """Whether the file and its card are whole and what is wanted."""
    try:
        card = read_card(job.path)
        sha256, _ = read_identity(job.path)
    except ValueError:  # damaged, or missing
        return False
    wanted = {'sha256': sha256, **job.wanted()}
    return card is not None and all(card.get(name) == value for name, value in wanted.items())


def build(job: Job) -> None:
    """Builds a file and its card; the same bytes every time.

    Raises:
      ValueError: XNNPACK would not run it in one piece, or the run that it is of cannot be read.
    """
    from train import cli

    cli.import_tensorflow()
    job.path.parent.mkdir(parents=True, exist_ok=True)
    run, model = _load(job.run) if job.run else (None, untrained_model(job.entry))
    write_file(job.path, _convert(job.entry, model, run))
    card = _describe(job, run)
    try:
        check_in_one_piece(job.entry.key, card)
    except ValueError:
        job.path.unlink()  # or it would be measured
        raise
    write_card(job.path, card)


def untrained_model(entry: AnyEntry) -> 'tf_keras.Model':
    """The network of an entry with random weights and activations as a trained one's."""
    import tf_keras

    tf_keras.utils.set_random_seed(SEED)
    model = _network(entry)
    settle_statistics(model)
    return model


def _network(entry: AnyEntry) -> 'tf_keras.Model':
    from mobilenet_v3.models import build_detector, build_model, build_segmenter

    if isinstance(entry, Entry):
        return build_model(entry.spec, resolution=entry.resolution)
    size, classes = entry.resolution, entry.num_classes
    if isinstance(entry.head, DetectionHead):
        return build_detector(entry.spec, resolution=size, num_classes=classes, head=entry.head)
    return build_segmenter(entry.spec, resolution=size, num_classes=classes, head=entry.head)


def check_in_one_piece(name: str, card: dict[str, Any]) -> None:
    """Sees that a file is one XNNPACK partition with none but QUANTIZE outside.

    Raises:
      ValueError: it is not; its latency would be that of a network cut to pieces.
    """
    if card['partitions'] != 1 or card['outside'].keys() - {'QUANTIZE'}:
        outside = ', '.join(f'{count} {op}' for op, count in card['outside'].items()) or 'nothing'
        raise ValueError(
            f'{name} has {card["partitions"]} XNNPACK partitions and {outside} outside; expected 1 '
            'and QUANTIZE: activations that fade leave the scales that XNNPACK takes; see '
            'benchmark/untrained.py'
        )


def _load(run: TrainedRun) -> 'tuple[Run, tf_keras.Model]':
    from train.run import load_trained

    loaded, model, state = load_trained(run.workdir)
    if state['step'] != run.step:
        raise ValueError(
            f'{run.workdir} went on from step {run.step} to {state["step"]} meanwhile; wait for its end'
        )
    return loaded, model


def _convert(entry: AnyEntry, model: 'tf_keras.Model', run: 'Run | None') -> bytes:
    if entry.scheme == 'float32':
        return our_float(model, hard_swish=entry.hard_swish)
    images = _training_images(run) if run else None
    return our_int8(model, hard_swish=entry.hard_swish, images=images)


def _training_images(run: 'Run') -> 'np.ndarray':
    """Images of a run's training set as evaluation sees them, for the ranges of its network."""
    from train.data.source import open_source

    task, source = run.make_task(), open_source(run.config.data, run.config.task)
    count = images_for(CALIBRATION_IMAGES, task.resolution)
    # Without masks, which may be of several sizes.
    images = (
        source.train.shuffled(0, 0)
        .take(count)
        .map(lambda raw: {'image': task.eval_example(raw)['image']})
    )
    (batch,) = images.batch(count).map(task.eval_batch).as_numpy_iterator()
    return batch['image']


def _describe(job: Job, run: 'Run | None') -> dict[str, Any]:
    """Its card: of the file alone, or with the run, whose accuracy is the float network's."""
    entry, source = job.entry, job.run
    kind: dict[str, Any] = {
        'scheme': entry.scheme,
        'hard_swish': entry.hard_swish,
        'method': 'ptq' if entry.scheme == 'int8' else None,
    }
    if run is None or source is None:
        card = make_untrained_card(job.path, entry.spec, **kind)
    else:
        evaluation: dict[str, Any] | None = None
        if source.metrics:
            evaluation = {'examples': source.examples, 'float': source.metrics}
        card = make_card(
            job.path, run, step=source.step, evaluation=evaluation, labels=run.labels, **kind
        )
    dataset = run.config.data.dataset if run else None
    return {**card, 'dataset': dataset, **job.wanted()}
