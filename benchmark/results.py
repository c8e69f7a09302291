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
        for device in values['devices']:
            device['name'], device['facts'], device['warnings'], device['ratios']
            for model in device['models']:
                latency.from_json(model)
    except (ValueError, TypeError, KeyError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else error
        raise ValueError(
            f'{file} holds no results of benchmark.main ({reason}); measure again'
        ) from None
    return values


def card_name(file: Path) -> str | None:
    """`name` in the card beside a .tflite file; None without a card or a name in it.

    Raises:
      ValueError: the file in the card's place is no card.
    """
    name = (read_card(file) or {}).get('name')
    return name if isinstance(name, str) else None
