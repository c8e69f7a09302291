"""What stands on a backbone to detect and to segment, as frozen data."""

import dataclasses
import math

from mobilenet_v3.spec import make_divisible


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
