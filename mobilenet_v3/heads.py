"""What stands on a backbone to detect and to segment, as frozen data."""

import dataclasses
import math
from typing import Literal

from mobilenet_v3.spec import ModelSpec, Size, endpoints, make_divisible, place

HeadKind = Literal['lr_aspp', 'r_aspp']
Pooling = Literal['paper', 'global']
# Paper: Fig. 10, AvgPool 49×49 with stride (16, 20), of feature maps at stride 16 of 1024×2048: the
# map of a training crop of 769, (769 - 1) / 16 + 1.
POOLED_CROP = 769
POOL_STRIDE = (16, 20)


@dataclasses.dataclass(frozen=True)
class AnchorSpec:
    """The default boxes of SSD (Paper: §6.3, by way of the released SSDLite).

    Attributes:
      min_scale, max_scale: side of the square box of the first and last feature map, as a fraction
        of the image's shorter side; evenly spaced in between.
      aspect_ratios: width / height of the boxes of every cell. A further square box of the
        geometric mean of this scale and the next stands after them.
      reduced_first: the first map has three boxes only: one of 0.1, and two of `min_scale` that
        are wide and tall.
    """

    min_scale: float = 0.2
    max_scale: float = 0.95
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 1 / 3)
    reduced_first: bool = True

    def __post_init__(self) -> None:
        scales = f'[{self.min_scale!r}, {self.max_scale!r}]'
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise ValueError(f'scales of anchors are {scales}; expected 0 < min <= max <= 1')
        positive = [ratio > 0 and math.isfinite(ratio) for ratio in self.aspect_ratios]
        if not (positive and all(positive)):
            raise ValueError(
                f'aspect_ratios is {self.aspect_ratios!r}; expected numbers above 0, width / height'
            )

    def shapes(self, number_of_maps: int) -> tuple[tuple[tuple[float, float], ...], ...]:
        """(scale, aspect ratio) of the boxes of a cell, for each feature map."""
        steps = max(1, number_of_maps - 1)
        growth = (self.max_scale - self.min_scale) / steps
        scales = [self.min_scale + growth * i for i in range(number_of_maps)] + [1.0]
        maps: list[tuple[tuple[float, float], ...]] = []
        for i, scale in enumerate(scales[:-1]):
            if i == 0 and self.reduced_first:
                maps.append(((0.1, 1.0), (scale, 2.0), (scale, 0.5)))
                continue
            between = math.sqrt(scale * scales[i + 1])
            maps.append((*((scale, ratio) for ratio in self.aspect_ratios), (between, 1.0)))
        return tuple(maps)


SSDLITE_ANCHORS = AnchorSpec()  # of every row of Table 6


@dataclasses.dataclass(frozen=True)
class DetectionHead:
    """SSDLite: feature maps beyond the backbone's, and predictors on each (Paper: §6.3).

    Attributes:
      extras: channels of the feature maps after C4 and C5, each of half the size of the one before.
      anchors: the boxes that the predictors correct.
    """

    extras: tuple[int, ...] = (512, 256, 256, 128)
    anchors: AnchorSpec = SSDLITE_ANCHORS

    def __post_init__(self) -> None:
        if any(channels < 2 for channels in self.extras):
            raise ValueError(f'extras is {self.extras!r}; expected channel counts of at least 2')

    @property
    def anchors_per_map(self) -> tuple[int, ...]:
        """Boxes of a cell of C4, C5 and each extra map."""
        return tuple(len(shapes) for shapes in self.anchors.shapes(2 + len(self.extras)))

    def widen(self, multiplier: float) -> 'DetectionHead':
        """The head of a backbone of width multiplier α: its extra maps scale along (Table 6)."""
        extras = tuple(make_divisible(multiplier * channels) for channels in self.extras)
        return self if multiplier == 1 else dataclasses.replace(self, extras=extras)


SSDLITE = DetectionHead()  # of every row of Table 6


@dataclasses.dataclass(frozen=True)
class SegmentationHead:
    """LR-ASPP or R-ASPP (Paper: §6.4, Fig. 10, Tables 7 and 8).

    Attributes:
      kind: 'lr_aspp', whose pooled features gate those of the map, or 'r_aspp', where they are
        joined and projected.
      filters: channels F of the head.
      pooling: of LR-ASPP: 'paper', means of large windows where the map is larger than one of them,
        or 'global', one mean of the map at any size, which int8 files run in one piece. R-ASPP's is
        global.
      dropout: rate before the logits of R-ASPP; the paper's released code keeps 0.9.
    """

    kind: HeadKind = 'lr_aspp'
    filters: int = 128
    pooling: Pooling = 'paper'
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in ('lr_aspp', 'r_aspp'):
            raise ValueError(f"kind is {self.kind!r}; expected 'lr_aspp' or 'r_aspp'")
        if self.pooling not in ('paper', 'global'):
            raise ValueError(f"pooling is {self.pooling!r}; expected 'paper' or 'global'")
        if self.filters < 1:
            raise ValueError(f'filters is {self.filters!r}; expected at least 1, as 128 or 256')
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout is {self.dropout!r}; expected a rate in [0, 1)')

    def pool_kernel(self, features: Size, output_stride: int) -> Size:
        """Height and width of the windows of a feature map: no larger than the map.

        Departs from paper: a single window is the whole map, not its top left part.
        """
        if self.kind == 'r_aspp' or self.pooling == 'global':
            return features
        side = (POOLED_CROP - 1) // output_stride + 1
        kernel = min(side, features[0]), min(side, features[1])
        return features if _windows(features, kernel) == (1, 1) else kernel

    def pooled_size(self, features: Size, output_stride: int) -> Size:
        """How many windows there are, down and across."""
        return _windows(features, self.pool_kernel(features, output_stride))


LR_ASPP = SegmentationHead()  # of the paper's candidates, rows 8 and 11 of Table 7


def maps_of(spec: ModelSpec) -> tuple[str, str]:
    """The backbone's outputs that SSDLite begins with, C4 and C5 (Paper: §6.3).

    Raises:
      ValueError: the network ends before stride 32.
    """
    names = endpoints(spec)
    if 'C5' not in names:
        raise ValueError(
            f'{spec.name} has no feature map at stride 32 for SSDLite, its strides end at '
            f'{place(spec)[-1].nominal_stride}; give one more block a stride of 2'
        )
    return names['C4'], names['C5']


def skip_of(spec: ModelSpec) -> str:
    """The backbone's output that LR-ASPP adds: of the last block at stride 8, after its depthwise.

    Raises:
      ValueError: no block has stride 8.
    """
    names = [placed.name for placed in place(spec) if placed.nominal_stride == 8]
    if not names:
        raise ValueError(f'{spec.name} has no block at stride 8 for the skip of LR-ASPP')
    return f'{names[-1]}/depthwise'


def _windows(features: Size, kernel: Size) -> Size:
    rows, columns = (
        (side - window) // stride + 1
        for side, window, stride in zip(features, kernel, POOL_STRIDE, strict=True)
    )
    return rows, columns
