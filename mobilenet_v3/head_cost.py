"""Parameters and multiply-adds of detection and segmentation networks, without TensorFlow."""

from mobilenet_v3.cost import (
    Cost,
    LayerCost,
    backbone_layers,
    check_resolution,
    conv_layer,
    resolve,
    resolve_backbone,
)
from mobilenet_v3.heads import LR_ASPP, SSDLITE, DetectionHead, SegmentationHead, maps_of, skip_of
from mobilenet_v3.spec import ModelSpec, Shape, Size
from mobilenet_v3.transforms import without_wide_last


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
    maps = [outputs[name] for name in maps_of(spec)]
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


def count_segmenter(
    model: str | ModelSpec,
    *,
    multiplier: float = 1.0,
    resolution: int | Size = (1024, 2048),
    num_classes: int = 19,
    input_channels: int = 3,
    output_stride: int | None = None,
    head: SegmentationHead = LR_ASPP,
    resizes: bool = False,
) -> Cost:
    """Counts the network of `models.build_segmenter` (Paper: §6.4, Tables 7 and 8).

    Args:
      model: a name of `SPECS` or a spec, such as one of `head_tables.SEGMENTERS`.
      multiplier: width multiplier α > 0 of the backbone.
      resolution: side of a square input, or (height, width), at least 32.
      num_classes: classes k.
      input_channels: 3 or 1.
      output_stride: 32, 16 or 8; the spec's own where it is not given.
      head: which head, and its channels.
      resizes: whether bilinear resizing counts, up to logits at the input's size: four multiply-adds
        a number.

    Raises:
      ValueError: an unknown name or a value out of range.
    """
    spec = resolve_segmenter(model, multiplier, output_stride)
    size = check_resolution(resolution)
    layers, outputs = backbone_layers(spec, size, input_channels)
    count_head = _lr_aspp if head.kind == 'lr_aspp' else _r_aspp
    convolutions, resized = count_head(outputs, spec, num_classes, head)
    layers += convolutions
    if resizes:
        layers += [*resized, _resize('logits', size, num_classes)]
    return Cost(tuple(layers))


def resolve_segmenter(
    model: str | ModelSpec, multiplier: float = 1.0, output_stride: int | None = None
) -> ModelSpec:
    """The backbone under a segmentation head; see `transforms.without_wide_last`."""
    return without_wide_last(resolve(model, multiplier, output_stride))


def _lr_aspp(
    outputs: dict[str, Shape], spec: ModelSpec, num_classes: int, head: SegmentationHead
) -> tuple[list[LayerCost], list[LayerCost]]:
    """Convolutions and resizes."""
    deep, skip = outputs['last'], outputs[skip_of(spec)]
    coarse, fine, channels = deep[:2], skip[:2], deep[2]
    windows = head.pooled_size(coarse, spec.output_stride)
    convolutions = [
        conv_layer('lraspp/gate', (1, 1), channels, head.filters, windows, batch_norm=False),
        conv_layer('lraspp/branch', (1, 1), channels, head.filters, coarse),
        conv_layer('lraspp/deep', (1, 1), head.filters, num_classes, coarse, batch_norm=False),
        conv_layer('lraspp/skip', (1, 1), skip[2], num_classes, fine, batch_norm=False),
    ]
    resizes = []
    if windows != (1, 1):
        resizes.append(_resize('lraspp/gate/resize', coarse, head.filters))
    if coarse != fine:
        resizes.append(_resize('lraspp/deep/resize', fine, num_classes))
    return convolutions, resizes


def _r_aspp(
    outputs: dict[str, Shape], spec: ModelSpec, num_classes: int, head: SegmentationHead
) -> tuple[list[LayerCost], list[LayerCost]]:
    """Convolutions and resizes."""
    height, width, channels = outputs['last']
    size, filters = (height, width), head.filters
    convolutions = [
        conv_layer('raspp/pool', (1, 1), channels, filters, (1, 1)),
        conv_layer('raspp/branch', (1, 1), channels, filters, size),
        conv_layer('raspp/project', (1, 1), 2 * filters, filters, size),
        conv_layer('raspp/deep', (1, 1), filters, num_classes, size, batch_norm=False),
    ]
    return convolutions, [_resize('raspp/pool/resize', size, filters)] if size != (1, 1) else []


def _resize(name: str, size: Size, channels: int) -> LayerCost:
    """Each number is made of 2×2 others."""
    return LayerCost(name, (2, 2), channels, size, 0, 0, 4 * channels * size[0] * size[1])
