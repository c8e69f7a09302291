"""The network that weights are of: a spec whose widths are those of the arrays.

Width formulas differ between the definitions of a network (rounding of expansions, stem and head at
small multipliers, squeeze widths), so widths are read from shapes. What makes the network that one
and no other is checked instead: its layers, kernels and the width of every block's output.
"""

import dataclasses

from mobilenet_v3.spec import BlockSpec, ConvSpec, ModelSpec, PlacedBlock, place
from mobilenet_v3.tables import SPECS
from mobilenet_v3.transforms import widen
from train.weights.imported import HEAD, OTHER_HEADS, Arrays, Imported, Layers, slots

# Multipliers in which weights are published, for the hint at another network.
_MULTIPLIERS = (1.0, 0.75, 0.5, 0.35, 0.25, 1.25, 1.3, 1.4)
_MOST_MISFITS = 12  # are listed; the number of the others is told


class MisfitError(ValueError):
    """Weights are not of a network; `reasons` are the differences."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__('; '.join(reasons))
        self.reasons = reasons


def fit(spec: ModelSpec, imported: Imported) -> tuple[ModelSpec, Layers]:
    """The spec of the weights, and the weights by our layers' names.

    Args:
      spec: the network that was asked for.
      imported: with or without its head.

    Returns:
      `spec` with the widths of the arrays and what their definition does otherwise; the head's
      widths are the spec's own where the source has no head.

    Raises:
      ValueError: the weights are of another network; the message lists what differs and names the
        networks that would fit.
    """
    try:
        return _fit(spec, imported)
    except MisfitError as e:
        listed = '; '.join(e.reasons[:_MOST_MISFITS])
        more = len(e.reasons) - _MOST_MISFITS
        others = f' (and {more} more)' if more > 0 else ''
        raise ValueError(
            f'the {imported.kind} does not fit the network {spec.name}: {listed}{others}. '
            + _hint(imported)
        ) from None


def _hint(imported: Imported) -> str:
    fitting = []
    for name, spec in SPECS.items():
        for multiplier in _MULTIPLIERS:
            try:
                fitted, _ = _fit(widen(spec, multiplier), imported)
            except MisfitError:
                continue
            named = spec.features is None or fitted.features == widen(spec, multiplier).features
            call = f'--model={name}' + (f' --multiplier={multiplier:g}' * (multiplier != 1))
            fitting.append((not named, call))
            break
    if not fitting:
        return 'No network of SPECS fits; give a spec file (.json) as --model'
    return 'It fits ' + ' or '.join(call for _, call in sorted(fitting)[:2])


def _fit(spec: ModelSpec, imported: Imported) -> tuple[ModelSpec, Layers]:
    layers = imported.layers if imported.by_kind is None else _assign(spec, imported.by_kind)
    reasons = _wrong_layers(spec, layers)
    if not reasons:
        reasons = _Shapes(spec, layers).reasons
    if reasons:
        raise MisfitError(reasons)
    if imported.spec is not None:  # a run of ours knows all of itself, but not what stands on it
        theirs = dataclasses.replace(
            imported.spec,
            dropout=spec.dropout,
            output_stride=spec.output_stride,
            last=spec.last and imported.spec.last,
        )
        return theirs, layers
    definition = imported.definition
    blocks = tuple(_block(placed, layers, definition.gate_first) for placed in place(spec))
    fitted = dataclasses.replace(
        spec,
        stem=_conv(spec.stem, layers, 'stem'),
        blocks=blocks,
        last=spec.last and _conv(spec.last, layers, 'last'),
        features=spec.features and _conv(spec.features, layers, 'features'),
        padding=definition.padding or spec.padding,
        batch_norm_epsilon=definition.batch_norm_epsilon or spec.batch_norm_epsilon,
        normalize=definition.normalize or spec.normalize,
    )
    return fitted, layers


def _assign(spec: ModelSpec, by_kind: dict) -> Layers:
    """Names for layers that have none, by their order."""
    layers: Layers = {}
    reasons = []
    folded = not by_kind['norm']
    for kind in ('conv', 'depthwise', 'norm'):
        names = [name for name, of in slots(spec) if of == kind]
        found = by_kind[kind]
        backbone = [name for name in names if name not in HEAD]
        if kind == 'norm' and folded:
            continue
        if len(found) not in (len(names), len(backbone)):
            reasons.append(f'it has {len(found)} {_WORDS[kind]}, {spec.name} has {len(names)}')
            continue
        layers |= dict(zip(names, found, strict=False))
    if reasons:
        raise MisfitError(reasons)
    return layers


_WORDS = {
    'conv': 'convolutions',
    'depthwise': 'depthwise convolutions',
    'norm': 'batch normalisations',
}


def _wrong_layers(spec: ModelSpec, layers: Layers) -> list[str]:
    """Layers that one side has and the other has not."""
    ours = {name: kind for name, kind in slots(spec) if name not in HEAD}
    reasons = []
    for name, kind in ours.items():
        if name in layers:
            continue
        # A folded batch normalisation has left the convolution a bias.
        folded = kind == 'norm' and 'bias' in layers.get(name.removesuffix('bn') + 'conv', {})
        if not folded:
            reasons.append(f'nothing in it fills {name}')
    known = {*ours, *(HEAD if spec.features is not None else HEAD[2:])}
    if spec.last is None:  # segmentation leaves V2's out; see `transforms.without_wide_last`
        known |= {'last/conv', 'last/bn'}
    # Another head says nothing of the network under it.
    strange = (x for x in layers if x not in known and not x.startswith(OTHER_HEADS))
    reasons += [f'{spec.name} has no {name}' for name in strange]
    if spec.features is not None and ('features/conv' in layers) != ('logits/conv' in layers):
        here, there = sorted(('features/conv', 'logits/conv'), key=lambda name: name not in layers)
        reasons.append(f'it has {here} and no {there}: half a head')
    return reasons


class _Shapes:
    """Follows the channels through the arrays and notes what cannot be this network."""

    def __init__(self, spec: ModelSpec, layers: Layers) -> None:
        self._layers = layers
        self.reasons: list[str] = []
        channels = self._conv('stem/conv', spec.stem.kernel, None)
        for placed in place(spec):
            channels = self._block(placed, channels)
        if 'last/conv' in layers:
            channels = self._conv('last/conv', spec.last.kernel if spec.last else 1, channels)
        if 'logits/conv' in layers:
            if spec.features is not None:
                channels = self._conv('features/conv', 1, channels)
            self._conv('logits/conv', 1, channels)

    def _block(self, placed: PlacedBlock, channels: int) -> int:
        name, block = placed.name, placed.block
        wide = channels
        if placed.has_expansion:
            wide = self._conv(f'{name}/expand/conv', 1, channels)
            if wide <= channels:
                self.reasons.append(f'{name} expands {channels} channels to {wide}: not more')
        self._depthwise(f'{name}/depthwise/conv', block.kernel, wide)
        if block.se is not None:
            squeezed = self._conv(f'{name}/se/squeeze', 1, wide)
            self._conv(f'{name}/se/excite', 1, squeezed, wide)
        return self._conv(f'{name}/project/conv', 1, wide, block.filters)

    def _conv(self, name: str, side: int, channels: int | None, filters: int | None = None) -> int:
        """Checks a convolution; returns its filters."""
        shape = self._shape(name)
        expected = (side, side, channels or shape[2], filters or shape[3])
        return self._check(name, shape, expected)

    def _depthwise(self, name: str, side: int, channels: int) -> None:
        self._check(name, self._shape(name), (side, side, channels, 1))

    def _shape(self, name: str) -> tuple[int, ...]:
        kernel = self._layers[name].get('kernel')
        shape = () if kernel is None else kernel.shape
        return shape if len(shape) == 4 else (0, 0, 0, 0)

    def _check(self, name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> int:
        depthwise = name.endswith('depthwise/conv')
        channels = shape[2] if depthwise else shape[3]
        if shape != expected:
            self.reasons.append(f'{name} is {list(shape)}, expected {list(expected)}')
            return channels
        norm = self._layers.get(name.removesuffix('conv') + 'bn', {}) if '/se/' not in name else {}
        for array in ('bias', 'gamma', 'beta', 'mean', 'variance'):
            values = (self._layers[name] if array == 'bias' else norm).get(array)
            if values is not None and values.shape != (channels,):
                self.reasons.append(f'{array} of {name} is {list(values.shape)}, not [{channels}]')
        return channels


def _filters(layers: Layers, name: str) -> int:
    return int(layers[name]['kernel'].shape[3])


def _conv(conv: ConvSpec, layers: Layers, name: str) -> ConvSpec:
    kernel: Arrays | None = layers.get(f'{name}/conv')
    if kernel is None:  # a source without its head
        return conv
    folded = 'stem/bn' not in layers  # then any of its convolutions may have had one
    batch_norm = conv.batch_norm if folded else f'{name}/bn' in layers
    return dataclasses.replace(
        conv, filters=_filters(layers, f'{name}/conv'), batch_norm=batch_norm
    )


def _block(placed: PlacedBlock, layers: Layers, gate_first: bool) -> BlockSpec:
    block, name = placed.block, placed.name
    expansion = int(layers[f'{name}/depthwise/conv']['kernel'].shape[2])
    filters = _filters(layers, f'{name}/project/conv')
    se = block.se
    if se is not None:
        squeezed = _filters(layers, f'{name}/se/squeeze')
        inputs = f'{name}/expand/conv' if placed.has_expansion else f'{name}/depthwise/conv'
        in_channels = int(layers[inputs]['kernel'].shape[2])
        se = dataclasses.replace(
            se, squeezed=None, before_activation=gate_first or se.before_activation
        )
        if se.width(in_channels, expansion) != squeezed:
            se = dataclasses.replace(se, squeezed=squeezed)
    return dataclasses.replace(block, expansion=expansion, filters=filters, se=se)
