"""What the export stage starts from: a run of train.main, or released weights."""

import dataclasses

import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.models import build_model
from train import released
from train.data.source import Source, open_source
from train.run import Run, load_trained, resolve_spec


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with what it was trained as.

    Attributes:
      run: its config, spec and labels.
      source: its data.
      model: with the weights to export.
      step: training steps that they have behind them; 0 where they were given.
    """

    run: Run
    source: Source
    model: tf_keras.Model
    step: int


def from_run(workdir: str, data_dir: str = '') -> Trained:
    """The averaged weights of the newest checkpoint of a run.

    Args:
      workdir: the folder of a run of train.main.
      data_dir: where TFDS keeps prepared datasets, where that differs from the run's.

    Raises:
      ValueError: there is no checkpoint, or the dataset is gone or has other classes now.
    """
    run, model, state = load_trained(workdir)
    if data_dir:
        run.config.data.data_dir = data_dir
    source = open_source(run.config.data)
    if source.labels != run.labels:
        raise ValueError(
            f'{source.name} has {len(source.labels)} classes, other than the {len(run.labels)} that '
            f'the run was trained on ({_first_difference(source.labels, run.labels)}); export beside '
            'the data of the run'
        )
    return Trained(run, source, model, state['step'])


def from_weights(config: ConfigDict, path: str, num_classes: int | None) -> Trained:
    """A network of `config` with released weights (see `train/released.py`).

    Args:
      config: names the network and the dataset.
      path: an .npz file.
      num_classes: of the network; one more than the dataset's means a background class before them.
        The dataset's where it is not given.

    Raises:
      ValueError: the file does not fit the network, or the network not the dataset.
    """
    config = config.copy_and_resolve_references()
    weights = released.read_released(path)
    spec = released.fit_spec(resolve_spec(config), weights)
    source = open_source(config.data)
    classes = len(source.labels)
    if num_classes == classes + 1:
        config.data.background = True
        source = open_source(config.data)
    elif num_classes not in (None, classes):
        raise ValueError(
            f'--num_classes={num_classes}, but {source.name} has {classes} classes; expected '
            f'{classes}, or {classes + 1} with a background class first'
        )
    run = Run(config, spec, source.labels)
    model = build_model(
        spec,
        resolution=run.make_task().resolution,
        num_classes=len(source.labels),
        input_channels=config.model.input_channels,
    )
    released.carry_released(weights, model)
    return Trained(run, source, model, step=0)


def _first_difference(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    for number, (here, there) in enumerate(zip(ours, theirs, strict=False)):
        if here != there:
            return f'class {number} is {here!r} here, {there!r} there'
    return f'class {min(len(ours), len(theirs))} is on one side only'
