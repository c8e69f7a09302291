"""Evaluates a run or a .tflite file on a dataset, every example once, and writes a report.

python -m train.evaluate --model=runs/photos --output=evaluated
python -m train.evaluate --model=FILE.tflite --dataset=folder:PHOTOS --split=train --output=DIR
python -m train.evaluate --model=runs/cells --dataset=voc:KEPT_ASIDE --split=test --output=DIR
"""

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from train import cli

if TYPE_CHECKING:
    from train.data.source import Split
    from train.evaluator import Statistics
    from train.predictor import Predictor

FLAGS = flags.FLAGS
BATCH_SIZE = 50  # images


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('model', None, 'A .tflite file or the folder of a run.', required=True)
    flags.DEFINE_string('output', None, 'Folder for the report.', required=True)
    flags.DEFINE_string('dataset', None, 'As of train.main; the one of its training by default.')
    flags.DEFINE_string('data_dir', None, 'Where TFDS keeps prepared datasets.')
    flags.DEFINE_enum('split', 'val', ['val', 'train', 'test'], 'Of the dataset.')
    flags.DEFINE_string('labels', None, 'File with the name of each class, a line each.')


def main() -> None:
    """Flags to one call."""
    cli.import_tensorflow()
    from train.answers import ANSWERS
    from train.answers.evaluation import Evaluation
    from train.classes import open_matching, read_labels
    from train.data.box_splits import make_room
    from train.predictor import open_predictor

    predictor = open_predictor(FLAGS.model, read_labels(FLAGS.labels) if FLAGS.labels else None)
    for note in predictor.notes:
        print(f'note: {note}', file=sys.stderr)
    config = predictor.config.data.copy_and_resolve_references()
    if FLAGS.dataset is not None:
        config.dataset = FLAGS.dataset
    if FLAGS.data_dir is not None:
        config.data_dir = FLAGS.data_dir
    if not config.dataset:
        raise ValueError(f'{FLAGS.model} does not tell its dataset; give it by --dataset')
    source = open_matching(
        config, predictor.task.labels, FLAGS.model, FLAGS.split, predictor.config.task
    )
    make_room(predictor.config.data, source.split)
    output = Path(FLAGS.output)
    os.makedirs(output, exist_ok=True)
    statistics = measure(predictor, source.split)
    evaluation = Evaluation(
        model=FLAGS.model,
        dataset=source.name,
        split_name=FLAGS.split,
        split=source.split,
        labels=source.labels,
        statistics=statistics,
        metrics=predictor.task.metrics(statistics),
        notes=predictor.notes,
    )
    print(ANSWERS[predictor.config.task].write_report(output, evaluation))
    print(f'report: {output / "report.md"}')


def measure(predictor: 'Predictor', split: 'Split') -> 'Statistics':
    """What the task keeps of each example and a report needs, one row an example."""
    import tensorflow as tf
    from tqdm import tqdm

    from train.answers import ANSWERS
    from train.data import pipeline
    from train.evaluator import collect

    task, details = predictor.task, ANSWERS[predictor.config.task].details
    size = min(pipeline.images_at_once(BATCH_SIZE, task.resolution), split.num_examples)
    kept = []
    total = -(-split.num_examples // size)
    for batch in tqdm(
        pipeline.eval_batches(split, task, batch_size=size), total=total, disable=None
    ):
        outputs = predictor.outputs(batch['image'].numpy())
        answers = functools.partial(predictor.answers, outputs)
        kept.append(
            {
                **task.statistics(tf.nest.map_structure(tf.constant, outputs), batch),
                **details(answers, batch),
                'weight': batch['weight'],
            }
        )
    return collect(kept)


if __name__ == '__main__':
    cli.run(main, define_flags)
