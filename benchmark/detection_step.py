"""Measures which share of a detector's training step its matching and its loss take.

    python -m benchmark.detection_step --output=runs/detection_step.json

The step of configs/detection.py on one batch that stays in memory, beside the same step of a task
that matches nothing and whose loss is a mean of the raw answers, so that gradients still go through
the whole network. Both take turns round by round. The share is to stay below 10 %.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from benchmark import host
from benchmark.main import check_output
from configs import detection
from train import cli
from train.files import write_json

if TYPE_CHECKING:
    import tensorflow as tf
    from ml_collections import ConfigDict

    from train.tasks.detection import Detection

FLAGS = flags.FLAGS
COCO_CLASSES, BOXES = 80, 7  # of COCO: an image has 7.3 boxes in the mean


@dataclasses.dataclass(frozen=True)
class Share:
    """What matching and loss take of a step, fractions; the median, lowest and highest round.

    Attributes:
      step_ms: the whole step.
    """

    step_ms: float
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f'matching and loss: {self.share:.1%} of a step of {self.step_ms:.0f} ms '
            f'(rounds {self.low:.1%} to {self.high:.1%})'
        )


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('model', 'small', 'Network.')
    flags.DEFINE_string('output', 'runs/detection_step.json', 'Where the figures go, as JSON.')
    for name, default, help_text in (
        ('resolution', 320, 'Side of the images in pixels.'),
        ('batch_size', 32, 'Images a step.'),
        ('boxes', BOXES, 'Boxes an image.'),
        ('classes', COCO_CLASSES, 'Classes.'),
        ('rounds', 10, 'Turns of each side.'),
        ('steps', 2, 'Timed steps in one turn.'),
    ):
        flags.DEFINE_integer(name, default, help_text, lower_bound=1)


def main() -> None:
    """Reads the flags, measures, prints the share and writes the JSON."""
    output = Path(FLAGS.output)
    check_output(output, [])  # before the minutes of measuring
    cli.import_tensorflow()
    config = detection.get_config()
    config.model.name = FLAGS.model
    config.model.resolution = (FLAGS.resolution, FLAGS.resolution)
    config.train.batch_size = FLAGS.batch_size
    measured = measure_share(
        config, FLAGS.classes, FLAGS.boxes, rounds=FLAGS.rounds, steps=FLAGS.steps
    )
    print(measured)
    write_json(output, {'host': host.HostDevice().facts(), **dataclasses.asdict(measured)})
    print(f'written to {output}')


def measure_share(
    config: 'ConfigDict', num_classes: int, num_boxes: int, *, rounds: int, steps: int
) -> Share:
    """Times the step of `config` with and without matching and loss, by turns."""
    import tensorflow as tf

    from train.run import Run, resolve_spec
    from train.tasks.detection import Detection

    class Neither(Detection):
        def loss(self, outputs, batch):  # type: ignore[no-untyped-def]
            return sum(tf.reduce_mean(raw, axis=[1, 2]) for raw in outputs.values())

        def _targets(self, batch):  # type: ignore[no-untyped-def]
            return {}

    run = Run(config, resolve_spec(config), tuple(str(i) for i in range(num_classes)))
    examples = _examples(config, num_classes, num_boxes)
    sides = [_step(kind(config, run.spec, run.labels), examples) for kind in (Detection, Neither)]
    for step in sides:
        step()  # traces, so that no turn does
    whole, without = host.time_by_turns(
        [functools.partial(_given, step) for step in sides],
        warmup_runs=0,
        rounds=rounds,
        runs_per_round=steps,
    )
    shares = 1 - np.median(without, axis=1) / np.median(whole, axis=1)
    low, share, high = (float(f(shares)) for f in (np.min, np.median, np.max))
    return Share(float(np.median(whole)), share, low, high)


def _step(task: 'Detection', examples: dict[str, 'tf.Tensor']) -> Callable[[], object]:
    """One step of training, with what the input pipeline does of matching."""
    import tensorflow as tf

    from train.trainer import Trainer

    trainer = Trainer(task, tf.distribute.get_strategy(), steps_per_epoch=1000, total_steps=10**6)
    batches = iter(tf.data.Dataset.from_tensors(examples).repeat().map(task.train_batch))
    return lambda: trainer.train(batches, 1)


def _given(step: Callable[[], object]) -> Callable[[], object]:
    return step


def _examples(config: 'ConfigDict', num_classes: int, num_boxes: int) -> dict[str, 'tf.Tensor']:
    """A batch as augmentation gives it: noise, with boxes of 5 to 30 % of a side."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    count, (height, width) = config.train.batch_size, config.model.resolution
    rows = (count, max(num_boxes, config.data.max_boxes))
    center, half = rng.uniform(0.2, 0.8, (*rows, 2)), rng.uniform(0.025, 0.15, (*rows, 2))
    return {
        'image': tf.constant(rng.integers(0, 256, (count, height, width, 3)), tf.uint8),
        'boxes': tf.constant(np.concatenate([center - half, center + half], -1), tf.float32),
        'box_labels': tf.constant(rng.integers(0, num_classes, rows), tf.int32),
        'valid': tf.constant(np.arange(rows[1]) < num_boxes)[tf.newaxis] & tf.ones(rows, tf.bool),
        'crowd': tf.zeros(rows, tf.bool),
    }


if __name__ == '__main__':
    cli.run(main, define_flags)
