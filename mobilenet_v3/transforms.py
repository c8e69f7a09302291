"""Pure functions from one network to another: width, output stride and the paper's ablations."""

import dataclasses
import math

from mobilenet_v3.spec import (
    Activation,
    BlockSpec,
    ConvSpec,
    ModelSpec,
    SqueezeExcite,
    make_divisible,
    place,
)


def widen(spec: ModelSpec, multiplier: float) -> ModelSpec:
    """Applies a width multiplier α to every layer.

    Output widths become make_divisible(α · out, 8). The expansion is relative to the *scaled* input,
    make_divisible(scaled_in · expansion / in, 8), as in the released code; rounding α · expansion
    directly gives other networks. Paper: §6.2, Fig. 7.

    Raises:
      ValueError: `multiplier` is not a positive number.
    """
    if not (multiplier > 0 and math.isfinite(multiplier)):
        raise ValueError(
            f'multiplier is {multiplier!r}; expected a width multiplier above 0, such as 0.75'
        )
    if multiplier == 1:
        return spec
    stem = _widen_conv(spec.stem, multiplier, 1)
    in_channels, scaled_in = spec.stem.filters, stem.filters
    blocks = []
    for block in spec.blocks:
        expansion = make_divisible(scaled_in * block.expansion / in_channels)
        if block.expansion == in_channels:
            expansion = scaled_in
        filters = make_divisible(multiplier * block.filters)
        blocks.append(_resized(block, expansion, filters))
        in_channels, scaled_in = block.filters, filters
    growth = scaled_in / in_channels
    return dataclasses.replace(
        spec,
        stem=stem,
        blocks=tuple(blocks),
        last=spec.last and _widen_conv(spec.last, multiplier, growth),
        features=spec.features and _widen_conv(spec.features, multiplier, growth),
    )


def _widen_conv(conv: ConvSpec, multiplier: float, input_growth: float) -> ConvSpec:
    factor = {
        'width': multiplier,
        'input': input_growth,
        'grow_only': max(1.0, multiplier),
    }[conv.scaling]
    if factor == 1:
        return conv
    return dataclasses.replace(conv, filters=make_divisible(factor * conv.filters))


def widen_backbone(spec: ModelSpec, multiplier: float) -> ModelSpec:
    """`widen` of a feature extractor: the last 1×1 convolution shrinks along with the blocks.

    Before a classifier V2's and MnasNet's 1280 channels stay below α = 1. Before a head they do not:
    the parameters of Table 6's rows at 0.35 and 0.5 are met with 448 and 640 only.
    """
    if multiplier < 1 and spec.last is not None and spec.last.scaling == 'grow_only':
        spec = dataclasses.replace(spec, last=dataclasses.replace(spec.last, scaling='width'))
    return widen(spec, multiplier)


def halve_tail(spec: ModelSpec, *, first_expansion: bool) -> ModelSpec:
    """Halves the channels of the blocks at stride 32 and of the convolution after them.

    The last layers of MobileNetV3 are made to tell 1000 classes, more than detection and
    segmentation ask for (Paper: §6.3 and §6.4).

    Args:
      spec: the network, at its final width.
      first_expansion: whether the expansion of the first of these blocks is halved, too. False for
        detection, whose head stands on it (C4 keeps its width; † of Table 6); True for segmentation
        (RF2 of Tables 7 and 8).

    Raises:
      ValueError: no block has stride 32.
    """
    placed = place(spec)
    tail = [i for i, at in enumerate(placed) if at.nominal_stride >= 32]
    if not tail:
        raise ValueError(f'{spec.name} has no block at stride 32, so no tail to halve')
    blocks = list(spec.blocks)
    in_channels = placed[tail[0]].in_channels
    for i in tail:
        block = blocks[i]
        expansion = block.expansion
        if not placed[i].has_expansion:
            expansion = in_channels
        elif i > tail[0] or first_expansion:
            expansion = make_divisible(expansion / 2)
        in_channels = make_divisible(block.filters / 2)
        blocks[i] = _resized(block, expansion, in_channels)
    last = spec.last and dataclasses.replace(
        spec.last, filters=make_divisible(spec.last.filters / 2)
    )
    return dataclasses.replace(spec, blocks=tuple(blocks), last=last)


def without_wide_last(spec: ModelSpec) -> ModelSpec:
    """No last 1×1 convolution where it is made for a classifier: V2's and MnasNet's 1280 channels.

    Segmentation stands on what is before it (Paper: §6.4; the parameters of V2's rows in Table 7).
    V3's last convolution, relative to its input, stays.
    """
    wide = spec.last is not None and spec.last.scaling != 'input'
    return dataclasses.replace(spec, last=None) if wide else spec


def with_output_stride(spec: ModelSpec, output_stride: int) -> ModelSpec:
    """Keeps the resolution at input / `output_stride` by atrous convolution (Paper: §6.4, Table 8)."""
    return dataclasses.replace(spec, output_stride=output_stride)


def with_features(spec: ModelSpec, filters: int) -> ModelSpec:
    """Sets the width of the features after pooling: 1280 in the paper, 1024 in the released Small."""
    if spec.features is None:
        raise ValueError(f'{spec.name} has no features after pooling, so no width to set')
    return dataclasses.replace(spec, features=dataclasses.replace(spec.features, filters=filters))


def minimalistic(spec: ModelSpec) -> ModelSpec:
    """No squeeze-and-excite, no h-swish, every kernel 3×3: the released "minimalistic" form."""
    blocks = tuple(dataclasses.replace(block, kernel=3) for block in spec.blocks)
    return relu_only(without_se(dataclasses.replace(spec, blocks=blocks)))


def relu_only(spec: ModelSpec) -> ModelSpec:
    """ReLU where the network has h-swish (Paper: §6.2.1, Table 5, row "ReLU")."""

    def relu(conv: ConvSpec) -> ConvSpec:
        return dataclasses.replace(conv, activation=_to_relu(conv.activation))

    blocks = tuple(
        dataclasses.replace(block, activation=_to_relu(block.activation)) for block in spec.blocks
    )
    return dataclasses.replace(
        spec,
        stem=relu(spec.stem),
        blocks=blocks,
        last=spec.last and relu(spec.last),
        features=spec.features and relu(spec.features),
    )


def hard_swish_from(spec: ModelSpec, channels: int) -> ModelSpec:
    """h-swish in every layer from the first one with at least `channels` channels on.

    Paper: §6.2.1, Table 5, "h-swish @N": N is the number of channels of the first layer with
    h-swish. A layer's channels are its output's: a block's are those of its row in Table 1, so that
    @80 is MobileNetV3-Large itself; the stem, which the paper gives h-swish in every form of V3
    (§5.1), keeps it.
    """
    if channels < 1:
        raise ValueError(
            f'h-swish from {channels} channels; expected at least 1, such as 16 or 112'
        )
    blocks = []
    reached = False
    for block in spec.blocks:
        reached = reached or block.filters >= channels
        activation: Activation = 'hard_swish' if reached else _to_relu(block.activation)
        blocks.append(dataclasses.replace(block, activation=activation))
    return dataclasses.replace(spec, blocks=tuple(blocks))


def original_last_stage(spec: ModelSpec) -> ModelSpec:
    """The last stage before it was made efficient (Paper: §5.1, Fig. 5, top).

    … 1×1 to 960 → depthwise 3×3 → 1×1 to 320 → 1×1 to 1280 → pool → logits. 960 and 1280 are those of
    the given network, and 320 is a third of its 960, so the function also serves other widths.
    """
    if spec.last is None or spec.features is None:
        raise ValueError(f'{spec.name} has no efficient last stage to undo')
    block = BlockSpec(
        kernel=3,
        expansion=spec.last.filters,
        filters=make_divisible(spec.last.filters / 3),
        se=None,
        activation=spec.last.activation,
        stride=1,
    )
    last = dataclasses.replace(spec.features, batch_norm=True)
    return dataclasses.replace(spec, blocks=(*spec.blocks, block), last=last, features=None)


def with_stem(spec: ModelSpec, filters: int, activation: Activation | None = None) -> ModelSpec:
    """Another width, and where given another activation, of the first convolution.

    Paper: §5.1: 16 filters with h-swish are as accurate as 32 with ReLU or swish. The first block
    works on the stem's output: where it has no expansion convolution, its depthwise widens along.
    """
    stem = dataclasses.replace(
        spec.stem, filters=filters, activation=activation or spec.stem.activation
    )
    first = spec.blocks[0]
    if first.expansion == spec.stem.filters:
        first = dataclasses.replace(first, expansion=filters)
    return dataclasses.replace(spec, stem=stem, blocks=(first, *spec.blocks[1:]))


def without_se(spec: ModelSpec) -> ModelSpec:
    """No squeeze-and-excite (Paper: §6.2.1, Fig. 9)."""
    blocks = tuple(dataclasses.replace(block, se=None) for block in spec.blocks)
    return dataclasses.replace(spec, blocks=blocks)


def se_of_input(spec: ModelSpec) -> ModelSpec:
    """Squeeze width relative to the bottleneck, as in MnasNet, instead of the expansion (§5.3).

    Only the width changes; the gate stays the network's own, so that one thing is ablated at a time.
    """

    def narrow(se: SqueezeExcite | None) -> SqueezeExcite | None:
        return se and dataclasses.replace(se, relative_to='input', divisor=1, squeezed=None)

    blocks = tuple(dataclasses.replace(block, se=narrow(block.se)) for block in spec.blocks)
    return dataclasses.replace(spec, blocks=blocks)


def _resized(block: BlockSpec, expansion: int, filters: int) -> BlockSpec:
    """The block with other widths; a squeeze width of its own keeps its ratio to the expansion."""
    se = block.se
    if se is not None and se.squeezed is not None:
        squeezed = make_divisible(se.squeezed * expansion / block.expansion, se.divisor)
        se = dataclasses.replace(se, squeezed=squeezed)
    return dataclasses.replace(block, expansion=expansion, filters=filters, se=se)


def _to_relu(activation: Activation) -> Activation:
    return 'relu' if activation == 'hard_swish' else activation
