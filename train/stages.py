"""Fine-tuning by stages: which part of a network learns, from when on, and how fast.

The stages are the stem, each block, the last convolution, the features, and the head: whatever comes
after them and was not trained before.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from train.clock import steps_of

HEAD = 'head'


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run in which the same stages learn.

    Attributes:
      start_step: its first step.
      first_stage: the first stage, from the input on, that learns.
    """

    start_step: int
    first_stage: str


class Stages:
    """The stages of one model and its phases.

    Args:
      model: a flat functional model with our names of layers.
      config: the `finetune` part of a config.
      steps_per_epoch: training steps of one epoch, may be fractional.

    Raises:
      ValueError: a value of the config is out of range or names no stage.
    """

    def __init__(self, model: tf_keras.Model, config: ConfigDict, steps_per_epoch: float) -> None:
        self._model, self._config = model, config
        self.names = _stage_names(model)
        self._fused = {layer.name for layer in model.layers if getattr(layer, 'fused', False)}
        for field in ('backbone_rate', 'stage_decay'):
            if not 0 < config[field] <= 1:
                raise ValueError(f'config.finetune.{field} is {config[field]}; expected in (0, 1]')
        self.phases = tuple(self._read_phases(config.unfreeze, steps_per_epoch))

    def phase_at(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return [phase for phase in self.phases if phase.start_step <= step][-1]

    def steps_left(self, step: int) -> int | None:
        """Steps from `step` until the next phase; None in the last one."""
        later = [phase.start_step - step for phase in self.phases if phase.start_step > step]
        return min(later) if later else None

    def enter(self, phase: Phase) -> None:
        """Makes the model's layers learn, or not, as the phase says; before a step is traced.

        A frozen layer's batch normalisation keeps its statistics and normalises with them.
        """
        first = self.names.index(phase.first_stage)
        for layer in self._model.layers:
            if layer.name == 'normalize/conv':  # constants of the images
                continue
            stage = self._stage_of(layer)
            frozen = self.names.index(stage) < first
            # A head's were not trained before: there is nothing to keep.
            norm = isinstance(layer, tf_keras.layers.BatchNormalization) and stage != HEAD
            layer.trainable = not (frozen or (norm and self._config.freeze_batch_norm))
            if layer.name in self._fused:
                layer.fused = layer.trainable or not _has_gpus()

    def rate_factors(self) -> Iterator[tuple[tf.Variable, float]]:
        """Each variable that may learn with the factor of its learning rate: 1 in the head."""
        last = len(self.names) - 1
        for layer in self._model.layers:
            distance = last - self.names.index(self._stage_of(layer))
            factor = self._config.backbone_rate * self._config.stage_decay**distance
            for variable in layer.trainable_variables:
                yield variable, factor if distance else 1.0

    def _stage_of(self, layer: tf_keras.layers.Layer) -> str:
        name = layer.name.partition('/')[0]
        return name if name in self.names else HEAD

    def _read_phases(self, unfreeze: Any, steps_per_epoch: float) -> Iterator[Phase]:
        if not unfreeze:
            yield Phase(0, self.names[0])
            return
        previous = None
        for epoch, stage in _pairs(unfreeze):
            if stage not in self.names:
                raise ValueError(
                    f'config.finetune.unfreeze names {stage!r}; expected one of '
                    + ', '.join(self.names)
                )
            phase = Phase(steps_of(epoch, steps_per_epoch), stage)
            if phase.start_step if previous is None else phase.start_step <= previous.start_step:
                raise ValueError(
                    f'config.finetune.unfreeze is {unfreeze}; expected (epoch, stage) from epoch 0 '
                    'on, in rising order and a step apart at least'
                )
            yield phase
            previous = phase


def _has_gpus() -> bool:
    """Whose kernel of frozen batch normalisation, in one op, has no gradient that is the same each
    time, so that TensorFlow refuses it (enable_op_determinism).
    """
    return bool(tf.config.list_physical_devices('GPU'))


def _pairs(unfreeze: Any) -> list[tuple[float, str]]:
    """As declared; a command line may hold any value."""
    try:
        return [(float(epoch), str(stage)) for epoch, stage in unfreeze]
    except (TypeError, ValueError):
        raise ValueError(
            f"config.finetune.unfreeze is {unfreeze!r}; expected pairs such as ((0, 'head'), (2, "
            "'stem'))"
        ) from None


def _stage_names(model: tf_keras.Model) -> tuple[str, ...]:
    """The stages from the input on."""
    names = dict.fromkeys(layer.name.partition('/')[0] for layer in model.layers)
    blocks = sorted((n for n in names if n.startswith('bneck_')), key=lambda n: int(n[6:]))
    known = ['stem', *blocks, 'last', 'features']
    return (*(name for name in known if name in names), HEAD)
