"""What is read from a source: arrays under our layers' names, and what arrays do not tell."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from mobilenet_v3.spec import ModelSpec, Normalize, Padding, place

Arrays = dict[str, np.ndarray]  # of one layer: kernel, bias, gamma, beta, mean, variance
Layers = dict[str, Arrays]  # by our layer's name
Kind = Literal['conv', 'depthwise', 'norm']
HEAD = ('features/conv', 'features/bn', 'logits/conv')
OTHER_HEADS = ('ssd/', 'lraspp/', 'raspp/')  # how layers of heads that are no classifier's begin
LARGEST_BYTES = 2**30  # of what a file claims to hold unpacked; V3-Large has 22 MB


@dataclasses.dataclass(frozen=True)
class Definition:
    """What a network does that its arrays do not tell.

    Attributes:
      padding, batch_norm_epsilon: as in `ModelSpec`; None is the spec's own.
      normalize: as in `ModelSpec`.
      gate_first: as `SqueezeExcite.before_activation`.
      eval_crop: of the images it was evaluated on, a fraction; None where nobody says.
      interpolation: of the same.
    """

    padding: Padding | None = None
    batch_norm_epsilon: float | None = None
    normalize: Normalize | None = None
    gate_first: bool = False
    eval_crop: float | None = None
    interpolation: str = 'bilinear'


@dataclasses.dataclass(frozen=True)
class Imported:
    """The content of a source.

    Attributes:
      kind: what it is, in words.
      sha256: of the file, or of its arrays where it is several files.
      layers: arrays by our layers' names; empty where the source has lost its names.
      by_kind: of a source without names, the layers of each kind in the order of the network.
      definition: what else the network does.
      spec: of a run of ours, which is the definition then.
    """

    kind: str
    sha256: str
    layers: Layers = dataclasses.field(default_factory=dict)
    by_kind: dict[Kind, list[Arrays]] | None = None
    definition: Definition = Definition()
    spec: ModelSpec | None = None


def slots(spec: ModelSpec) -> Iterator[tuple[str, Kind]]:
    """The layers of a network that hold trained weights, in its order, with their kind."""
    yield from _conv('stem', True)
    for placed in place(spec):
        if placed.has_expansion:
            yield from _conv(f'{placed.name}/expand', True)
        yield f'{placed.name}/depthwise/conv', 'depthwise'
        yield f'{placed.name}/depthwise/bn', 'norm'
        if placed.block.se is not None:
            yield f'{placed.name}/se/squeeze', 'conv'
            yield f'{placed.name}/se/excite', 'conv'
        yield from _conv(f'{placed.name}/project', True)
    if spec.last is not None:
        yield from _conv('last', spec.last.batch_norm)
    if spec.features is not None:
        yield from _conv('features', spec.features.batch_norm)
    yield 'logits/conv', 'conv'


def checksum_of_file(path: str) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def checksum_of_arrays(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """SHA-256 of named arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays, key=lambda pair: pair[0]):
        digest.update(f'{name} {array.dtype} {array.shape} '.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _conv(name: str, batch_norm: bool) -> Iterator[tuple[str, Kind]]:
    yield f'{name}/conv', 'conv'
    if batch_norm:
        yield f'{name}/bn', 'norm'
