"""Checkpoints that are whole or not there: written aside, checked by sums, renamed."""

import dataclasses
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import sys
from typing import Any

import tensorflow as tf

from train.files import flush, sha256_of
from train.reasons import reason
from train.workers import LOST

STATE_FILE, INDEX = 'state.json', 'variables.index'
_NAME = re.compile(r'step_(\d{8})')
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint on disk.

    Attributes:
      path: its folder.
      state: what was saved beside the variables, plain JSON; 'step' among it.
    """

    path: str
    state: dict

    @property
    def variables(self) -> str:
        """The prefix of their files, as TensorFlow takes it."""
        return os.path.join(self.path, 'variables')


def save(
    folder: str,
    checkpoint: tf.train.Checkpoint,
    state: dict,
    *,
    keep: int,
    spare: int | None = None,
    write: bool = True,
) -> None:
    """Saves `checkpoint` and `state` under `folder`/step_NNNNNNNN.

    The files are written to a temporary folder, flushed to the disk and renamed, so that a run that
    dies while saving leaves the earlier checkpoints as they were.

    Args:
      folder: the run's checkpoints.
      checkpoint: the variables.
      state: plain JSON values, with 'step'.
      keep: how many of the newest stay.
      spare: a step whose checkpoint stays, too.
      write: False in all workers but one: they take part in reading the variables, as a
        distribution strategy asks, and their copy is thrown away.

    Raises:
      OSError: the disk is full or not writable; nothing that was saved before is touched.
    """
    final = os.path.join(folder, _name(state['step']))
    temporary = f'{final}.tmp-{socket.gethostname()}-{os.getpid()}'
    try:
        os.makedirs(temporary, exist_ok=True)
        checkpoint.write(os.path.join(temporary, 'variables'), _options())
        if not write:
            return
        _write_state(temporary, state)
        for name in os.listdir(temporary):
            flush(os.path.join(temporary, name))
        flush(temporary)
        shutil.rmtree(final, ignore_errors=True)  # a damaged one of the same step
        os.rename(temporary, final)
        flush(folder)
    except LOST:  # another worker: reading the variables asks all of them
        raise
    except (tf.errors.OpError, OSError) as e:
        raise OSError(
            f'cannot save step {state["step"]} to {folder}: {reason(e)}; the checkpoints before it are '
            'untouched'
        ) from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    paths = _paths(folder)
    saved = paths.index(final)
    # What is newer was damaged, or diverged: the run has gone on from an older one.
    for path in paths[:saved] + paths[saved + keep :]:
        if spare is None or os.path.basename(path) != _name(spare):
            shutil.rmtree(path, ignore_errors=True)


def read(saved: Saved, checkpoint: tf.train.Checkpoint) -> Any:
    """Puts what was saved into variables; the status that TensorFlow gives, to be asserted on."""
    return checkpoint.read(saved.variables, _options())


def remove_leftovers(folder: str) -> None:
    """Removes what killed runs left of a save; called when a run starts, before anyone saves."""
    for path in glob.glob(f'{glob.escape(folder)}/step_*.tmp-*'):
        shutil.rmtree(path, ignore_errors=True)


def latest(folder: str, up_to: int | None = None) -> Saved | None:
    """The newest whole checkpoint; says which newer ones are damaged.

    Args:
      folder: the run's checkpoints.
      up_to: the last step that counts.

    Returns:
      None where there is none at all.

    Raises:
      ValueError: there are checkpoints, and every one is damaged.
    """
    paths = [
        path for path in _paths(folder) if up_to is None or os.path.basename(path) <= _name(up_to)
    ]
    for path in paths:
        try:
            return Saved(path, _read_state(path))
        except ValueError as e:
            print(
                f'warning: checkpoint {path} is damaged ({e}); trying the one before it',
                file=sys.stderr,
            )
    if paths:
        raise ValueError(
            f'all {len(paths)} checkpoints in {folder} are damaged; remove the folder to start anew'
        )
    return None


def _options() -> tf.train.CheckpointOptions:
    """Files are of this machine, also where the variables are a TPU's on another one."""
    here = '/job:localhost' if tf.config.list_logical_devices('TPU') else None
    return tf.train.CheckpointOptions(experimental_io_device=here)


def _name(step: int) -> str:
    return f'step_{step:08d}'


def _paths(folder: str) -> list[str]:
    """The folders of checkpoints, newest first."""
    if not os.path.isdir(folder):
        return []
    steps = sorted((name for name in os.listdir(folder) if _NAME.fullmatch(name)), reverse=True)
    return [os.path.join(folder, name) for name in steps]


def _write_state(path: str, state: dict) -> None:
    """Writes a state with the sums of the files beside it, and its own."""
    sums = {name: sha256_of(os.path.join(path, name)) for name in os.listdir(path)}
    if INDEX not in sums:
        raise OSError('TensorFlow wrote the variables on another machine')
    content = {'format': _FORMAT, 'sha256': sums, **state}
    with open(os.path.join(path, STATE_FILE), 'w', encoding='utf-8') as file:
        json.dump({**content, 'state_sha256': _sum_of(content)}, file, indent=1)


def _read_state(path: str) -> dict:
    try:
        with open(os.path.join(path, STATE_FILE), encoding='utf-8') as file:
            state = json.load(file)
        sums = dict(state['sha256'])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ValueError(f'no readable {STATE_FILE}: {e}') from None
    if state.get('format') != _FORMAT or not isinstance(state.get('step'), int):
        raise ValueError(f'{STATE_FILE} is of another program or version')
    if os.path.basename(path) != _name(state['step']):
        raise ValueError(f'{STATE_FILE} says step {state["step"]}')
    known = state.pop('state_sha256', None)
    if known not in (None, _sum_of(state)):  # none in checkpoints of before it was written
        raise ValueError(f'{STATE_FILE} was changed')
    for name, expected in sums.items():
        file_path = os.path.join(path, os.path.basename(name))
        try:
            found = sha256_of(file_path)
        except OSError as e:
            raise ValueError(f'{name} cannot be read: {e}') from None
        if found != expected:
            raise ValueError(f'{name} is truncated or changed')
    return state


def _sum_of(state: dict) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
