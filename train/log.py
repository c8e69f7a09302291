"""What a run tells while it goes: a progress bar, metrics.jsonl and TensorBoard."""

import json
import os
import sys

import tensorflow as tf
from tqdm import tqdm

from train.files import write_file
from train.metrics_file import METRICS_FILE, is_evaluation, read_metrics
from train.reasons import reason


class RunLog:
    """Writes the metrics of a run; only the chief of several workers makes one that writes.

    Args:
      workdir: the run's folder.
      step: where the run starts or continues; what was logged beyond it, by a run that was killed
        before its next checkpoint, is taken back.
      evaluated: whether the evaluation of that step is to stay.
      total_steps, batch_size: for the progress bar, which counts images.
      write: False for the workers that keep quiet.
    """

    def __init__(
        self,
        workdir: str,
        *,
        step: int,
        total_steps: int,
        batch_size: int,
        write: bool,
        evaluated: bool = True,
    ) -> None:
        self._batch_size = batch_size
        self._write = write
        self._workdir, self._path = workdir, os.path.join(workdir, METRICS_FILE)
        self._bar = tqdm(
            total=total_steps * batch_size,
            initial=step * batch_size,
            unit=' images',
            unit_scale=True,
            desc='train',
            disable=not write,
            # A log file wants a line now and then, a terminal wants to see it move.
            mininterval=0.5 if sys.stderr.isatty() else 10,
        )
        if write:
            self._take_back(step, evaluated)
            self._tensorboard = tf.summary.create_file_writer(os.path.join(workdir, 'tensorboard'))

    def go_back(self, step: int) -> None:
        """Takes back what was logged after a step, and moves the progress bar to it."""
        self._bar.update(step * self._batch_size - self._bar.n)
        if self._write:
            self._take_back(step)

    def advance(self, steps: int, loss: float) -> None:
        """Moves the progress bar."""
        self._bar.set_postfix(loss=f'{loss:.3f}', refresh=False)
        self._bar.update(steps * self._batch_size)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Logs values such as {'train/loss': 1.2} at a step."""
        if not self._write:
            return
        self._append(json.dumps({'step': step, **values}) + '\n')
        try:
            with self._tensorboard.as_default(step=step):
                for name, value in values.items():
                    tf.summary.scalar(name, value)
        except tf.errors.OpError as e:
            raise OSError(f'cannot write what TensorBoard shows: {reason(e)}') from e

    def say(self, message: str) -> None:
        """Prints a line above the progress bar."""
        if self._write:
            self._bar.write(message)

    def _take_back(self, step: int, evaluated: bool = True) -> None:
        lines = ''
        for line in read_metrics(self._workdir):
            unsure = line['step'] == step and not evaluated
            if line['step'] <= step and not (unsure and is_evaluation(line)):
                lines += json.dumps(line) + '\n'
        write_file(self._path, lines.encode())

    def _append(self, line: str) -> None:
        try:
            with open(self._path, 'a', encoding='utf-8') as file:
                file.write(line)
        except OSError as e:  # a full disk is told without a name
            raise OSError(e.errno, e.strerror, self._path) from e

    def __enter__(self) -> 'RunLog':
        return self

    def __exit__(self, *unused: object) -> None:
        """Leaves the bar where it stands, so that what follows has its own line."""
        self._bar.close()
        if self._write:
            self._tensorboard.close()
