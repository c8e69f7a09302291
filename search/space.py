"""MnasNet's factorised hierarchical search space (arXiv:1807.11626, §4.1), as data.

A network is a row of stages, each some blocks of one kind. What one block of a stage is, and how
many there are, is decided for each stage by itself; within a stage all blocks are alike.

Departs from paper: an operator is a depthwise-separable convolution or an inverted residual (MnasNet:
also a plain convolution), a skip is the identity or none (also pooling): all that a `ModelSpec` can
say, and all that MnasNet-A1 uses. The ratio of an inverted residual, 3 or 6, is a decision, too, as
in the released code.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mobilenet_v3.spec import BlockSpec, ModelSpec, SqueezeExcite, make_divisible
from mobilenet_v3.tables import MNAS_SE

Architecture = tuple[int, ...]  # of each decision the place of the option that was taken

# What is decided for a stage, and among what.
MNASNET: dict[str, tuple] = {
    'op': ('separable', 'inverted_3', 'inverted_6'),
    'kernel': (3, 5),
    'se': (0.0, 0.25),  # ratio
    'skip': (True, False),  # identity
    'width': (0.75, 1.0, 1.25),  # of the seed's filters
    'layers': (-1, 0, 1),  # more than the seed's
}
RATIOS = {'separable': 1, 'inverted_3': 3, 'inverted_6': 6}


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage has from the seed.

    Attributes:
      filters: output channels.
      layers: blocks.
      stride: of the first block.
      block: the first block.
    """

    filters: int
    layers: int
    stride: int
    block: BlockSpec


@dataclasses.dataclass(frozen=True)
class Decision:
    """One decision: 'stage_3/kernel', and its options."""

    name: str
    options: tuple


class Space:
    """The networks around a seed; MobileNetV2's stages with `MNASNET` are MnasNet's own.

    Args:
      seed: gives stem, head, and of each stage filters, layers, stride and activation.
      choices: what is decided for a stage, as `MNASNET`.

    Raises:
      ValueError: the choices are not those that a space needs.
    """

    def __init__(self, seed: ModelSpec, choices: Mapping[str, Sequence] = MNASNET) -> None:
        _check(choices)
        self.seed, self.stages = seed, stages_of(seed)
        self._choices = {name: tuple(choices[name]) for name in MNASNET}
        # A decision with one option is none.
        self.decisions = tuple(
            decision
            for stage in self._all_decisions()
            for decision in stage
            if len(decision.options) > 1
        )

    @property
    def options(self) -> tuple[int, ...]:
        """How many each decision has."""
        return tuple(len(decision.options) for decision in self.decisions)

    @property
    def size(self) -> int:
        """Architectures; some may be the same network."""
        return math.prod(self.options)

    def spec(self, architecture: Architecture) -> ModelSpec:
        """The network of an architecture.

        Raises:
          ValueError: it is none of this space.
        """
        if len(architecture) != len(self.options) or not all(
            0 <= place < count for place, count in zip(architecture, self.options, strict=False)
        ):
            raise ValueError(
                f'{architecture} is no architecture of the space around {self.seed.name}; expected '
                f'{len(self.options)} places, each below {list(self.options)}'
            )
        places = {d.name: place for d, place in zip(self.decisions, architecture, strict=True)}
        blocks: list[BlockSpec] = []
        channels = self.seed.stem.filters
        for stage, decisions in zip(self.stages, self._all_decisions(), strict=True):
            taken = {
                each.name.partition('/')[2]: each.options[places.get(each.name, 0)]
                for each in decisions
            }
            blocks += self._blocks(stage, taken, channels)
            channels = blocks[-1].filters
        last = self.seed.last
        if last is not None and last.scaling == 'input':
            filters = make_divisible(last.filters * channels / self.seed.blocks[-1].filters)
            last = dataclasses.replace(last, filters=filters)
        name = f'{self.seed.name}_{"".join(map(str, architecture))}'
        return dataclasses.replace(self.seed, name=name, blocks=tuple(blocks), last=last)

    def _all_decisions(self) -> list[list[Decision]]:
        """Of each stage; layers that would leave none are no option."""
        return [
            [
                Decision(
                    f'stage_{number}/{name}',
                    tuple(o for o in options if name != 'layers' or stage.layers + o >= 1),
                )
                for name, options in self._choices.items()
            ]
            for number, stage in enumerate(self.stages, start=1)
        ]

    def _blocks(self, stage: Stage, taken: Mapping[str, Any], channels: int) -> list[BlockSpec]:
        filters = make_divisible(stage.filters * taken['width'])
        se = dataclasses.replace(self._gate, ratio=taken['se']) if taken['se'] else None
        blocks = []
        for number in range(stage.layers + taken['layers']):
            blocks.append(
                dataclasses.replace(
                    stage.block,
                    kernel=taken['kernel'],
                    expansion=RATIOS[taken['op']] * channels,
                    filters=filters,
                    se=se,
                    stride=1 if number else stage.stride,
                    residual=taken['skip'],
                )
            )
            channels = filters
        return blocks

    @functools.cached_property
    def _gate(self) -> SqueezeExcite:
        """The seed's kind of squeeze-and-excite; MnasNet's where it has none."""
        found = [block.se for block in self.seed.blocks if block.se is not None]
        return dataclasses.replace(found[0], squeezed=None) if found else MNAS_SE


def draw(options: Sequence[int], rng: np.random.Generator) -> Architecture:
    """An architecture, each option as likely as the others."""
    return tuple(int(rng.integers(count)) for count in options)


def every_architecture(options: Sequence[int]) -> list[Architecture]:
    """All architectures, in their order."""
    return list(itertools.product(*map(range, options)))


def stages_of(spec: ModelSpec) -> list[Stage]:
    """The stages of a network: blocks in a row with one number of filters, apart at strides."""
    groups: list[list[BlockSpec]] = []
    for block in spec.blocks:
        if groups and block.stride == 1 and block.filters == groups[-1][0].filters:
            groups[-1].append(block)
        else:
            groups.append([block])
    return [Stage(group[0].filters, len(group), group[0].stride, group[0]) for group in groups]


def _check(choices: Mapping[str, Sequence]) -> None:
    if choices.keys() != MNASNET.keys():
        raise ValueError(
            f'the space decides {", ".join(sorted(choices))}; expected {", ".join(sorted(MNASNET))}'
        )
    for name, options in choices.items():
        if not options or len(set(options)) < len(options):
            raise ValueError(f'the options of {name} are {options!r}; expected some, each once')
    known: dict[str, Any] = {
        'op': lambda o: o in RATIOS,
        'kernel': lambda o: isinstance(o, int) and o >= 1 and o % 2 == 1,
        'se': lambda o: _is_number(o) and 0 <= o <= 1,
        'skip': lambda o: isinstance(o, bool),
        'width': lambda o: _is_number(o) and o > 0,
        'layers': lambda o: isinstance(o, int),
    }
    for name, holds in known.items():
        for option in choices[name]:
            if not holds(option):
                raise ValueError(
                    f'{option!r} is no option of {name}; expected such as {list(MNASNET[name])}'
                )
    if max(choices['layers']) < 0:
        raise ValueError(
            f'the options of layers are {choices["layers"]}; expected one of at least 0'
        )


def _is_number(option: object) -> bool:
    return isinstance(option, int | float) and math.isfinite(option)
