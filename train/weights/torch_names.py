"""Names of torchvision, timm and d-li14's PyTorch networks as ours, and what these do otherwise."""

import re
from collections.abc import Iterable

import numpy as np

from mobilenet_v3.spec import Normalize
from train.weights.imported import Arrays, Definition, Layers

IMAGENET = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# By the name of --config.init.definition. PyTorch's batch normalisation has ε 1e-5.
DEFINITIONS = {
    'torchvision_v3': Definition('symmetric', 1e-3, IMAGENET),
    'torchvision_v2': Definition('symmetric', 1e-5, IMAGENET),
    'd-li14': Definition('symmetric', 1e-5, IMAGENET, gate_first=True),
    'timm': Definition('symmetric', 1e-5, IMAGENET, interpolation='bicubic'),
    'timm_tf': Definition('same', 1e-3),
}

_ROLES = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'mean', 'running_var': 'variance'}


def layout_of(names: Iterable[str]) -> str | None:
    """Which code made a state dict: 'torchvision_v3', 'torchvision_v2', 'd-li14' or 'timm'."""
    known = set(names)
    if 'conv_stem.weight' in known:
        return 'timm'
    if 'features.0.0.weight' not in known:
        return None
    if any('.block.' in name for name in known):
        return 'torchvision_v3'
    return 'd-li14' if 'conv.0.weight' in known else 'torchvision_v2'


def to_layers(state: dict[str, np.ndarray], layout: str) -> tuple[Layers, list[str]]:
    """Our layers of a state dict, and the names of it that are none.

    Args:
      state: arrays by name.
      layout: of `layout_of`.
    """
    places = _timm(state) if layout == 'timm' else _sequential(state, layout)
    layers: Layers = {}
    unknown = []
    for name, values in state.items():
        module, _, role = name.rpartition('.')
        if role == 'num_batches_tracked':
            continue
        ours = places.get(module)
        if ours is None or role not in _ROLES:
            unknown.append(name)
            continue
        arrays: Arrays = layers.setdefault(ours, {})
        if ours.endswith('/bn'):
            arrays[_ROLES[role]] = values
        elif role == 'weight':
            arrays['kernel'] = _kernel(values, depthwise=ours.endswith('depthwise/conv'))
        elif role == 'bias':
            arrays['bias'] = values
        else:
            unknown.append(name)
    return layers, unknown


def _kernel(weight: np.ndarray, *, depthwise: bool) -> np.ndarray:
    """[k, C, h, w], depthwise [C, 1, h, w] and linear [k, C] as Keras lays them out."""
    if weight.ndim == 2:
        weight = weight[:, :, np.newaxis, np.newaxis]
    if weight.ndim != 4:
        return weight  # whose shape will not fit
    return np.ascontiguousarray(weight.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))


def _sequential(state: dict[str, np.ndarray], layout: str) -> dict[str, str]:
    """Modules of torchvision's and d-li14's `features`, as ours."""
    modules = {name.rpartition('.')[0] for name in state}
    numbers = {int(m[1]) for module in modules if (m := re.match(r'features\.(\d+)\.', module))}
    last = max(numbers)
    places = {'features.0.0': 'stem/conv', 'features.0.1': 'stem/bn'}
    for number in sorted(numbers):
        inside = sorted(m for m in modules if m.startswith(f'features.{number}.'))
        if any('.block.' in m or '.conv.' in m for m in inside):
            places |= _block(inside, state, f'features.{number}.', f'bneck_{number}')
        elif number == last:
            places |= {f'features.{last}.0': 'last/conv', f'features.{last}.1': 'last/bn'}
    if layout == 'd-li14':
        places |= {'conv.0': 'last/conv', 'conv.1': 'last/bn'}
    if layout == 'torchvision_v2':
        return places | {'classifier.1': 'logits/conv'}
    return places | {'classifier.0': 'features/conv', 'classifier.3': 'logits/conv'}


def _block(inside: list[str], state: dict, prefix: str, ours: str) -> dict[str, str]:
    """Convolutions and normalisations of a block in the order of their numbers."""

    def order(module: str) -> tuple[int, ...]:
        return tuple(int(n) for n in re.findall(r'\d+', module.removeprefix(prefix)))

    gates = [m for m in inside if re.search(r'\.fc[.\d]', m)]
    rest = sorted((m for m in inside if m not in gates), key=order)
    convs = [m for m in rest if state.get(f'{m}.weight', np.zeros(0)).ndim == 4]
    norms = [m for m in rest if f'{m}.running_mean' in state]
    parts = ('expand', 'depthwise', 'project')[3 - len(convs) :]
    places = dict(zip(convs, (f'{ours}/{part}/conv' for part in parts), strict=False))
    places |= dict(zip(norms, (f'{ours}/{part}/bn' for part in parts), strict=False))
    places |= dict(zip(sorted(gates), (f'{ours}/se/squeeze', f'{ours}/se/excite'), strict=False))
    return places


def _timm(state: dict[str, np.ndarray]) -> dict[str, str]:
    modules = {name.rpartition('.')[0] for name in state}
    blocks = sorted(
        {(int(m[1]), int(m[2])) for k in modules if (m := re.match(r'blocks\.(\d+)\.(\d+)\.', k))}
    )
    places = {'conv_stem': 'stem/conv', 'bn1': 'stem/bn', 'classifier': 'logits/conv'}
    for number, (stage, index) in enumerate(blocks, start=1):
        prefix, ours = f'blocks.{stage}.{index}', f'bneck_{number}'
        if f'{prefix}.conv' in modules:  # the convolution before pooling
            places |= {f'{prefix}.conv': 'last/conv', f'{prefix}.bn1': 'last/bn'}
            continue
        expands = f'{prefix}.conv_pwl' in modules
        parts = (
            {'conv_pw': 'expand/conv', 'bn1': 'expand/bn', 'conv_dw': 'depthwise/conv',
             'bn2': 'depthwise/bn', 'conv_pwl': 'project/conv', 'bn3': 'project/bn'}
            if expands else
            {'conv_dw': 'depthwise/conv', 'bn1': 'depthwise/bn', 'conv_pw': 'project/conv',
             'bn2': 'project/bn'}
        )  # fmt: skip
        parts |= {'se.conv_reduce': 'se/squeeze', 'se.conv_expand': 'se/excite'}
        places |= {f'{prefix}.{theirs}': f'{ours}/{part}' for theirs, part in parts.items()}
    if 'conv_head.bias' in state:  # V3's, after pooling
        places['conv_head'] = 'features/conv'
    else:
        places |= {'conv_head': 'last/conv', 'bn2': 'last/bn'}
    return places
