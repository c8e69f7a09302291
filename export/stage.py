"""The export stage: a run's newest checkpoint to .tflite files with cards."""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from export import convert, verify
from export.card import make_card, write_card
from train.data.source import Source, open_source
from train.files import write_file
from train.run import Run, load_trained
from train.tasks.classification import Classification


def export_run(workdir: str, output: str, *, quantize: bool, data_dir: str = '') -> list[str]:
    """Exports the averaged weights of the newest checkpoint in `workdir`.

    Args:
      workdir: the folder of a run of train.main.
      output: folder for the files; made where it is missing.
      quantize: whether to write the int8 file beside the float one.
      data_dir: where TFDS keeps prepared datasets, where that differs from the run's.

    Returns:
      The files written, each with a card beside it.

    Raises:
      ValueError: `workdir` has no checkpoint, or the dataset is no longer the run's.
    """
    run, model, state = load_trained(workdir)
    task = run.make_task()
    source = open_run_source(run, data_dir)
    reference = verify.make_reference(model, task, source.val)
    contents = {'float32': convert.convert_float(model)}
    if quantize:
        contents['int8'] = convert.convert_int8(model, _calibration_images(source, task))
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as e:
        raise ValueError(f'cannot make --output={output}: {e}') from None
    paths = []
    for scheme, content in contents.items():
        path = os.path.join(output, f'{run.spec.name}_{scheme}.tflite')
        write_file(path, content)
        evaluation = verify.compare(path, task, reference)
        card = make_card(path, run, scheme=scheme, step=state['step'], evaluation=evaluation)
        write_card(path, card)
        paths.append(path)
    return paths


def open_run_source(run: Run, data_dir: str = '') -> Source:
    """Opens the dataset that a run was trained on.

    Raises:
      ValueError: it is gone, or has other classes now.
    """
    config = run.config.data.copy_and_resolve_references()
    if data_dir:
        config.data_dir = data_dir
    source = open_source(config)
    if source.labels != run.labels:
        raise ValueError(
            f'{source.name} has {len(source.labels)} classes, other than the {len(run.labels)} that '
            'the run was trained on; export beside the data of the run'
        )
    return source


def _calibration_images(source: Source, task: Classification) -> Iterator[np.ndarray]:
    """Images of the training set as evaluation sees them, in a fixed random order."""
    examples = source.train.shuffled(0, 0).take(convert.CALIBRATION_IMAGES)
    for batch in examples.map(task.eval_example).batch(1).map(task.eval_batch):
        yield tf.squeeze(batch['image'], 0).numpy()
