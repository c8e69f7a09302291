"""What the export stage starts from: a run of train.main, or weights from elsewhere."""

import dataclasses

import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.models import build_model
from train.classes import first_difference
from train.data.source import Source, open_source
from train.initial import read_initial
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
    source = open_source(run.config.data, run.config.task)
    if source.labels != run.labels:
        raise ValueError(
            f'{source.name} has {len(source.labels)} classes, other than the {len(run.labels)} that '
            f'the run was trained on ({first_difference(run.labels, source.labels)}); export beside '
            'the data of the run'
        )
    return Trained(run, source, model, state['step'])


def from_weights(config: ConfigDict, num_classes: int | None) -> Trained:
    """A network of `config` with the weights of `config.init.source`, its head included.

    Args:
      config: names the network, the dataset and the source.
      num_classes: of the network; one more than the dataset's means a background class before them.
        The dataset's where it is not given.

    Raises:
      ValueError: the source does not fit the network, or the network not the dataset.
    """
    config = config.copy_and_resolve_references()
    config.init.head = 'keep'  # what is not trained cannot be exported
    initial = read_initial(config, resolve_spec(config))
    config = initial.config
    source = open_source(config.data, config.task)
    classes = len(source.labels)
    if num_classes == classes + 1:
        config.data.background = True
        source = open_source(config.data, config.task)
    elif num_classes not in (None, classes):
        raise ValueError(
            f'--num_classes={num_classes}, but {source.name} has {classes} classes; expected '
            f'{classes}, or {classes + 1} with a background class first'
        )
    run = Run(config, initial.spec, source.labels)
    model = build_model(
        initial.spec,
        resolution=run.make_task().resolution,
        num_classes=len(source.labels),
        input_channels=config.model.input_channels,
    )
    print(initial.describe(initial.carry(model)), flush=True)
    return Trained(run, source, model, step=0)
