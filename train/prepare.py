"""From a config to a run that can start: what only its data and other files can tell."""

import dataclasses

from ml_collections import ConfigDict

from train.data.balance import class_weights
from train.data.box_splits import make_room
from train.data.source import Source, open_source
from train.distill import TaughtTask, Teacher, read_teacher
from train.initial import Initial, start
from train.run import Run, resolve_spec
from train.task import Task


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run before its first step, or before it continues.

    Attributes:
      run: its config holds what was found.
      source: its data.
      initial: weights to start from.
      teacher: that it learns from.
    """

    run: Run
    source: Source
    initial: Initial | None
    teacher: Teacher | None

    def make_task(self, run: Run) -> Task:
        """The run's task, with its teacher."""
        task = run.make_task()
        return TaughtTask(task, self.teacher) if self.teacher else task


def prepare(config: ConfigDict, state: dict | None) -> Prepared:
    """Opens the data, and reads the weights and the teacher that a config names.

    Args:
      config: as `configs/base.py` declares it; it stays as it is.
      state: of the checkpoint that the run continues from; None for a fresh one.

    Raises:
      ValueError: the config is not valid, or something that it names is missing or does not fit.
    """
    config, spec, initial = start(config, resolve_spec(config), state)
    config = config.copy_and_resolve_references()
    source = open_source(config.data, config.task)
    make_room(config.data, source.train, source.val, source.test)
    balanced = config.task != 'detection' and config.train.balanced  # which refuses it itself
    if balanced and not config.train.class_weights:
        config.train.class_weights = class_weights(source.train, len(source.labels))
    teacher = None
    if bool(config.distill.weight) != bool(config.distill.teacher):
        raise ValueError(
            f'config.distill has weight {config.distill.weight} and teacher '
            f'{config.distill.teacher!r}; expected both, or neither'
        )
    if config.distill.weight:
        teacher = read_teacher(config, source.labels)
        config.distill.source = teacher.checksum
    return Prepared(Run(config, spec, source.labels), source, initial, teacher)
