"""Tables 6, 7 and 8 of the paper: which backbone under which head, a row each."""

import dataclasses

from mobilenet_v3.head_cost import resolve_segmenter
from mobilenet_v3.heads import SSDLITE, DetectionHead, HeadKind, SegmentationHead
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.tables import get_spec
from mobilenet_v3.transforms import halve_tail, widen, widen_backbone

LR: HeadKind = 'lr_aspp'
R: HeadKind = 'r_aspp'
YES, NO = True, False

# fmt: off

# Paper: Table 6, 320², COCO.
TABLE_6: tuple[tuple[str, str, float, bool], ...] = (
    # name,          backbone,        α, †
    ('v1',           'v1',          1.0, NO),
    ('v2',           'v2',          1.0, NO),
    ('mnasnet',      'mnasnet_a1',  1.0, NO),
    ('v3',           'large',       1.0, NO),
    ('v3_halved',    'large',       1.0, YES),
    ('v2_0.35',      'v2',         0.35, NO),
    ('v2_0.5',       'v2',          0.5, NO),
    ('mnasnet_0.35', 'mnasnet_a1', 0.35, NO),
    ('mnasnet_0.5',  'mnasnet_a1',  0.5, NO),
    ('small',        'small',       1.0, NO),
    ('small_halved', 'small',       1.0, YES),
)

# Paper: Table 7, of which the comments tell N, and Table 8: 1024 × 2048 and half of it, Cityscapes.
TABLES_7_AND_8: tuple[tuple[str, str, float, bool, HeadKind, int, int], ...] = (
    # name,                        backbone,   α, RF2, SH,   F, OS
    ('v2_r_aspp_256',              'v2',     1.0, NO,  R,  256, 16),  # 1
    ('v2_rf2_r_aspp_256',          'v2',     1.0, YES, R,  256, 16),  # 2
    ('v2_rf2_lr_aspp_256',         'v2',     1.0, YES, LR, 256, 16),  # 3
    ('v2_rf2_lr_aspp_128',         'v2',     1.0, YES, LR, 128, 16),  # 4
    ('v3_r_aspp_256',              'large',  1.0, NO,  R,  256, 16),  # 5
    ('v3_rf2_r_aspp_256',          'large',  1.0, YES, R,  256, 16),  # 6
    ('v3_rf2_lr_aspp_256',         'large',  1.0, YES, LR, 256, 16),  # 7
    ('v3_rf2_lr_aspp_128',         'large',  1.0, YES, LR, 128, 16),  # 8, and Table 8
    ('v2_0.5_rf2_lr_aspp_128',     'v2',     0.5, YES, LR, 128, 16),  # 9
    ('v2_0.35_rf2_lr_aspp_128',    'v2',    0.35, YES, LR, 128, 16),  # 10
    ('small_rf2_lr_aspp_128',      'small',  1.0, YES, LR, 128, 16),  # 11, and Table 8
    ('v3_rf2_lr_aspp_128_os32',    'large',  1.0, YES, LR, 128, 32),  # Table 8
    ('small_rf2_lr_aspp_128_os32', 'small',  1.0, YES, LR, 128, 32),  # Table 8
)

# fmt: on


@dataclasses.dataclass(frozen=True)
class Detector:
    """A row of Table 6, as `models.build_detector(backbone, head=head)` takes it."""

    backbone: ModelSpec
    head: DetectionHead


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A row of Table 7 or 8, as `models.build_segmenter(backbone, head=head)` takes it."""

    backbone: ModelSpec
    head: SegmentationHead


def _detector(backbone: str, multiplier: float, halved: bool) -> Detector:
    spec = widen_backbone(get_spec(backbone), multiplier)
    if halved:
        spec = halve_tail(spec, first_expansion=False)
    return Detector(spec, SSDLITE.widen(multiplier))


def segmentation_backbone(spec: ModelSpec, *, rf2: bool, output_stride: int) -> ModelSpec:
    """A network as it stands under a segmentation head.

    Args:
      spec: the network at its width.
      rf2: whether the channels of its last blocks are halved (Paper: §6.4, "RF2").
      output_stride: 32, 16 or 8, by atrous convolution.

    Raises:
      ValueError: there is nothing to halve, or no such output stride.
    """
    if rf2:
        # V2's expansions are six times their input, of which the first is not halved: so counted,
        # its rows have 1.159M, 1.031M and 0.987M parameters, otherwise 0.054M less, of the paper's
        # 1.15M, 1.02M and 0.98M. V3's are widths of their own, and halved.
        spec = halve_tail(spec, first_expansion=spec.name != 'v2')
    return resolve_segmenter(spec, output_stride=output_stride)


def _segmenter(
    backbone: str, multiplier: float, rf2: bool, kind: HeadKind, filters: int, output_stride: int
) -> Segmenter:
    spec = widen(get_spec(backbone), multiplier)
    spec = segmentation_backbone(spec, rf2=rf2, output_stride=output_stride)
    return Segmenter(spec, SegmentationHead(kind, filters))


DETECTORS: dict[str, Detector] = {
    name: _detector(backbone, multiplier, halved) for name, backbone, multiplier, halved in TABLE_6
}
SEGMENTERS: dict[str, Segmenter] = {
    name: _segmenter(backbone, multiplier, rf2, kind, filters, output_stride)
    for name, backbone, multiplier, rf2, kind, filters, output_stride in TABLES_7_AND_8
}
