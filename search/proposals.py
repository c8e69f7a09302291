"""NetAdapt's proposals: narrower networks, each of which is faster by a given amount (Paper: §4.2).

1. Reduce the size of any expansion layer.
2. Reduce a bottleneck in all blocks that share its size, to keep residual connections.
"""

import dataclasses
from collections.abc import Mapping

from mobilenet_v3.spec import ModelSpec
from search.latency.model import LatencyModel
from search.widths import Width, shrink, widths


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A network with one width narrower.

    Attributes:
      width: the one that shrinks, as it was.
      channels: of it now.
      spec: the network.
      latency: of it, in the latency model's unit.
    """

    width: Width
    channels: int
    spec: ModelSpec
    latency: float


def make_proposals(
    spec: ModelSpec, latency: LatencyModel, at_most: float, lowest: Mapping[str, int]
) -> list[Proposal]:
    """The proposals of one step, one for each width that can give enough by itself.

    Each takes the least channels away that do; channels stay multiples of 8.

    Args:
      spec: the network of the step before.
      latency: what networks take.
      at_most: latency of every proposal.
      lowest: the least channels of each width, by its name.
    """
    found = []
    for width in widths(spec):
        proposal = _least_shrink(spec, width, latency, at_most, lowest[width.name])
        if proposal is not None:
            found.append(proposal)
    return found


def lowest_channels(spec: ModelSpec, share: float) -> dict[str, int]:
    """A share of each width's channels in the seed, by the width's name."""
    return {width.name: round(share * width.channels) for width in widths(spec)}


def _least_shrink(
    spec: ModelSpec, width: Width, latency: LatencyModel, at_most: float, lowest: int
) -> Proposal | None:
    """By halving: a narrower network is taken to be no slower, and what comes of it is looked at."""

    def propose(channels: int) -> Proposal:
        narrow = shrink(spec, width, channels)
        return Proposal(width, channels, narrow, latency.predict(narrow))

    steps = width.steps(lowest)
    if not steps:
        return None
    best = propose(steps[-1])
    if best.latency > at_most:
        return None
    low, high = 0, len(steps) - 1  # the first place that is enough lies in [low, high]
    while low < high:
        middle = (low + high) // 2
        tried = propose(steps[middle])
        if tried.latency <= at_most:
            best, high = tried, middle
        else:
            low = middle + 1
    return best
