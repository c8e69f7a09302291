"""What a run does about a loss, or a weight, that is no longer finite."""

import math

from ml_collections import ConfigDict

KINDS = ('stop', 'rollback')


class Divergence:
    """Counts what is not finite, and how often a run went back.

    Where a run goes back to is the last checkpoint that its schedule asks for, not one that a signal
    did, and it sees the same data again: an interrupted run goes back as an undisturbed one does,
    even where it was killed before the rollback was saved.

    Args:
      config: of the run.
      saved: what `to_state` gave when the run was last saved.

    Attributes:
      on_nan: what is done, of KINDS.
      rate_factor: of the learning rate, of all rollbacks so far.
      rollbacks: how many there were.

    Raises:
      ValueError: a value of the config is out of range.
    """

    def __init__(self, config: ConfigDict, saved: dict | None = None) -> None:
        if config.on_nan not in KINDS:
            raise ValueError(f'config.on_nan is {config.on_nan!r}; expected {" or ".join(KINDS)}')
        self._config, self.on_nan = config.divergence, config.on_nan
        if self._config.patience_steps < 1 or self._config.max_rollbacks < 0:
            raise ValueError(
                f'config.divergence is {self._config.to_dict()}; expected patience_steps of 1 or '
                'more and max_rollbacks of 0 or more'
            )
        if not 0 < self._config.rate_factor < 1:
            raise ValueError(
                f'config.divergence.rate_factor is {self._config.rate_factor}; expected in (0, 1)'
            )
        saved = saved or {}
        self.rate_factor: float = saved.get('rate_factor', 1.0)
        self.rollbacks: int = saved.get('rollbacks', 0)
        self._bad_steps = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the last loss was not finite; what is there now is not to be saved."""
        return self._bad_steps > 0

    def note(self, loss: float, count: int) -> bool:
        """Whether patience is over, after `count` steps of that mean loss."""
        self._bad_steps = 0 if math.isfinite(loss) else self._bad_steps + count
        return self._bad_steps >= self._config.patience_steps

    def go_back(self, problem: str, saved_step: int | None, workdir: str) -> None:
        """Notes a rollback.

        Args:
          problem: what is not finite, when and at which learning rate.
          saved_step: where to go back to; None where there is nothing.
          workdir: of the run.

        Raises:
          ValueError: the run is to stop.
        """
        kept = 'none was saved yet' if saved_step is None else f'the last is step {saved_step}'
        message = f'{problem}; of its checkpoints in {workdir} {kept}. '
        lower = 'ower --config.schedule.learning_rate or lengthen --config.schedule.warmup_epochs'
        if self.on_nan == 'stop' or saved_step is None:
            raise ValueError(
                f'{message}L{lower}, or go on from there with --config.on_nan=rollback'
            )
        if self.rollbacks >= self._config.max_rollbacks:
            raise ValueError(
                f'{message}It went back {self.rollbacks} times, as often as '
                f'config.divergence.max_rollbacks allows: l{lower}'
            )
        self.rollbacks += 1
        self.rate_factor *= self._config.rate_factor
        self._bad_steps = 0

    def to_state(self) -> dict:
        """Plain JSON values."""
        return {'rate_factor': self.rate_factor, 'rollbacks': self.rollbacks}
