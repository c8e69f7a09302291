"""The figures of a measurement as a file: what every device told of every model."""

import datetime
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import latency
from benchmark.session import Case, Protocol
from train.card_file import read_card
from train.files import write_json

_Members = dict[str, tuple[tuple[type, ...], str]]  # name: types, and what they are called
_TEXT = ((str,), 'a text')
_LIST = ((list,), 'a list')
_OBJECT = ((dict,), 'an object')
_COUNT = ((int,), 'a whole number')
_MAYBE_NUMBER = ((int, float, type(None)), 'a number or null')
# What reports read, with the types that JSON gives.
_FILE: _Members = {'devices': _LIST, 'protocol': _OBJECT}
_PROTOCOL: _Members = {'threads': _COUNT, 'rounds': _COUNT, 'runs_per_round': _COUNT}
_DEVICE: _Members = {
    'name': _TEXT,
    'facts': _OBJECT,
    'warnings': _LIST,
    'models': _LIST,
    'ratios': _LIST,
}
_MODEL: _Members = {
    'model': _TEXT,
    'sha256': _TEXT,
    'size_bytes': _COUNT,
    'xnnpack': ((bool,), 'true or false'),
    'p5_ms': _MAYBE_NUMBER,
    'p95_ms': _MAYBE_NUMBER,
    'round_medians_ms': _LIST,  # its numbers, and median_ms, are checked by from_json
}


def device_entry(
    name: str,
    facts: dict[str, Any],
    warnings: Sequence[str],
    cases: Sequence[Case],
    latencies: Sequence[latency.Latency],
) -> dict[str, Any]:
    """What one device measured, in plain JSON values; each model with its card's name."""
    entry = {'name': name, 'facts': facts, 'warnings': list(warnings), **latency.to_json(latencies)}
    for model, case in zip(entry['models'], cases, strict=True):
        model['name'] = card_name(case.file)
    return entry


def write_results(
    path: str | os.PathLike, protocol: Protocol, entries: Sequence[dict[str, Any]]
) -> None:
    """Writes what the devices measured."""
    values = {
        'time': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'protocol': {**vars(protocol), 'batch': 1},
        'devices': list(entries),
    }
    write_json(path, values)


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Reads what `write_results` wrote.

    Raises:
      ValueError: the file is missing, no JSON, or holds something else.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f'{file} is missing; run python -m benchmark.main first')
    try:
        values = json.loads(file.read_text(encoding='utf-8'))
        _check(values, _FILE, 'the file')
        _check(values['protocol'], _PROTOCOL, 'its protocol')
        for device in values['devices']:
            _check(device, _DEVICE, 'a device')
            for warning in device['warnings']:
                if not isinstance(warning, str):
                    raise ValueError(f'a warning is {warning!r:.100}, expected a text')
            for model in device['models']:
                _check(model, _MODEL, 'a model')
                if (model['p5_ms'] is None) != (model['p95_ms'] is None):
                    raise ValueError('a model has one of p5_ms and p95_ms, expected both or none')
                latency.from_json(model)
    except ValueError as error:
        raise ValueError(
            f'{file} holds no results of benchmark.main ({error}); measure again'
        ) from None
    return values


def _check(values: Any, expected: _Members, owner: str) -> None:
    """Sees that an object has members of these types; ValueError says which has not."""
    if not isinstance(values, dict):
        raise ValueError(f'{owner} is {values!r:.100}, expected an object')
    for name, (kinds, told) in expected.items():
        if name not in values:
            raise ValueError(f'{owner} has no {name!r}')
        if type(values[name]) not in kinds:  # to isinstance true would be a number
            raise ValueError(f'{name} of {owner} is {values[name]!r:.100}, expected {told}')


def card_name(file: Path) -> str | None:
    """`name` in the card beside a .tflite file; None without a card or a name in it.

    Raises:
      ValueError: the file in the card's place is no card.
    """
    name = (read_card(file) or {}).get('name')
    return name if isinstance(name, str) else None
