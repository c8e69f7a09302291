"""The parts of a network whose latencies add up to its own: stem, blocks, last convolution, head.

A part is a shape and nothing else, so that equal parts of different networks are built and measured
once. Plain data: a predictor reads it without TensorFlow.
"""

import dataclasses
import hashlib
import json
import re
import typing
from collections.abc import Sequence
from typing import Any, Literal

from mobilenet_v3.cost import Size, check_resolution
from mobilenet_v3.spec import Activation, ConvSpec, ModelSpec, PlacedBlock, place

Scheme = Literal['float32', 'int8']
HardSwish = Literal['fused', 'decomposed', 'none']
SCHEMES: tuple[Scheme, ...] = ('float32', 'int8')
FORMS: tuple[Literal['fused', 'decomposed'], ...] = ('fused', 'decomposed')
INPUT_CHANNELS = 3
_SEPARATOR = ':'


@dataclasses.dataclass(frozen=True)
class Part:
    """One part as it is built and measured.

    Attributes:
      scheme: of weights and activations.
      hard_swish: form of its h-swishes; 'none' where it has none, as then both forms are the same.
      part: 'head' is pooling, features and logits. 'overhead' is next to nothing: what an invocation
        costs by itself.
      kernel, stride, dilation: of the convolution; in a block of the depthwise one, in effect.
      in_channels, in_height, in_width: of its input.
      expansion: of a block; of a head the features before the logits, 0 without.
      filters: channels of its output; of a head the classes.
      se_width: channels of the squeezed layer, 0 without.
      gate: of squeeze-and-excite.
      activation: of a block's expansion and depthwise convolution, of a head's features.
      residual: whether the input is added.
      project_activation: after a block's projection.
    """

    scheme: Scheme
    hard_swish: HardSwish
    part: Literal['stem', 'block', 'last', 'head', 'overhead']
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    in_channels: int = 8
    expansion: int = 0
    filters: int = 8
    se_width: int = 0
    gate: Literal['none', 'hard_sigmoid', 'sigmoid'] = 'none'
    activation: Activation = 'linear'
    residual: bool = False
    project_activation: Activation = 'linear'
    in_height: int = 1
    in_width: int = 1

    @property
    def key(self) -> str:
        """All that it is in one word, which `part_of` reads back."""
        return _SEPARATOR.join(part_cells(self))

    def __str__(self) -> str:
        """For people: 'block 56×56×24, 5×5 / 2, expansion 72, …'."""
        words = [f'{self.part} {self.in_height}×{self.in_width}×{self.in_channels}']
        if self.part != 'head':
            words.append(f'{self.kernel}×{self.kernel} / {self.stride}')
        if self.dilation != 1:
            words.append(f'dilation {self.dilation}')
        if self.expansion:
            words.append(f'expansion {self.expansion}')
        words.append(f'filters {self.filters}')
        if self.se_width:
            words.append(f'SE {self.se_width} {self.gate}')
        words.append(self.activation)
        if self.residual:
            words.append('residual')
        if self.project_activation != 'linear':
            words.append(f'then {self.project_activation}')
        form = '' if self.hard_swish == 'none' else f' {self.hard_swish}'
        return ', '.join([*words, self.scheme + form])


COLUMNS = tuple(field.name for field in dataclasses.fields(Part))
_KINDS = typing.get_type_hints(Part)


def part_cells(part: Part) -> list[str]:
    """The values of a part as words, in the order of COLUMNS."""
    return [
        str(value).lower() if isinstance(value, bool) else str(value)
        for value in dataclasses.astuple(part)
    ]


def part_from_cells(cells: Sequence[str]) -> Part:
    """The part of which `part_cells` made these words.

    Raises:
      ValueError: one is not what its column holds; the message names the column.
    """
    if len(cells) != len(COLUMNS):
        raise ValueError(f'it has {len(cells)} values, expected {len(COLUMNS)}: {COLUMNS}')
    return Part(**{name: _read(name, cell) for name, cell in zip(COLUMNS, cells, strict=True)})


def part_of(key: str) -> Part:
    """The part whose `key` this is.

    Raises:
      ValueError: it is no key of a part.
    """
    try:
        return part_from_cells(key.split(_SEPARATOR))
    except ValueError as error:
        raise ValueError(f'{key!r} is no part: {error}') from None


@dataclasses.dataclass(frozen=True)
class Network:
    """A network as a file.

    Attributes:
      name: for tables, with its width: 'large', 'large 0.75'.
      spec: widened.
      resolution: of its input.
      scheme, hard_swish: of the file.
      num_classes: k of its logits.
    """

    name: str
    spec: ModelSpec
    resolution: int
    scheme: Scheme
    hard_swish: Literal['fused', 'decomposed']
    num_classes: int = 1000

    @property
    def key(self) -> str:
        """A name of its own, also of its file; another spec under the same name has another."""
        spec = json.dumps(dataclasses.asdict(self.spec), sort_keys=True)
        mark = hashlib.sha256(f'{spec} {self.num_classes}'.encode()).hexdigest()[:8]
        name = re.sub(r'[^\w.]+', '_', self.name)
        return f'{name}_{self.resolution}_{self.scheme}_{self.hard_swish}_{mark}'

    @property
    def parts(self) -> dict[str, Part]:
        """Its parts by name, in their order."""
        return named_parts(
            self.spec,
            self.resolution,
            scheme=self.scheme,
            hard_swish=self.hard_swish,
            num_classes=self.num_classes,
        )


def named_parts(
    spec: ModelSpec,
    resolution: int | Size,
    *,
    scheme: Scheme,
    hard_swish: Literal['fused', 'decomposed'],
    num_classes: int = 1000,
) -> dict[str, Part]:
    """The parts of a network, in their order, by name: 'stem', 'bneck_1', …, 'last', 'head'.

    Args:
      spec: the network, widened.
      resolution: of its input.
      scheme, hard_swish: of its file.
      num_classes: k of its logits.
    """

    def make(part: str, convs: Sequence[str], size: Size, **values: Any) -> Part:
        form = hard_swish if 'hard_swish' in convs else 'none'
        return Part(scheme, form, part, in_height=size[0], in_width=size[1], **values)  # type: ignore[arg-type]

    size = check_resolution(resolution)
    parts = {'stem': make('stem', [spec.stem.activation], size, **_conv(spec.stem, INPUT_CHANNELS))}
    size = _strided(size, spec.stem.stride)
    for placed in place(spec):
        block = placed.block
        activations = [block.activation, block.project_activation]
        parts[placed.name] = make('block', activations, size, **_block(placed))
        size = _strided(size, placed.stride)
    channels = spec.blocks[-1].filters
    if spec.last is not None:
        parts['last'] = make('last', [spec.last.activation], size, **_conv(spec.last, channels))
        size, channels = _strided(size, spec.last.stride), spec.last.filters
    features = spec.features
    activation = 'linear' if features is None else features.activation
    parts['head'] = make(
        'head',
        [activation],
        size,
        in_channels=channels,
        expansion=0 if features is None else features.filters,
        filters=num_classes,
        activation=activation,
    )
    return parts


def overhead(scheme: Scheme) -> Part:
    """The part that is next to nothing: a 1×1 convolution of 8 channels on one pixel."""
    return Part(scheme, 'none', 'overhead')


def _conv(conv: ConvSpec, in_channels: int) -> dict[str, Any]:
    return {
        'kernel': conv.kernel,
        'stride': conv.stride,
        'in_channels': in_channels,
        'filters': conv.filters,
        'activation': conv.activation,
    }


def _block(placed: PlacedBlock) -> dict[str, Any]:
    block, se = placed.block, placed.block.se
    return {
        'kernel': block.kernel,
        'stride': placed.stride,
        'dilation': placed.dilation,
        'in_channels': placed.in_channels,
        'expansion': block.expansion,
        'filters': block.filters,
        'se_width': 0 if se is None else se.width(placed.in_channels, block.expansion),
        'gate': 'none' if se is None else se.gate,
        'activation': block.activation,
        'residual': placed.has_residual,
        'project_activation': block.project_activation,
    }


def _read(name: str, cell: str) -> Any:
    kind = _KINDS[name]
    if kind is bool:
        choices: dict[str, Any] = {'true': True, 'false': False}
    elif kind is int:
        if cell.isascii() and cell.isdigit():
            return int(cell)
        raise ValueError(f'{name} is {cell!r}, expected a whole number')
    else:
        choices = {choice: choice for choice in typing.get_args(kind)}
    if cell not in choices:
        raise ValueError(f'{name} is {cell!r}, expected one of {", ".join(choices)}')
    return choices[cell]


def _strided(size: Size, stride: int) -> Size:
    return -(-size[0] // stride), -(-size[1] // stride)
