"""When what happens in a run."""

from ml_collections import ConfigDict

LONGEST = 2**53  # steps: who asks for more means never


def steps_of(epochs: float, steps_per_epoch: float) -> int:
    """The whole number of steps of some epochs."""
    return round(min(epochs * steps_per_epoch, LONGEST))


class Clock:
    """When what happens, in steps.

    Args:
      config: of the run.
      num_examples: of the training set.
    """

    def __init__(self, config: ConfigDict, num_examples: int) -> None:
        self.steps_per_epoch = num_examples / config.train.batch_size
        self.total_steps = max(1, steps_of(config.train.epochs, self.steps_per_epoch))
        self.log_every = config.log_every_steps
        self.eval_every = max(1, steps_of(config.eval.every_epochs, self.steps_per_epoch))
        self.save_every = max(1, steps_of(config.checkpoint.every_epochs, self.steps_per_epoch))
        self._at_once = config.train.steps_per_execution

    def steps_at_once(self, step: int, until_phase: int | None = None) -> int:
        """How many steps the device may take before something else is due."""
        intervals = (self.log_every, self.eval_every, self.save_every)
        until_event = min(interval - step % interval for interval in intervals)
        until_end = self.total_steps - step
        return min(self._at_once, until_event, until_end, until_phase or until_end)

    def is_due(self, interval: int, step: int) -> bool:
        """Whether something of that interval happens at a step; at the last one everything does."""
        return step % interval == 0 or step == self.total_steps
