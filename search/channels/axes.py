"""Which channels the layers of a network share: what must shrink together."""

import dataclasses

from mobilenet_v3.spec import ModelSpec, place
from train.weights.imported import slots

IMAGE = 'image'
CLASSES = 'classes'


@dataclasses.dataclass(frozen=True)
class LayerAxes:
    """The channels that a layer reads and makes, by names; two layers share those of one name."""

    reads: str
    makes: str


@dataclasses.dataclass(frozen=True)
class Axes:
    """The channels of a network.

    Attributes:
      layers: of each layer with weights, by its name.
      sizes: how many channels each name stands for.
    """

    layers: dict[str, LayerAxes]
    sizes: dict[str, int]


def axes_of(spec: ModelSpec) -> Axes:
    """Follows the channels through a classification network.

    A residual adds outputs, so that blocks along it have one name for theirs; a depthwise
    convolution makes the channels that it reads.
    """
    layers: dict[str, LayerAxes] = {}
    sizes = {'stem': spec.stem.filters}
    current = 'stem'
    layers['stem'] = LayerAxes(IMAGE, current)
    for at in place(spec):
        wide = f'{at.name}/wide' if at.has_expansion else current
        sizes[wide] = at.block.expansion
        if at.has_expansion:
            layers[f'{at.name}/expand'] = LayerAxes(current, wide)
        layers[f'{at.name}/depthwise'] = LayerAxes(wide, wide)
        if at.block.se is not None:
            squeezed = f'{at.name}/squeezed'
            sizes[squeezed] = at.block.se.width(at.in_channels, at.block.expansion)
            layers[f'{at.name}/se/squeeze'] = LayerAxes(wide, squeezed)
            layers[f'{at.name}/se/excite'] = LayerAxes(squeezed, wide)
        if not at.has_residual:
            current = at.name
        sizes[current] = at.block.filters
        layers[f'{at.name}/project'] = LayerAxes(wide, current)
    for name, conv in (('last', spec.last), ('features', spec.features)):
        if conv is not None:
            sizes[name] = conv.filters
            layers[name] = LayerAxes(current, name)
            current = name
    layers['logits'] = LayerAxes(current, CLASSES)
    named = {name: layers[_group(name)] for name, _ in slots(spec)}
    return Axes(named, sizes)


def _group(name: str) -> str:
    """'bneck_1/expand' of 'bneck_1/expand/conv' and of its '/bn'; squeeze and excite are their own."""
    return name.removesuffix('/conv').removesuffix('/bn')
