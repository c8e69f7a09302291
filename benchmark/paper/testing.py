"""What tests of the paper's grid share: cards of its entries, and what devices measured."""

import json
from collections.abc import Mapping
from typing import Any

from benchmark.latency import summarize, turn_of
from benchmark.paper import grid
from benchmark.paper.card_key import GIVEN, head_values
from benchmark.paper.head_grid import HeadEntry
from benchmark.paper.measured import DeviceResults, Together
from mobilenet_v3.cost import check_resolution
from mobilenet_v3.spec_file import to_dict


def card_of(key: str, **changes: object) -> dict[str, Any]:
    """The card of an entry's file, as JSON gives it."""
    entry = grid.ENTRIES[key]
    card: dict[str, Any] = {
        'name': key,
        'task': entry.task,
        'gives': GIVEN[entry.task],
        'scheme': entry.scheme,
        'hard_swish': entry.hard_swish,
        'spec': to_dict(entry.spec),
        'input': {'shape': [1, *check_resolution(entry.resolution), 3]},
        'evaluation': None,
    }
    if isinstance(entry, HeadEntry):
        card |= {'head': head_values(entry), 'classes': entry.num_classes}
    else:
        card['output'] = {'shape': [1, 1000]}
    return json.loads(json.dumps({**card, **changes}))


def device(
    latencies_ms: Mapping[str, float], name: str = 'host', together: tuple[Together, ...] = ()
) -> DeviceResults:
    """A device that took the same milliseconds in each of six rounds, by key."""
    latencies = {
        key: summarize(
            [turn_of([ms])] * 6,
            model=key,
            sha256=key,
            size_bytes=1_000_000,
            threads=1,
            xnnpack=True,
        )
        for key, ms in latencies_ms.items()
    }
    return DeviceResults(name, {}, together, (), latencies, ())
