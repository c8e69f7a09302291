"""What a file gives, how it is read and verified: a small description for each kind of file."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from export.card import LOGITS, Given
from export.convert import AS_IT_IS, Finish
from export.mediapipe_tasks import MediaPipeTask
from train.data.pipeline import Batch
from train.task import Outputs, Task

Statistics = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a network or a file answers to a batch.

    Attributes:
      given: as a file gives it; a network's as a file of it would.
      outputs: as the task takes them.
      statistics: of the task, arrays with leading N.
    """

    given: Outputs
    outputs: Outputs
    statistics: Statistics


@dataclasses.dataclass(frozen=True)
class Product:
    """One of the kinds of files that a network of some task becomes.

    Attributes:
      given: what it gives, for the card.
      finish: what the file computes of the network's outputs.
      restore: from what `train.file_forms` reads in the file to outputs of the task.
      comparable: whether the file's numbers are those of `finish` of the network, one by one.
      suffix: of the file's name, so that it can lie beside the other kind.
      mediapipe: how MediaPipe Tasks reads the file, or why it cannot.
    """

    given: Given = LOGITS
    finish: Finish = AS_IT_IS
    restore: Callable[[Outputs], Outputs] = lambda outputs: outputs
    comparable: bool = True
    suffix: str = ''
    mediapipe: MediaPipeTask | str = 'MediaPipe has no task for it'


@dataclasses.dataclass(frozen=True)
class Products:
    """What networks of a task become.

    Attributes:
      kinds: by the name that --outputs has; the first is the default.
      agreement: how far two answers to the same images say the same, [N] in [0, 1].
      agreement_is: what that is, in words for the card.
      imitation: given the answers of a quantized network, the float network's, the batch and a
        temperature, how far the former are from the latter, [N], in the units of the task's loss.
      calibration: what of an example of evaluation a batch for calibration takes, all of one size.
    """

    kinds: Mapping[str, Callable[[Task], Product]]
    agreement: Callable[[Answers, Answers], np.ndarray]
    agreement_is: str
    imitation: Callable[[Outputs, Outputs, Batch, float], tf.Tensor]
    calibration: Callable[[Batch], Batch] = lambda example: example

    def make(self, name: str, task: Task) -> Product:
        """The product of that name; '' is the default.

        Raises:
          ValueError: the task has none of that name.
        """
        name = name or next(iter(self.kinds))
        if name not in self.kinds:
            raise ValueError(
                f'--outputs={name} is none of {task.config.task}; expected one of '
                + ', '.join(self.kinds)
            )
        return self.kinds[name](task)
