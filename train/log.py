"""What a run tells while it goes: a progress bar, metrics.jsonl and TensorBoard."""

import json
import os
import sys

import tensorflow as tf
from tqdm import tqdm

METRICS_FILE = 'metrics.jsonl'


class RunLog:
    """Writes the metrics of a run; only the chief of several workers makes one that writes.

    Args:
      workdir: the run's folder.
      step: where the run starts or continues; what was logged beyond it, by a run that was killed
        before its next checkpoint, is taken back.
      total_steps, batch_size: for the progress bar, which counts images.
      write: False for the workers that keep quiet.
    """

    def __init__(
        self, workdir: str, *, step: int, total_steps: int, batch_size: int, write: bool
    ) -> None:
        self._batch_size = batch_size
        self._write = write
        self._path = os.path.join(workdir, METRICS_FILE)
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
            kept = [line for line in read_metrics(workdir) if line['step'] <= step]
            with open(self._path, 'w', encoding='utf-8') as file:
                file.writelines(json.dumps(line) + '\n' for line in kept)
            self._tensorboard = tf.summary.create_file_writer(os.path.join(workdir, 'tensorboard'))

    def advance(self, steps: int, loss: float) -> None:
        """Moves the progress bar."""
        self._bar.set_postfix(loss=f'{loss:.3f}', refresh=False)
        self._bar.update(steps * self._batch_size)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Logs values such as {'train/loss': 1.2} at a step."""
        if not self._write:
            return
        with open(self._path, 'a', encoding='utf-8') as file:
            file.write(json.dumps({'step': step, **values}) + '\n')
        with self._tensorboard.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def say(self, message: str) -> None:
        """Prints a line above the progress bar."""
        if self._write:
            self._bar.write(message)

    def __enter__(self) -> 'RunLog':
        return self

    def __exit__(self, *unused: object) -> None:
        """Leaves the bar where it stands, so that what follows has its own line."""
        self._bar.close()
        if self._write:
            self._tensorboard.close()


def read_metrics(workdir: str) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl; a last line that was torn by a kill is left out."""
    path = os.path.join(workdir, METRICS_FILE)
    lines: list[dict[str, float]] = []
    if os.path.isfile(path):
        with open(path, encoding='utf-8') as file:
            for text in file:
                try:
                    lines.append(json.loads(text))
                except json.JSONDecodeError:
                    break
    return lines
