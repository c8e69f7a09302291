"""The weights of a narrower network, from those of the wide one (Paper: §4.2, 2(b)).

The channels that stay are chosen once, by the averaged weights, and cut out of everything that a run
keeps of a network: its weights with their BN statistics, their moving averages, and what the
optimiser has gathered. So a run goes on in the narrower network where it was.
"""

import numpy as np

from mobilenet_v3.spec import ModelSpec
from search.channels.axes import CLASSES, IMAGE, Axes, axes_of
from search.channels.criteria import Criterion

# By 'role/layer/place': 'averaged/stem/conv/0' is the first array of the layer stem/conv.
Arrays = dict[str, np.ndarray]
JUDGED = 'averaged'  # the role whose weights are judged
DEPTHWISE = '/depthwise/conv'


def narrow(arrays: Arrays, before: ModelSpec, after: ModelSpec, criterion: Criterion) -> Arrays:
    """The arrays of a narrower network.

    Args:
      arrays: of a network of `before`: of every role, layer and place; `JUDGED` is among the roles.
      before: the network.
      after: the same layers, none wider.
      criterion: tells which channels stay.

    Raises:
      ValueError: the networks have other layers, or one is wider in `after`.
    """
    wide, slim = axes_of(before), axes_of(after)
    if wide.layers != slim.layers:
        raise ValueError(
            f'{after.name} has other layers than {before.name}; expected the same, with fewer channels'
        )
    kept: dict[str, np.ndarray | None] = {IMAGE: None, CLASSES: None}
    for axis, size in wide.sizes.items():
        if slim.sizes[axis] > size:
            raise ValueError(
                f'{axis} has {slim.sizes[axis]} channels in {after.name}, more than the {size} in '
                f'{before.name}; weights are carried to narrower networks only'
            )
        if slim.sizes[axis] == size:
            kept[axis] = None
        else:
            kept[axis] = keep(arrays, wide, axis, slim.sizes[axis], criterion)
    return {key: _cut(key, array, wide, kept) for key, array in arrays.items()}


def keep(arrays: Arrays, axes: Axes, axis: str, count: int, criterion: Criterion) -> np.ndarray:
    """The `count` channels of an axis that matter most, in their order."""
    made, read = _makers(arrays, axes, axis), _readers(arrays, axes, axis)
    scores = criterion(made, read)
    return np.sort(np.argsort(-scores, kind='stable')[:count])


def _makers(arrays: Arrays, axes: Axes, axis: str) -> np.ndarray:
    """The filters that make each channel, side by side where several layers make it, [C, d]."""
    found = [
        np.moveaxis(kernel, 3, 0).reshape(kernel.shape[3], -1)
        for name, kernel in _kernels(arrays, axes)
        if axes.layers[name].makes == axis and not name.endswith('se/excite')
    ]
    return np.concatenate(found, axis=1)


def _readers(arrays: Arrays, axes: Axes, axis: str) -> np.ndarray:
    """The kernels that read each channel, [C, n, k]; gates aside, which read its mean."""
    found = [
        kernel.transpose(2, 3, 0, 1).reshape(*kernel.shape[2:], -1)
        for name, kernel in _kernels(arrays, axes)
        if axes.layers[name].reads == axis and not name.endswith('se/squeeze')
    ]
    return np.concatenate(found, axis=1)


def _kernels(arrays: Arrays, axes: Axes) -> list[tuple[str, np.ndarray]]:
    """The judged kernels [h, w, in, out] of convolutions; depthwise ones neither make nor read."""
    return [
        (name, arrays[f'{JUDGED}/{name}/0'])
        for name in axes.layers
        if not name.endswith(('/bn', DEPTHWISE))
    ]


def _cut(key: str, array: np.ndarray, axes: Axes, kept: dict[str, np.ndarray | None]) -> np.ndarray:
    layer = key.partition('/')[2].rpartition('/')[0]
    if layer not in axes.layers:
        return array  # constants of the images
    reads, makes = kept[axes.layers[layer].reads], kept[axes.layers[layer].makes]
    if array.ndim == 1:
        return array if makes is None else array[makes]
    if reads is not None:
        array = array.take(reads, axis=2)
    # A depthwise kernel is [h, w, C, 1]: it reads what it makes.
    return array if makes is None or layer.endswith(DEPTHWISE) else array.take(makes, axis=3)
