"""The default boxes of SSD, in the order in which the heads answer."""

from collections.abc import Sequence

import numpy as np

from mobilenet_v3.cost import Size, check_resolution
from mobilenet_v3.head_cost import detector_maps
from mobilenet_v3.heads import SSDLITE, SSDLITE_ANCHORS, AnchorSpec, DetectionHead
from mobilenet_v3.spec import ModelSpec


def anchors(
    feature_sizes: Sequence[Size], spec: AnchorSpec = SSDLITE_ANCHORS, *, image: Size = (1, 1)
) -> np.ndarray:
    """Boxes around the centre of every cell of every feature map.

    Args:
      feature_sizes: height and width of each map, the finest first.
      spec: scales and aspect ratios.
      image: height and width of the image, or any two numbers of their ratio: scales are of its
        shorter side, so that a square box is square in pixels.

    Returns:
      [A, 4] float32: ycenter, xcenter, height, width, in fractions of the image; map by map, row by
      row, cell by cell, and in a cell in the order of `AnchorSpec.shapes`. Boxes may reach out of
      the image.
    """
    shorter = min(image)
    maps = []
    for (rows, columns), shapes in zip(feature_sizes, spec.shapes(len(feature_sizes)), strict=True):
        scales, ratios = np.array(shapes, np.float64).T
        heights = scales / np.sqrt(ratios) * shorter / image[0]
        widths = scales * np.sqrt(ratios) * shorter / image[1]
        boxes = np.empty((rows, columns, len(shapes), 4))
        boxes[..., 0] = (np.arange(rows)[:, None, None] + 0.5) / rows
        boxes[..., 1] = (np.arange(columns)[None, :, None] + 0.5) / columns
        boxes[..., 2], boxes[..., 3] = heights, widths
        maps.append(boxes.reshape(-1, 4))
    return np.concatenate(maps).astype(np.float32)


def detector_anchors(
    spec: ModelSpec, resolution: int | Size, head: DetectionHead = SSDLITE
) -> np.ndarray:
    """The boxes of `models.build_detector` of the same arguments, [A, 4]; see `anchors`."""
    size = check_resolution(resolution)
    sizes = [(height, width) for height, width, _ in detector_maps(spec, size, head)]
    return anchors(sizes, head.anchors, image=size)
