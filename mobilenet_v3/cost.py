"""Parameters and multiply-adds of a network, layer by layer, without TensorFlow."""

import dataclasses

from mobilenet_v3.spec import (
    ConvSpec,
    ModelSpec,
    PlacedBlock,
    Shape,
    Size,
    endpoints,
    explicit_padding,
    place,
    strided_side,
)
from mobilenet_v3.tables import get_spec
from mobilenet_v3.transforms import widen, widen_backbone, with_output_stride


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one convolution costs, its BN included.

    Attributes:
      output: height and width of its output.
      params: trainable parameters: kernel, bias, BN scale and offset.
      statistics: BN's moving mean and variance and constants, which Keras counts among a model's
        parameters.
      madds: multiply-adds of the convolution. BN (folded), activations, pooling and the products
        of squeeze-and-excite are left out, as in the paper.
    """

    name: str
    kernel: Size
    channels: int
    output: Size
    params: int
    statistics: int
    madds: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The layers of a network and their sums."""

    layers: tuple[LayerCost, ...]

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(layer.params for layer in self.layers)

    @property
    def total_params(self) -> int:
        """Parameters with BN statistics: what Keras's `count_params` gives."""
        return self.params + sum(layer.statistics for layer in self.layers)

    @property
    def madds(self) -> int:
        """Multiply-adds of one image."""
        return sum(layer.madds for layer in self.layers)


def count(
    model: str | ModelSpec,
    *,
    multiplier: float = 1.0,
    resolution: int | Size = 224,
    num_classes: int = 1000,
    input_channels: int = 3,
    output_stride: int | None = None,
) -> Cost:
    """Counts a classification network.

    Args:
      model: a name of `SPECS` or a spec.
      multiplier: width multiplier α > 0.
      resolution: side of a square input, or (height, width), at least 32.
      num_classes: outputs of the logits.
      input_channels: 3 or 1.
      output_stride: 32, 16 or 8; the spec's own where it is not given.

    Raises:
      ValueError: an unknown name or a value out of range.
    """
    spec = resolve(model, multiplier, output_stride)
    layers, _ = backbone_layers(spec, check_resolution(resolution), input_channels)
    channels = layers[-1].channels
    if spec.features is not None:
        layers.append(_conv_of('features', spec.features, channels, (1, 1)))
        channels = spec.features.filters
    layers.append(conv_layer('logits', (1, 1), channels, num_classes, (1, 1), batch_norm=False))
    return Cost(tuple(layers))


def endpoint_shapes(
    spec: ModelSpec, resolution: int | Size, input_channels: int = 3
) -> dict[str, Shape]:
    """Shapes [H, W, C] of the feature maps C1 … C5."""
    _, outputs = backbone_layers(spec, check_resolution(resolution), input_channels)
    return {name: outputs[source] for name, source in endpoints(spec).items()}


def resolve(
    model: str | ModelSpec, multiplier: float = 1.0, output_stride: int | None = None
) -> ModelSpec:
    """The spec that a name, a width multiplier and an output stride stand for."""
    spec = get_spec(model) if isinstance(model, str) else model
    spec = widen(spec, multiplier)
    return spec if output_stride is None else with_output_stride(spec, output_stride)


def resolve_backbone(
    model: str | ModelSpec, multiplier: float = 1.0, output_stride: int | None = None
) -> ModelSpec:
    """`resolve` of a backbone under other heads than a classifier; see `widen_backbone`."""
    spec = get_spec(model) if isinstance(model, str) else model
    return resolve(widen_backbone(spec, multiplier), output_stride=output_stride)


def check_resolution(resolution: int | Size) -> Size:
    """(height, width) of a resolution that is one number or two.

    Raises:
      ValueError: a side is below 32, the stride of the last feature map.
    """
    sides = tuple(resolution) if isinstance(resolution, list | tuple) else (resolution, resolution)
    if len(sides) != 2 or any(not isinstance(s, int) or s < 32 for s in sides):
        raise ValueError(
            f'resolution is {resolution!r}; expected one number or (height, width) of at least 32: '
            'the network divides its input by 32'
        )
    return sides[0], sides[1]


def backbone_layers(
    spec: ModelSpec, resolution: Size, input_channels: int
) -> tuple[list[LayerCost], dict[str, Shape]]:
    """Costs of the layers up to pooling, and the [H, W, C] of every named output."""
    layers = []
    if spec.normalize is not None:
        # Its weights are constants: no parameters, but part of what an image costs.
        layers.append(_normalize(input_channels, resolution))
    zeros = explicit_padding(spec, spec.stem.kernel, spec.stem.stride, stem=True)
    size = _strided(resolution, spec.stem.kernel, spec.stem.stride, zeros)
    layers.append(_conv_of('stem', spec.stem, input_channels, size))
    outputs = {'stem': (*size, spec.stem.filters)}
    for placed in place(spec):
        block = placed.block
        outputs[f'{placed.name}/expand'] = (*size, block.expansion)
        before = size
        zeros = explicit_padding(spec, block.kernel, placed.stride)
        size = _strided(before, block.kernel, placed.stride, zeros)
        layers += _block(placed, before, size)
        outputs[f'{placed.name}/depthwise'] = (*size, block.expansion)
        outputs[placed.name] = (*size, block.filters)
    if spec.last is not None:
        layers.append(_conv_of('last', spec.last, spec.blocks[-1].filters, size))
    outputs['last'] = (*size, layers[-1].channels)
    return layers, outputs


def _block(placed: PlacedBlock, before: Size, size: Size) -> list[LayerCost]:
    """Costs of a block whose input is `before` and whose output is `size`."""
    block, name = placed.block, placed.name
    layers = []
    if placed.has_expansion:
        layers.append(
            conv_layer(f'{name}/expand', (1, 1), placed.in_channels, block.expansion, before)
        )
    kernel = (block.kernel, block.kernel)
    layers.append(conv_layer(f'{name}/depthwise', kernel, 1, block.expansion, size))
    if block.se is not None:
        squeezed = block.se.width(placed.in_channels, block.expansion)
        for part, fan_in, out in (
            ('squeeze', block.expansion, squeezed),
            ('excite', squeezed, block.expansion),
        ):
            layers.append(
                conv_layer(f'{name}/se/{part}', (1, 1), fan_in, out, (1, 1), batch_norm=False)
            )
    layers.append(conv_layer(f'{name}/project', (1, 1), block.expansion, block.filters, size))
    return layers


def _conv_of(name: str, conv: ConvSpec, in_channels: int, output: Size) -> LayerCost:
    kernel = (conv.kernel, conv.kernel)
    return conv_layer(name, kernel, in_channels, conv.filters, output, batch_norm=conv.batch_norm)


def conv_layer(
    name: str,
    kernel: Size,
    fan_in: int,
    channels: int,
    output: Size,
    *,
    batch_norm: bool = True,
) -> LayerCost:
    """Cost of one convolution; `fan_in` is the number of input channels each output channel reads."""
    weights = kernel[0] * kernel[1] * fan_in * channels
    # Without BN a convolution has a bias; with BN the scale and offset stand in for it.
    affine = 2 * channels if batch_norm else channels
    statistics = 2 * channels if batch_norm else 0
    madds = weights * output[0] * output[1]
    return LayerCost(name, kernel, channels, output, weights + affine, statistics, madds)


def _normalize(channels: int, size: Size) -> LayerCost:
    madds = channels * size[0] * size[1]
    return LayerCost('normalize', (1, 1), channels, size, 0, 2 * channels, madds)


def _strided(size: Size, kernel: int, stride: int, zeros: tuple[int, int] | None) -> Size:
    height, width = (strided_side(side, kernel, stride, zeros) for side in size)
    return height, width
