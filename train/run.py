"""What a run is: its config, its network and its classes; from flags, and back from a checkpoint."""

import dataclasses
import difflib
import json
import math
import os
from collections.abc import Callable

import tf_keras
from ml_collections import ConfigDict

from configs import base
from mobilenet_v3.cost import check_resolution
from mobilenet_v3.head_tables import segmentation_backbone
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import from_dict, load_model_spec, to_dict
from mobilenet_v3.transforms import halve_tail, widen, widen_backbone
from train import best, checkpoint
from train.task import Task
from train.tasks import TASKS

# Fields that may change when a run is continued: they do not touch what it computes.
_FREE_FIELDS = (
    'checkpoint.every_epochs',
    'checkpoint.keep',
    'data.data_dir',
    'divergence.max_rollbacks',
    'divergence.patience_steps',
    'divergence.rate_factor',
    'eval.every_epochs',
    'log_every_steps',
    'on_nan',
    'train.steps_per_execution',
)

_ABOVE_ZERO = (
    'train.batch_size',
    'train.parts',
    'train.epochs',
    'train.steps_per_execution',
    'schedule.base_batch_size',
    'eval.batch_size',
    'eval.every_epochs',
    'checkpoint.every_epochs',
    'checkpoint.keep',
    'data.shuffle_buffer',
    'data.streams',
    'log_every_steps',
)
_PRECISIONS = ('float32', 'mixed_bfloat16')


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, before or after training.

    Attributes:
      config: every value of it.
      spec: the network with its multiplier applied.
      labels: the names of the classes.
    """

    config: ConfigDict
    spec: ModelSpec
    labels: tuple[str, ...]

    def make_task(self) -> Task:
        """The task with its data, loss and metrics."""
        return TASKS[self.config.task](self.config, self.spec, self.labels)

    def to_state(self) -> dict:
        """Plain JSON values, for a checkpoint."""
        return {
            'config': json.loads(self.config.to_json()),
            'spec': to_dict(self.spec),
            'labels': list(self.labels),
        }

    def to_values(self) -> dict[str, object]:
        """The same by the names of fields, but where this machine keeps its data."""
        state = self.to_state()
        config = {f'config.{name}': value for name, value in _flatten(state.pop('config'))}
        del config['config.data.data_dir']
        return {**config, **state}

    @classmethod
    def from_state(cls, state: dict) -> 'Run':
        """The run that `to_state` wrote; fields that are newer than it have base's values."""
        config = _with_defaults(state['config'], base.get_config().to_dict())
        return cls(ConfigDict(config), from_dict(state['spec']), tuple(state['labels']))


def resolve_spec(config: ConfigDict) -> ModelSpec:
    """The network that a config stands for; checks every value that does not need the data.

    Raises:
      ValueError: an unknown task or model, or a value out of range.
    """
    if config.task not in TASKS:
        near = difflib.get_close_matches(config.task, TASKS, n=1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        raise ValueError(f'unknown task {config.task!r}; {hint}known tasks: {", ".join(TASKS)}')
    check_values(config)
    check_resolution(config.model.resolution)
    return dataclasses.replace(_network(config), dropout=config.model.dropout)


def check_values(config: ConfigDict) -> None:
    """Sees that the values of a recipe are in range, whatever its network.

    Raises:
      ValueError: one is not.
    """
    for field in _ABOVE_ZERO:
        _require(config, field, 'above 0', lambda value: value > 0)
    _require(config, 'train.weight_decay', 'at least 0', lambda value: value >= 0)
    _require_finite(config)
    if not 0 <= config.seed < 2**32:
        raise ValueError(f'config.seed is {config.seed}; expected in [0, 2^32)')
    if config.train.precision not in _PRECISIONS:
        raise ValueError(
            f'config.train.precision is {config.train.precision!r}; expected {" or ".join(_PRECISIONS)}'
        )


def _network(config: ConfigDict) -> ModelSpec:
    """The network at its width, as the task's head takes it."""
    spec = load_model_spec(config.model.name)
    if config.task == 'classification':
        return widen(spec, config.model.multiplier)
    if config.task == 'segmentation':
        spec, head = widen(spec, config.model.multiplier), config.segmentation
        return segmentation_backbone(spec, rf2=head.halve_tail, output_stride=head.output_stride)
    spec = widen_backbone(spec, config.model.multiplier)
    if config.task == 'detection' and config.detection.halve_tail:
        return halve_tail(spec, first_expansion=False)
    return spec


def differences(ours: dict, saved: dict) -> list[str]:
    """The fields in which two runs' states differ, as 'field: saved, ours'."""
    ours_flat, saved_flat = (dict(_flatten(_computed(state))) for state in (ours, saved))
    return [
        f'{field}: {_short(saved_flat.get(field))} there, {_short(ours_flat.get(field))} here'
        for field in sorted(ours_flat.keys() | saved_flat.keys())
        if ours_flat.get(field) != saved_flat.get(field)
    ]


def load_trained(workdir: str) -> tuple[Run, tf_keras.Model, dict]:
    """Loads the newest whole checkpoint of a run.

    Returns:
      The run, its model with the averaged weights (Paper: §6.1.1), and the checkpoint's state.

    Raises:
      ValueError: there is no run, no checkpoint, or only damaged ones; or it is an export's training.
    """
    import tensorflow as tf

    saved = newest(workdir)
    try:
        run = Run.from_state(saved.state)
    except (KeyError, TypeError) as e:
        raise ValueError(f'{saved.path} is no checkpoint of a run: no {e}') from None
    if run.config.quantize.source:
        raise ValueError(
            f'{workdir} is the quantization-aware training of an export; give the .tflite file that '
            'it became, or the run that it started from'
        )
    model = run.make_task().build()
    checkpoint.read(saved, tf.train.Checkpoint(averaged=model)).expect_partial()
    return run, model, saved.state


def newest(workdir: str) -> checkpoint.Saved:
    """The checkpoint of a run whose weights count: the best with early stopping, or the last.

    Raises:
      ValueError: there is no run, no checkpoint, or only damaged ones.
    """
    saved = last(workdir)
    return best.latest(workdir, saved.state.get('best')) or saved


def last(workdir: str) -> checkpoint.Saved:
    """The checkpoint that a run would continue from.

    Raises:
      ValueError: there is no run, no checkpoint, or only damaged ones.
    """
    saved = checkpoint.latest(checkpoint_folder(workdir))
    if saved is None:
        raise ValueError(
            f'{workdir} has no checkpoint; expected the --workdir of a run of train.main'
        )
    return saved


def checkpoint_folder(workdir: str) -> str:
    """Where a run keeps its checkpoints."""
    return os.path.join(workdir, 'checkpoints')


def _with_defaults(saved: dict, declared: dict) -> dict:
    merged = {**declared, **saved}
    for name, value in declared.items():
        if isinstance(value, dict) and isinstance(saved.get(name), dict):
            merged[name] = _with_defaults(saved[name], value)
    return merged


def _require(config: ConfigDict, field: str, expected: str, holds: Callable[[float], bool]) -> None:
    value = config
    for part in field.split('.'):
        value = value[part]
    if not holds(value):
        raise ValueError(f'config.{field} is {value}; expected {expected}')


def _computed(state: dict) -> dict:
    config = {f'config.{k}': v for k, v in _flatten(state['config']) if k not in _FREE_FIELDS}
    return {**config, 'spec': state['spec'], 'labels': state['labels']}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}…'


def _flatten(values: dict, prefix: str = '') -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            flat += _flatten(value, f'{prefix}{name}.')
        else:
            flat.append((f'{prefix}{name}', value))
    return flat


def _require_finite(config: ConfigDict) -> None:
    """No field has a use for NaN or infinity, nor has JSON, in which runs are saved, a word for them."""
    for field, value in _flatten(config.to_dict()):
        if not _is_finite(value):
            raise ValueError(f'config.{field} is {value}; expected a finite number')


def _is_finite(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
