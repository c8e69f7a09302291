"""Early stopping: the best evaluation of the averaged weights is kept, and waiting for more ends."""

import os

import tensorflow as tf
import tf_keras

from train import checkpoint


class Best:
    """The best evaluation so far.

    Args:
      workdir: of the run; the best weights go to best/ in it.
      patience: evaluations without a better one after which the run ends; 0: it runs to its end and
        its last weights count.
      saved: what `to_state` gave when the run was last saved.

    Attributes:
      metrics, step: of the best evaluation; None without early stopping or before the first one.
      is_lost: there was one, whose weights somebody has removed: the last ones count, and waiting
        begins anew.

    Raises:
      ValueError: the patience is below 0, or the best weights are damaged.
    """

    def __init__(self, workdir: str, patience: int, saved: dict | None = None) -> None:
        if patience < 0:
            raise ValueError(f'config.eval.patience is {patience}; expected 0 or more')
        self._workdir, self._patience = workdir, patience
        saved = saved or {}
        self.is_lost = saved.get('step') is not None and latest(workdir, saved) is None
        if self.is_lost:
            print(
                f'warning: the weights of step {saved["step"]}, the best, are gone; the last count'
            )
            saved = {}
        self._value: float | None = saved.get('value')
        self._waited: int = saved.get('waited', 0)
        self.metrics: dict | None = saved.get('metrics')
        self.step: int | None = saved.get('step')

    @property
    def is_over(self) -> bool:
        """Whether enough evaluations have passed without a better one."""
        return bool(self._patience) and self._waited >= self._patience

    def to_state(self) -> dict:
        """Plain JSON values."""
        return {
            'value': self._value,
            'waited': self._waited,
            'metrics': self.metrics,
            'step': self.step,
        }

    def update(
        self,
        value: float,
        metrics: dict,
        averaged: tf_keras.Model,
        state: dict,
        *,
        write: bool,
    ) -> None:
        """Notes an evaluation, and saves the weights where it is the best.

        Args:
          value: what is to grow, of the averaged weights.
          metrics: all figures of the evaluation.
          averaged: the weights.
          state: of the run, with 'step'.
          write: as in `checkpoint.save`.
        """
        if not self._patience:
            return
        if self._value is not None and value <= self._value:
            self._waited += 1
            return
        self._value, self._waited = value, 0
        self.metrics, self.step = metrics, state['step']
        checkpoint.save(
            folder(self._workdir),
            tf.train.Checkpoint(averaged=averaged),
            state,
            keep=1,
            write=write,
        )

    def wait_anew(self) -> None:
        """Counts evaluations from now on: the run has gone back to before the last ones."""
        self._waited = 0

    def restore(self, averaged: tf_keras.Model) -> None:
        """Puts the best weights into `averaged`, where there is early stopping."""
        restore(self._workdir, self.to_state(), averaged)


def folder(workdir: str) -> str:
    """Where a run with early stopping keeps its best weights."""
    return os.path.join(workdir, 'best')


def restore(workdir: str, noted: dict | None, averaged: tf_keras.Model) -> None:
    """Puts the best weights of a run into `averaged`, where it kept any; see `latest`."""
    saved = latest(workdir, noted)
    if saved is not None:
        checkpoint.read(saved, tf.train.Checkpoint(averaged=averaged)).assert_consumed()


def latest(workdir: str, noted: dict | None) -> checkpoint.Saved | None:
    """The best weights of a run; None where there are none.

    Args:
      workdir: of the run.
      noted: what `Best.to_state` gave when the run was last saved. Without a step there, what is in
        the folder is an earlier run's, which began in the same workdir.

    Raises:
      ValueError: they are damaged.
    """
    if not noted or noted.get('step') is None:
        return None
    try:
        return checkpoint.latest(folder(workdir))
    except ValueError:
        raise ValueError(
            f'the best weights of {workdir} are damaged; remove {folder(workdir)} and give the '
            'command that trained them again: it goes on with the last ones'
        ) from None
