"""From a spec to one flat functional Keras model."""

import tensorflow as tf
import tf_keras

from mobilenet_v3.backbone import backbone
from mobilenet_v3.classifier import classifier
from mobilenet_v3.cost import check_resolution, resolve, resolve_backbone
from mobilenet_v3.head_cost import resolve_segmenter
from mobilenet_v3.heads import LR_ASPP, SSDLITE, DetectionHead, SegmentationHead
from mobilenet_v3.lraspp import segmentation_head
from mobilenet_v3.spec import ModelSpec, Size
from mobilenet_v3.ssdlite import ssdlite


def build_model(
    model: str | ModelSpec,
    *,
    multiplier: float = 1.0,
    resolution: int | Size = 224,
    num_classes: int = 1000,
    input_channels: int = 3,
    output_stride: int | None = None,
) -> tf_keras.Model:
    """Builds a classification network.

    Args:
      model: a name of `SPECS` ('large', 'small', 'v2', …) or a spec.
      multiplier: width multiplier α > 0; the paper uses 0.35, 0.5, 0.75, 1.0 and 1.25.
      resolution: side of a square input, or (height, width), at least 32.
      num_classes: outputs of the logits, at least 2.
      input_channels: 3 or 1.
      output_stride: 32, 16 or 8; the spec's own where it is not given.

    Returns:
      A flat functional model from images [N, H, W, C] in [-1, 1] to logits [N, num_classes].

    Raises:
      ValueError: an unknown name or a value out of range.
    """
    if num_classes < 2:
        raise ValueError(f'num_classes is {num_classes}; expected at least 2')
    spec = resolve(model, multiplier, output_stride)
    images = _images(resolution, input_channels)
    logits = classifier(backbone(images, spec)['last'], spec, num_classes)
    return tf_keras.Model(images, logits, name=spec.name)


def build_detector(
    model: str | ModelSpec,
    *,
    multiplier: float = 1.0,
    resolution: int | Size = 320,
    num_classes: int = 90,
    input_channels: int = 3,
    head: DetectionHead = SSDLITE,
) -> tf_keras.Model:
    """Builds an SSDLite detector (Paper: §6.3, Table 6).

    Args:
      model: a name of `SPECS` or a spec, such as `transforms.halve_tail(…, first_expansion=False)`
        for the rows marked † in the paper.
      multiplier: width multiplier α > 0; the extra feature maps of the head scale along.
      resolution: side of a square input, or (height, width), at least 32; any, not only multiples.
      num_classes: classes K ≥ 1 without the background.
      input_channels: 3 or 1.
      head: extra feature maps and anchors at α = 1.

    Returns:
      A flat functional model from images [N, H, W, C] in [-1, 1] to raw answers for the A anchors of
      `anchors.detector_anchors`: 'boxes' [N, A, 4] and 'scores' [N, A, K + 1]; see `ssdlite`.

    Raises:
      ValueError: an unknown name or a value out of range.
    """
    if num_classes < 1:
        raise ValueError(
            f'num_classes is {num_classes}; expected at least 1, the background not counted'
        )
    spec = resolve_backbone(model, multiplier)
    images = _images(resolution, input_channels)
    answers = ssdlite(
        backbone(images, spec), spec, num_classes=num_classes, head=head.widen(multiplier)
    )
    return tf_keras.Model(images, answers, name=spec.name)


def build_segmenter(
    model: str | ModelSpec,
    *,
    multiplier: float = 1.0,
    resolution: int | Size = 512,
    num_classes: int = 19,
    input_channels: int = 3,
    output_stride: int | None = None,
    head: SegmentationHead = LR_ASPP,
    upsample: bool = True,
) -> tf_keras.Model:
    """Builds a semantic segmentation network (Paper: §6.4, Tables 7 and 8).

    Args:
      model: a name of `SPECS` or a spec, such as the backbone of one of `head_tables.SEGMENTERS`.
      multiplier: width multiplier α > 0 of the backbone.
      resolution: side of a square input, or (height, width), at least 32; any, not only multiples.
      num_classes: classes k ≥ 2.
      input_channels: 3 or 1.
      output_stride: 32, 16 or 8; the spec's own where it is not given.
      head: which head, and its channels. Weights fit any `pooling` and any resolution.
      upsample: whether logits are resized to the input's size, bilinearly with half-pixel centres;
        otherwise they have the head's own, about an eighth of it (see `lraspp`).

    Returns:
      A flat functional model from images [N, H, W, C] in [-1, 1] to logits [N, H, W, k].

    Raises:
      ValueError: an unknown name or a value out of range.
    """
    if num_classes < 2:
        raise ValueError(f'num_classes is {num_classes}; expected at least 2')
    spec = resolve_segmenter(model, multiplier, output_stride)
    images = _images(resolution, input_channels)
    size = check_resolution(resolution) if upsample else None
    logits = segmentation_head(
        backbone(images, spec), spec, num_classes=num_classes, head=head, size=size
    )
    return tf_keras.Model(images, logits, name=spec.name)


def build_backbone(
    model: str | ModelSpec,
    *,
    multiplier: float = 1.0,
    resolution: int | Size = 224,
    input_channels: int = 3,
    output_stride: int | None = None,
) -> tf_keras.Model:
    """Builds the feature extractor alone.

    Returns:
      A flat functional model from images [N, H, W, C] to a dict of every named output, among them
      'C1' … 'C5' (see `backbone`).
    """
    spec = resolve(model, multiplier, output_stride)
    images = _images(resolution, input_channels)
    return tf_keras.Model(images, backbone(images, spec), name=f'{spec.name}_backbone')


def _images(resolution: int | Size, input_channels: int) -> tf.Tensor:
    if input_channels not in (1, 3):
        raise ValueError(f'input_channels is {input_channels}; expected 3 (RGB) or 1 (grey)')
    height, width = check_resolution(resolution)
    return tf_keras.Input((height, width, input_channels), name='image')
