"""The widths of a network that may shrink, and what the network is then (Paper: §4.2).

NetAdapt's proposals shrink one expansion, or a bottleneck in all blocks that share it. Blocks share
it where a residual connection ties them to each other: in V3 those are the blocks of one size.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np

from mobilenet_v3.spec import BlockSpec, ModelSpec, make_divisible, place

DIVISOR = 8
STEM = -1  # stands before the first block


@dataclasses.dataclass(frozen=True)
class Width:
    """One width that may shrink.

    Attributes:
      kind: 'expansion' of one block, or 'bottleneck': the output of all blocks that share it.
      first, last: the blocks, from 0; a bottleneck that is tied to the stem begins at STEM.
      channels: how wide it is.
      narrowest: the least that leaves the network its layers: an expansion stays above its input,
        as equal it would lose its convolution.
    """

    kind: Literal['expansion', 'bottleneck']
    first: int
    last: int
    channels: int
    narrowest: int

    @property
    def name(self) -> str:
        """'expansion_4' or 'bottleneck_4-6', blocks counted from 1 as in the paper; the stem is 0."""
        span = f'{self.first + 1}' + (f'-{self.last + 1}' if self.last > self.first else '')
        return f'{self.kind}_{span}'

    def steps(self, lowest: int = 0) -> list[int]:
        """The narrower widths, multiples of 8, the widest first.

        Args:
          lowest: channels below which none is given.
        """
        least = -(-max(self.narrowest, lowest) // DIVISOR) * DIVISOR
        return list(range((self.channels - 1) // DIVISOR * DIVISOR, least - 1, -DIVISOR))


def widths(spec: ModelSpec) -> list[Width]:
    """The widths of a network: expansions in their order, then bottlenecks."""
    placed = place(spec)
    expansions = [
        Width('expansion', i, i, at.block.expansion, at.in_channels + 1)
        for i, at in enumerate(placed)
        if at.has_expansion
    ]
    return expansions + _bottlenecks(spec)


def shrink(spec: ModelSpec, width: Width, channels: int) -> ModelSpec:
    """The network with one of its widths narrower.

    A depthwise convolution without an expansion before it follows its input, the last convolution
    keeps its ratio to its input where its scaling says so. No residual appears that was not there:
    where widths happen to become equal, the block is marked to have none.

    Args:
      spec: the network.
      width: one of `widths(spec)`.
      channels: its channels then.

    Raises:
      ValueError: it would be narrower than `width.narrowest`, or not narrower than before.
    """
    if not width.narrowest <= channels < width.channels:
        raise ValueError(
            f'{width.name} of {spec.name} with {channels} channels; expected at least '
            f'{width.narrowest} and fewer than its {width.channels}'
        )
    stem = spec.stem
    if width.first == STEM:
        stem = dataclasses.replace(stem, filters=channels)
    blocks: list[BlockSpec] = []
    before, now = spec.stem.filters, stem.filters
    for i, block in enumerate(spec.blocks):
        inside = width.first <= i <= width.last
        expansion = now if block.expansion == before else block.expansion
        filters = block.filters
        if inside and width.kind == 'expansion':
            expansion = channels
        elif inside:
            filters = channels
        blocks.append(_resized(block, expansion, filters))
        before, now = block.filters, filters
    last = spec.last
    if last is not None and last.scaling == 'input' and now != before:
        last = dataclasses.replace(last, filters=make_divisible(last.filters * now / before))
    narrow = dataclasses.replace(spec, stem=stem, blocks=tuple(blocks), last=last)
    return _without_new_residuals(spec, narrow)


def narrowest(spec: ModelSpec, lowest: float) -> ModelSpec:
    """The network with every width as narrow as it may be, at least `lowest` of what it is now."""
    return _with_widths(spec, lowest, lambda steps: steps[-1])


def random_widths(spec: ModelSpec, lowest: float, rng: np.random.Generator) -> ModelSpec:
    """The network with every width drawn from `lowest` of what it is now to what it is."""
    return _with_widths(spec, lowest, lambda steps: int(rng.choice(steps)))


def drawn(spec: ModelSpec, count: int, lowest: float, seed: int) -> list[ModelSpec]:
    """The network with random widths, `count` times; named by their numbers."""
    rng = np.random.default_rng(seed)
    return [
        dataclasses.replace(random_widths(spec, lowest, rng), name=f'{spec.name}_{seed}_{number}')
        for number in range(count)
    ]


def _with_widths(spec: ModelSpec, lowest: float, choose: Callable[[list[int]], int]) -> ModelSpec:
    """Every width as `choose` takes it from the widths that it may have, the widest first."""
    seed = spec
    for kind in ('bottleneck', 'expansion'):  # expansions stay above what bottlenecks become
        for index in [i for i, w in enumerate(widths(spec)) if w.kind == kind]:
            width = widths(spec)[index]
            least = round(lowest * widths(seed)[index].channels)
            channels = choose([width.channels, *width.steps(least)])
            if channels != width.channels:
                spec = shrink(spec, width, channels)
    return spec


def _bottlenecks(spec: ModelSpec) -> list[Width]:
    """Outputs of blocks, joined where a residual ties them to the output before, be it the stem's."""
    placed = place(spec)
    groups: list[list[int]] = [[STEM]]
    for i, at in enumerate(placed):
        if at.has_residual:
            groups[-1].append(i)
        else:
            groups.append([i])
    if groups[0] == [STEM]:
        del groups[0]  # the stem is no bottleneck by itself
    return [
        Width('bottleneck', group[0], group[-1], filters, min(DIVISOR, filters))
        for group in groups
        for filters in [spec.blocks[group[-1]].filters]
    ]


def _resized(block: BlockSpec, expansion: int, filters: int) -> BlockSpec:
    """The block with other widths; a squeeze width of its own keeps its ratio to the expansion."""
    se = block.se
    if se is not None and se.squeezed is not None:
        squeezed = make_divisible(se.squeezed * expansion / block.expansion, se.divisor)
        se = dataclasses.replace(se, squeezed=squeezed)
    return dataclasses.replace(block, expansion=expansion, filters=filters, se=se)


def _without_new_residuals(before: ModelSpec, spec: ModelSpec) -> ModelSpec:
    blocks = [
        dataclasses.replace(now.block, residual=False)
        if now.has_residual and not was.has_residual
        else now.block
        for was, now in zip(place(before), place(spec), strict=True)
    ]
    return dataclasses.replace(spec, blocks=tuple(blocks))
