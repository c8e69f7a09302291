"""Top-1 on ImageNet of an entry of the grid, and who found it."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from benchmark.paper import grid
from benchmark.paper.measured import MeasuredGrid
from benchmark.paper.paper_tables import REPRODUCED_TOP1, paper_top1

Source = Literal['measured here', 'the paper', 'independent reproduction']
SOURCES: tuple[Source, ...] = ('measured here', 'the paper', 'independent reproduction')


def known_top1(measured: MeasuredGrid, key: str) -> tuple[float, Source] | None:
    """Percent and source: measured here, else the paper's, else a reproduction's; None if unknown."""
    readers = (measured.imagenet_top1, paper_top1, reproduced_top1)
    for source, read in zip(SOURCES, readers, strict=True):
        for same in _same_function(key):
            top1 = read(same)
            if top1 is not None:
                return top1, source
    return None


def curve_top1(measured: MeasuredGrid, keys: Iterable[str]) -> tuple[list[float], Source] | None:
    """Percents of one source for all keys, so that they can be compared; None if there is none."""
    keys = list(keys)
    for source, read in (
        (SOURCES[0], measured.imagenet_top1),
        (SOURCES[2], reproduced_top1),
    ):
        found = [top1 for top1 in map(read, keys) if top1 is not None]
        if len(found) == len(keys):
            return found, source
    return None


def reproduced_top1(key: str) -> float | None:
    """Percent of an independent training on ImageNet; None where there is none."""
    entry = grid.CLASSIFIERS[key]
    if (entry.resolution, entry.scheme) != (224, 'float32'):
        return None
    return REPRODUCED_TOP1.get(entry.network, {}).get(entry.multiplier)


def _same_function(key: str) -> tuple[str, ...]:
    """The key, and that of the file with fused h-swish, which computes the same in float."""
    entry = grid.CLASSIFIERS[key]
    fused = dataclasses.replace(entry, hard_swish='fused').key
    return (key, fused) if entry.scheme == 'float32' and fused in grid.CLASSIFIERS else (key,)
