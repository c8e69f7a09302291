"""Parameters and multiply-adds of detection and segmentation networks, without TensorFlow."""

from mobilenet_v3.cost import (
    Cost,
    LayerCost,
    Shape,
    Size,
    backbone_layers,
    check_resolution,
    conv_layer,
    resolve_backbone,
)
from mobilenet_v3.heads import SSDLITE, DetectionHead
from mobilenet_v3.spec import ModelSpec, endpoints


def count_detector(
    model: str | ModelSpec,
    *,
    multiplier: float = 1.0,
    resolution: int | Size = 320,
    num_classes: int = 90,
    input_channels: int = 3,
    head: DetectionHead = SSDLITE,
) -> Cost:
    """Counts the network of `models.build_detector` (Paper: §6.3, Table 6).

    Args:
      model: a name of `SPECS` or a spec, such as one of `transforms.halve_tail`.
      multiplier: width multiplier α > 0, of the extra feature maps, too.
      resolution: side of a square input, or (height, width), at least 32.
      num_classes: classes K without the background, which is one output more.
      input_channels: 3 or 1.
      head: extra feature maps and anchors at α = 1.

    Raises:
      ValueError: an unknown name or a value out of range.
    """
    spec, head = resolve_backbone(model, multiplier), head.widen(multiplier)
    size = check_resolution(resolution)
    layers, _ = backbone_layers(spec, size, input_channels)
    maps = detector_maps(spec, size, head)
    for i, channels in enumerate(head.extras):
        layers += _extra(f'ssd/extra_{i + 1}', maps[i + 1], channels, maps[i + 2])
    for i, (shape, boxes) in enumerate(zip(maps, head.anchors_per_map, strict=True)):
        layers += _predictor(f'ssd/map_{i + 1}/boxes', shape, 4 * boxes)
        layers += _predictor(f'ssd/map_{i + 1}/scores', shape, (num_classes + 1) * boxes)
    return Cost(tuple(layers))


def detector_maps(spec: ModelSpec, resolution: Size, head: DetectionHead) -> list[Shape]:
    """[H, W, C] of the feature maps that the predictors see: C4, C5 and the extra ones."""
    _, outputs = backbone_layers(spec, resolution, input_channels=3)
    names = endpoints(spec)
    maps = [outputs[names['C4']], outputs[names['C5']]]
    for channels in head.extras:
        height, width, _ = maps[-1]
        maps.append((-(-height // 2), -(-width // 2), channels))
    return maps


def _extra(name: str, before: Shape, channels: int, after: Shape) -> list[LayerCost]:
    """1×1 to half the width, depthwise of stride 2, 1×1 to the width."""
    half = channels // 2
    return [
        conv_layer(f'{name}/reduce', (1, 1), before[2], half, before[:2]),
        conv_layer(f'{name}/depthwise', (3, 3), 1, half, after[:2]),
        conv_layer(f'{name}/expand', (1, 1), half, channels, after[:2]),
    ]


def _predictor(name: str, shape: Shape, outputs: int) -> list[LayerCost]:
    size, channels = shape[:2], shape[2]
    return [
        conv_layer(f'{name}/depthwise', (3, 3), 1, channels, size),
        conv_layer(f'{name}/predict', (1, 1), channels, outputs, size, batch_norm=False),
    ]
