"""What a network is, as frozen data, and the rules that read it.

A `ModelSpec` holds resolved channel counts: what stands in a row is what is built. Everything that
changes a network (a width multiplier, an ablation, a search step) is a pure function from spec to spec.
"""

import dataclasses
from typing import Literal

Activation = Literal['linear', 'relu', 'relu6', 'hard_swish']
ACTIVATIONS: tuple[Activation, ...] = ('linear', 'relu', 'relu6', 'hard_swish')
Gate = Literal['hard_sigmoid', 'sigmoid']
Padding = Literal['same', 'symmetric', 'after']
PADDINGS: tuple[Padding, ...] = ('same', 'symmetric', 'after')
OUTPUT_STRIDES = (8, 16, 32)
Size = tuple[int, int]  # height, width
Shape = tuple[int, int, int]  # height, width, channels


def make_divisible(value: float, divisor: int = 8) -> int:
    """Rounds a channel count to the nearest multiple of `divisor`, never below 90 % of `value`.

    Paper: released code, `make_divisible`; at least `divisor`.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


@dataclasses.dataclass(frozen=True)
class SqueezeExcite:
    """Squeeze-and-excite between the depthwise convolution and the projection (Paper: §5.3, Fig. 4).

    Attributes:
      ratio: squeeze width as a fraction of the width it is relative to, in (0, 1].
      relative_to: 'expansion' in MobileNetV3, 'input' (the bottleneck) in MnasNet.
      gate: the non-linearity of the gate; V3's is the hard sigmoid of §5.2.
      divisor: the squeeze width is a multiple of it.
      squeezed: the squeeze width itself, of weights whose width is not the ratio's; or None.
      before_activation: whether it stands before the activation of the depthwise convolution, in
        blocks that expand (d-li14's PyTorch networks), instead of after it.
    """

    ratio: float = 0.25
    relative_to: Literal['expansion', 'input'] = 'expansion'
    gate: Gate = 'hard_sigmoid'
    divisor: int = 8
    squeezed: int | None = None
    before_activation: bool = False

    def __post_init__(self) -> None:
        _require(0 < self.ratio <= 1, 'ratio', self.ratio, 'a fraction in (0, 1]')
        _require_one_of(self.relative_to, 'relative_to', ('expansion', 'input'))
        _require_one_of(self.gate, 'gate', ('hard_sigmoid', 'sigmoid'))
        _require(self.divisor >= 1, 'divisor', self.divisor, 'at least 1')
        if self.squeezed is not None:
            _require(self.squeezed >= 1, 'squeezed', self.squeezed, 'at least 1, or null')

    def width(self, in_channels: int, expansion: int) -> int:
        """Channels of the squeezed layer."""
        if self.squeezed is not None:
            return self.squeezed
        wide = expansion if self.relative_to == 'expansion' else in_channels
        if self.divisor == 1:
            return max(1, int(wide * self.ratio))  # MnasNet truncates
        return make_divisible(wide * self.ratio, self.divisor)


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """A plain convolution: the stem, the last 1×1 before pooling, the features after it.

    Attributes:
      scaling: how a width multiplier α reaches it. 'width': α · filters. 'input': it keeps its ratio
        to its input (V3's last convolution is 6 × the last block). 'grow_only': α · filters for
        α > 1 and unchanged below (V2's and V3's 1280).
    """

    kernel: int
    filters: int
    activation: Activation
    stride: int = 1
    batch_norm: bool = True
    scaling: Literal['width', 'input', 'grow_only'] = 'width'

    def __post_init__(self) -> None:
        _require_conv(self.kernel, self.stride, self.activation)
        _require(self.filters >= 1, 'filters', self.filters, 'at least 1')
        _require_one_of(self.scaling, 'scaling', ('width', 'input', 'grow_only'))


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """One inverted residual block: expand, depthwise, squeeze-and-excite, project (Paper: Fig. 3, 4).

    Attributes:
      kernel: side of the depthwise kernel.
      expansion: channels of the expansion. Equal to the input's channels, the block has no
        expansion convolution (V3's first block, V1's every block).
      filters: output channels.
      residual: whether input and output are added where their shapes allow it.
      project_activation: 'linear' but in V1, whose pointwise convolution is followed by ReLU6.
    """

    kernel: int
    expansion: int
    filters: int
    se: SqueezeExcite | None
    activation: Activation
    stride: int
    residual: bool = True
    project_activation: Activation = 'linear'

    def __post_init__(self) -> None:
        _require_conv(self.kernel, self.stride, self.activation)
        _require(self.expansion >= 1, 'expansion', self.expansion, 'at least 1')
        _require(self.filters >= 1, 'filters', self.filters, 'at least 1')
        _require_one_of(self.project_activation, 'project_activation', ACTIVATIONS)


@dataclasses.dataclass(frozen=True)
class Normalize:
    """Images as a network from elsewhere was trained on them: (pixel / 255 - mean) / std.

    It becomes a frozen 1×1 depthwise convolution before the stem, of images in [-1, 1].

    Attributes:
      mean, std: of each input channel, of pixels in [0, 1].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(len(self.mean) in (1, 3), 'mean', self.mean, 'a number for each input channel')
        _require(len(self.std) == len(self.mean), 'std', self.std, 'as many numbers as mean')
        _require(all(std > 0 for std in self.std), 'std', self.std, 'numbers above 0')

    def scale_and_shift(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What images in [-1, 1] are multiplied by, and what is added then."""
        pairs = list(zip(self.mean, self.std, strict=True))
        return tuple(0.5 / std for _, std in pairs), tuple(
            (0.5 - mean) / std for mean, std in pairs
        )


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A whole classification network; detection and segmentation take its backbone.

    Attributes:
      stem: the first convolution.
      blocks: the inverted residuals in order.
      last: the 1×1 convolution before pooling, or None (V1).
      features: the 1×1 convolution after pooling (V3's efficient last stage, §5.1), or None.
      output_stride: input resolution / resolution of the last block; below 32, later strides turn
        into dilation (Paper: §6.4).
      dropout: rate before the logits. The paper's "dropout of 0.8" is a keep probability.
      batch_norm_momentum, batch_norm_epsilon: Paper: §6.1.1, "average decay of 0.99".
      padding: zeros around what a strided convolution sees: 'same' as TensorFlow puts them (on the
        far side, where they are odd), 'symmetric' k // 2 on every side (PyTorch), or 'after', on the
        far side only, in the blocks (Keras's V1). Strides of 1 have no choice.
      normalize: of weights that were trained on other than images in [-1, 1].
    """

    name: str
    stem: ConvSpec
    blocks: tuple[BlockSpec, ...]
    last: ConvSpec | None
    features: ConvSpec | None
    output_stride: int = 32
    dropout: float = 0.2
    batch_norm_momentum: float = 0.99
    batch_norm_epsilon: float = 1e-3
    padding: Padding = 'same'
    normalize: Normalize | None = None

    def __post_init__(self) -> None:
        _require_one_of(self.padding, 'padding', PADDINGS)
        _require(len(self.blocks) > 0, 'blocks', len(self.blocks), 'at least one block')
        _require_one_of(self.output_stride, 'output_stride', OUTPUT_STRIDES)
        _require(0 <= self.dropout < 1, 'dropout', self.dropout, 'a rate in [0, 1)')
        _require(
            0 < self.batch_norm_momentum < 1,
            'batch_norm_momentum',
            self.batch_norm_momentum,
            'in (0, 1)',
        )
        _require(
            self.batch_norm_epsilon > 0, 'batch_norm_epsilon', self.batch_norm_epsilon, 'above 0'
        )
        in_channels = self.stem.filters
        for i, block in enumerate(self.blocks):
            if block.expansion < in_channels:
                raise ValueError(
                    f'blocks[{i}].expansion is {block.expansion}, narrower than its input of '
                    f'{in_channels} channels; an inverted residual expands: set it to at least '
                    f'{in_channels} (equal means no expansion convolution)'
                )
            in_channels = block.filters


@dataclasses.dataclass(frozen=True)
class PlacedBlock:
    """A block where it stands in its network.

    Attributes:
      name: 'bneck_1', 'bneck_2', …: 1-based, as the paper counts.
      stride, dilation: those in effect, after `output_stride` has turned strides into dilation.
      nominal_stride: input resolution / resolution of the block's output at output stride 32.
    """

    name: str
    block: BlockSpec
    in_channels: int
    stride: int
    dilation: int
    nominal_stride: int

    @property
    def has_expansion(self) -> bool:
        """Whether there is a 1×1 expansion convolution."""
        return self.block.expansion != self.in_channels

    @property
    def has_residual(self) -> bool:
        """Whether the input is added to the output (Paper: §3, same shape on both sides)."""
        same_shape = self.block.stride == 1 and self.in_channels == self.block.filters
        return self.block.residual and same_shape


def place(spec: ModelSpec) -> tuple[PlacedBlock, ...]:
    """Follows stride, dilation and channels through the blocks of `spec`."""
    placed = []
    in_channels = spec.stem.filters
    nominal = current = spec.stem.stride
    dilation = 1
    for i, block in enumerate(spec.blocks):
        nominal *= block.stride
        # A stride beyond the output stride is not taken: the blocks after it dilate instead.
        stride = block.stride if current * block.stride <= spec.output_stride else 1
        current *= stride
        placed.append(PlacedBlock(f'bneck_{i + 1}', block, in_channels, stride, dilation, nominal))
        dilation *= block.stride // stride
        in_channels = block.filters
    return tuple(placed)


def explicit_padding(
    spec: ModelSpec, kernel: int, stride: int, *, stem: bool = False
) -> tuple[int, int] | None:
    """Rows and columns of zeros before and after a convolution's input; None: as 'same' puts them."""
    if stride == 1 or spec.padding == 'same' or (stem and spec.padding == 'after'):
        return None
    return (kernel // 2, kernel // 2) if spec.padding == 'symmetric' else (0, kernel // 2)


def strided_side(side: int, kernel: int, stride: int, padding: tuple[int, int] | None) -> int:
    """Height or width of what a convolution makes of `side` rows or columns."""
    if padding is None:
        return -(-side // stride)
    return (side + sum(padding) - kernel) // stride + 1


def endpoints(spec: ModelSpec) -> dict[str, str]:
    """Names the feature maps C1 … C5 that heads attach to.

    C_k is the last feature map at stride 2^k before the network goes to stride 2^(k+1): the
    expansion of the next strided block, before its depthwise convolution. C5 is the layer before
    pooling. Paper: §6.3; with `output_stride` < 32 the names keep their nominal level.

    Returns:
      'C1' … 'C5' to an output of the backbone, such as {'C4': 'bneck_13/expand', 'C5': 'last'};
      'last' is what is pooled, also where the network has no convolution of that name.
    """
    names = {}
    previous = 'stem'
    nominal = spec.stem.stride
    for placed in place(spec):
        if placed.nominal_stride > nominal:
            source = f'{placed.name}/expand' if placed.has_expansion else previous
            names[f'C{nominal.bit_length() - 1}'] = source
            nominal = placed.nominal_stride
        previous = placed.name
    names[f'C{nominal.bit_length() - 1}'] = 'last'
    return names


def _require(holds: bool, field: str, came: object, expected: str) -> None:
    if not holds:
        raise ValueError(f'{field} is {came!r}; expected {expected}')


def _require_one_of(came: object, field: str, known: tuple) -> None:
    _require(came in known, field, came, 'one of ' + ', '.join(str(k) for k in known))


def _require_conv(kernel: int, stride: int, activation: str) -> None:
    _require(kernel >= 1 and kernel % 2 == 1, 'kernel', kernel, 'an odd number')
    _require(stride in (1, 2), 'stride', stride, '1 or 2')
    _require_one_of(activation, 'activation', ACTIVATIONS)
