"""Which entry of the grid the file of a card is, whatever its name and its training."""

import dataclasses
import functools
import json
from typing import Any

from benchmark.paper import grid
from mobilenet_v3.cost import check_resolution
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import from_dict

GIVEN = {'classification': 'logits', 'detection': 'raw', 'segmentation': 'logits'}  # by the grid's


def key_of(card: dict[str, Any]) -> str | None:
    """The entry of the grid that a card's file is; None if it is none.

    Two networks are the same where the same is computed: names and what only training reads
    (dropout, the statistics of BN) are left aside. A file that suppresses boxes is none of a
    detector, one that gives labels none of a segmenter.

    Raises:
      ValueError: the card has no valid spec, input or task, or a scheme or form that is no text.
    """
    spec, task = from_dict(card.get('spec')), task_of(card)
    scheme, form = _text(card, 'scheme'), _text(card, 'hard_swish')
    height, width, channels = _input_of(card)
    more = task != 'classification' and card.get('gives') != GIVEN[task]
    if channels != 3 or more:
        return None
    if not _has_hard_swish(spec):  # every form is one; the grid names it so
        form = 'decomposed' if scheme == 'int8' else 'fused'
    head = _bare_head(card.get('head'))
    return _keys().get((task, _bare(spec), head, (height, width), scheme, form))


def task_of(card: dict[str, Any]) -> str:
    """The task of a card's file.

    Raises:
      ValueError: no task has that name.
    """
    task = card.get('task', 'classification')
    if not isinstance(task, str) or task not in GIVEN:
        raise ValueError(f'its task is {task!r}, expected one of {", ".join(GIVEN)}')
    return task


def _input_of(card: dict[str, Any]) -> tuple[int, int, int]:
    """Height, width and channels."""
    try:
        _, height, width, channels = card['input']['shape']
        if all(isinstance(side, int) for side in (height, width, channels)):
            return height, width, channels
    except (KeyError, TypeError, ValueError):
        pass
    raise ValueError('it tells no input of shape [1, H, W, C]')


def _text(card: dict[str, Any], name: str) -> str | None:
    """A text of a card; None where it has none."""
    value = card.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f'its {name} is {value!r}, expected a text; export again')
    return value


def head_values(entry: grid.AnyEntry) -> dict[str, Any] | None:
    """The head of an entry as a card has it; None of a classifier."""
    return dataclasses.asdict(entry.head) if entry.head else None


@functools.cache
def _keys() -> dict[tuple, str]:
    return {
        (
            entry.task,
            _bare(entry.spec),
            _bare_head(head_values(entry)),
            check_resolution(entry.resolution),
            entry.scheme,
            entry.hard_swish,
        ): key
        for key, entry in grid.ENTRIES.items()
    }


def _bare(spec: ModelSpec) -> ModelSpec:
    """A network without its name and what only training reads."""
    return dataclasses.replace(
        spec, name='', dropout=0.0, batch_norm_momentum=0.99, batch_norm_epsilon=1e-3
    )


def _bare_head(values: Any) -> str:
    """A head without what only training reads, as a text that is the same for the same head."""
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if name != 'dropout'}
    return json.dumps(values, sort_keys=True)


def _has_hard_swish(spec: ModelSpec) -> bool:
    layers = [layer for layer in (spec.stem, *spec.blocks, spec.last, spec.features) if layer]
    return any(layer.activation == 'hard_swish' for layer in layers)
