"""The paper's claims as data. Paper: abstract, §5, §6; README of the released code.

A ratio of the paper is latency of the file / latency of its baseline, of its tables where they have
both; where the text tells a share of the running time, it is that. Claims about segmentation are
judged at half resolution, by the paper's latencies there.
"""

from benchmark.paper.claims import AccuracyClaim, CountClaim, LatencyClaim, Sense
from benchmark.paper.head_grid import HALF, HeadEntry


def _claim(
    text: str,
    source: str,
    model: str,
    baseline: str,
    sense: Sense,
    *pixels_ms: tuple[float, float],
) -> LatencyClaim:
    """With the paper's latencies of both on Pixel 1, 2 and 3, as far as it tells them."""
    paper = {f'P-{n}': ours / theirs for n, (ours, theirs) in enumerate(pixels_ms, start=1)}
    return LatencyClaim(text, source, model, baseline, sense, paper)


def _detector(
    text: str, source: str, model: str, baseline: str, ms: tuple[float, float]
) -> LatencyClaim:
    """Of rows of Table 6, and what these took on a phone that it does not name."""
    keys = HeadEntry(model).key, HeadEntry(baseline).key
    return LatencyClaim(text, source, *keys, 'faster', {'a phone': ms[0] / ms[1]})


def _segmenter(
    text: str,
    source: str,
    model: str,
    baseline: str,
    ms: tuple[float, float] | None,
    sense: Sense = 'faster',
) -> LatencyClaim:
    """Of rows of Tables 7 and 8 at half resolution, and what these took on Pixel 3."""
    keys = HeadEntry(model, HALF).key, HeadEntry(baseline, HALF).key
    return LatencyClaim(text, source, *keys, sense, {'P-3': ms[0] / ms[1]} if ms else {})


_LARGE, _SMALL = 'large_1_224_float32', 'small_1_224_float32'
_LARGE_INT8, _SMALL_INT8 = 'large_1_224_int8', 'small_1_224_int8'

# fmt: off
CLASSIFICATION_CLAIMS = (
    # The networks beside others
    _claim('V3-Large is faster than V2, by 20 %', 'abstract, Table 3',
           _LARGE, 'v2_1_224_float32', 'faster', (51, 64), (61, 76), (44, 56)),
    _claim('V3-Large int8 is faster than V2 int8', 'Table 4',
           _LARGE_INT8, 'v2_1_224_int8', 'faster', (44, 52), (42.5, 48.3), (31.7, 37.0)),
    _claim('V3-Large is faster than MnasNet-A1', 'Table 3',
           _LARGE, 'mnasnet_a1_1_224_float32', 'faster', (51, 71), (61, 86), (44, 61)),
    _claim('V3-Large is faster than Proxyless', 'Table 3',
           _LARGE, 'proxyless_mobile_1_224_float32', 'faster', (51, 72), (61, 84), (44, 60)),
    _claim('V3-Small takes a latency comparable to V2 0.35’s', 'abstract, Table 3',
           _SMALL, 'v2_0.35_224_float32', 'comparable', (15.8, 16.6), (19.4, 19.6), (14.4, 13.9)),
    _claim('V3-Small int8 is faster than V2 0.35 int8', 'Table 4',
           _SMALL_INT8, 'v2_0.35_224_int8', 'faster', (15.5, 16.7), (14.9, 15.6), (10.7, 11.9)),
    _claim('V3-Small is faster than Mnas-small', 'Table 3',
           _SMALL, 'mnasnet_small_1_224_float32', 'faster', (15.8, 20.3), (19.4, 24.2), (14.4, 17.2)),
    # int8 beside float
    _claim('V3-Large int8 is faster than float', 'Tables 3, 4',
           _LARGE_INT8, _LARGE, 'faster', (44, 51), (42.5, 61), (31.7, 44)),
    _claim('V3-Small int8 is faster than float', 'Tables 3, 4',
           _SMALL_INT8, _SMALL, 'faster', (15.5, 15.8), (14.9, 19.4), (10.7, 14.4)),
    _claim('V2 int8 is faster than float', 'Tables 3, 4',
           'v2_1_224_int8', 'v2_1_224_float32', 'faster', (52, 64), (48.3, 76), (37.0, 56)),
    # §5: the last stage (11 % of the running time), the stem (2 ms of its 53), squeeze-and-excite
    LatencyClaim('the efficient last stage is faster, by 7 ms, 11 % of the running time', '§5.1, Fig. 5',
                 _LARGE, 'large_original_last_1_224_float32', 'faster', {'P-1': 0.89}),
    _claim('a stem of 16 filters with h-swish is faster than one of 32 with ReLU, by 2 ms', '§5.1',
           _LARGE, 'large_stem32_1_224_float32', 'faster', (51, 53)),
    _claim('squeeze-and-excite of a quarter of the expansion has no discernible latency cost',
           '§5.3', 'fig9_large_se_1_224_float32', 'fig9_start_1_224_float32', 'comparable'),
    # §6.2.1, Table 5: h-swish
    _claim('optimized h-swish is faster than its parts, by 6 ms, more than 10 %', '§6.2.1, Table 5',
           _LARGE, f'{_LARGE}_decomposed', 'faster', (51.4, 57.5)),
    _claim('the same for h-swish @16', 'Table 5',
           'large_hs16_1_224_float32', 'large_hs16_1_224_float32_decomposed', 'faster',
           (53.5, 68.9)),
    _claim('the same for h-swish @112', 'Table 5',
           'large_hs112_1_224_float32', 'large_hs112_1_224_float32_decomposed', 'faster',
           (51, 54.4)),
    _claim('optimized h-swish adds only 1 ms to ReLU', '§6.2.1, Table 5',
           _LARGE, 'large_relu_1_224_float32', 'comparable', (51.4, 50.5)),
    _claim('h-swish without the optimized op is slower than ReLU', 'Table 5',
           f'{_LARGE}_decomposed', 'large_relu_1_224_float32', 'slower', (57.5, 50.5)),
    _claim('h-swish @16 is slower than V3-Large (@80), by 4 %', 'Table 5',
           'large_hs16_1_224_float32', _LARGE, 'slower', (53.5, 51.4)),
    _claim('h-swish @112 is faster than V3-Large (@80), by 0.5 %', 'Table 5',
           'large_hs112_1_224_float32', _LARGE, 'faster', (51, 51.4)),
    # README of the released code
    _claim('Large-minimalistic is faster than V3-Large', 'README',
           'large_minimalistic_1_224_float32', _LARGE, 'faster', (44.1, 51), (51, 61), (35, 44)),
    _claim('Large-minimalistic int8 is faster than V3-Large int8', 'README, Table 4',
           'large_minimalistic_1_224_int8', _LARGE_INT8, 'faster',
           (37, 44), (35, 42.5), (27, 31.7)),
    _claim('Small-minimalistic is faster than V3-Small (1024 features)', 'README, Table 3',
           'small_minimalistic_1_224_float32', 'small_1024_1_224_float32', 'faster',
           (12.2, 15.8), (15.1, 19.4), (11, 14.4)),
)

DETECTION_CLAIMS = (
    _detector('V3-Large † is faster than V2, by 27 %', 'abstract, §6.3, Table 6',
              'v3_halved', 'v2', (119, 162)),
    _detector('V3-Small † is faster than V2 0.35, by 35 %', '§6.3, Table 6',
              'small_halved', 'v2_0.35', (43, 66)),
    _detector('V3-Small † is faster than MnasNet 0.35, by 35 %', '§6.3, Table 6',
              'small_halved', 'mnasnet_0.35', (43, 68)),
    _detector('halved channels (†) save about 15 % of V3-Large’s latency', '§6.3, Table 6',
              'v3_halved', 'v3', (119, 137)),
    _detector('halved channels (†) save about 15 % of V3-Small’s latency', '§6.3, Table 6',
              'small_halved', 'small', (43, 52)),
)

SEGMENTATION_CLAIMS = (
    _segmenter('V3 with LR-ASPP is faster than V2 with R-ASPP, by 34 %', 'abstract, Table 7',
               'v3_rf2_lr_aspp_256', 'v2_r_aspp_256', (659, 1020)),
    # (1) to (6) of §6.4
    _segmenter('half the filters in the last block (RF2) make V2 faster', '§6.4, rows 1, 2',
               'v2_rf2_r_aspp_256', 'v2_r_aspp_256', (793, 1020)),
    _segmenter('half the filters in the last block (RF2) make V3 faster', '§6.4, rows 5, 6',
               'v3_rf2_r_aspp_256', 'v3_r_aspp_256', (668, 906)),
    _segmenter('LR-ASPP on V2 is slightly faster than R-ASPP', '§6.4, rows 2, 3',
               'v2_rf2_lr_aspp_256', 'v2_rf2_r_aspp_256', (786, 793)),
    _segmenter('LR-ASPP on V3 is slightly faster than R-ASPP', '§6.4, rows 6, 7',
               'v3_rf2_lr_aspp_256', 'v3_rf2_r_aspp_256', (659, 668)),
    _segmenter('128 filters in the head of V2 are faster than 256', '§6.4, rows 3, 4',
               'v2_rf2_lr_aspp_128', 'v2_rf2_lr_aspp_256', (766, 786)),
    _segmenter('128 filters in the head of V3 are faster than 256', '§6.4, rows 7, 8',
               'v3_rf2_lr_aspp_128', 'v3_rf2_lr_aspp_256', (657, 659)),
    _segmenter('V3 is slightly faster than V2: R-ASPP', '§6.4, rows 1, 5',
               'v3_r_aspp_256', 'v2_r_aspp_256', (906, 1020)),
    _segmenter('V3 is slightly faster than V2: RF2, R-ASPP', '§6.4, rows 2, 6',
               'v3_rf2_r_aspp_256', 'v2_rf2_r_aspp_256', (668, 793)),
    _segmenter('V3 is slightly faster than V2: RF2, LR-ASPP of 256', '§6.4, rows 3, 7',
               'v3_rf2_lr_aspp_256', 'v2_rf2_lr_aspp_256', (659, 786)),
    _segmenter('V3 is slightly faster than V2: RF2, LR-ASPP of 128', '§6.4, rows 4, 8',
               'v3_rf2_lr_aspp_128', 'v2_rf2_lr_aspp_128', (657, 766)),
    _segmenter('V3-Small is faster than V2 0.5', '§6.4, rows 9, 11',
               'small_rf2_lr_aspp_128', 'v2_0.5_rf2_lr_aspp_128', (327, 415)),
    # Without its ratio, 327 / 354: 8 % is more than is called comparable here.
    _segmenter('V3-Small yields a speed similar to V2 0.35’s', '§6.4, rows 10, 11',
               'small_rf2_lr_aspp_128', 'v2_0.35_rf2_lr_aspp_128', None, 'comparable'),
    _segmenter('V3 without atrous convolution (stride 32) is faster', '§6.4, Table 8',
               'v3_rf2_lr_aspp_128_os32', 'v3_rf2_lr_aspp_128', (534, 657)),
    _segmenter('V3-Small without atrous convolution (stride 32) is faster', '§6.4, Table 8',
               'small_rf2_lr_aspp_128_os32', 'small_rf2_lr_aspp_128', (275, 327)),
)

CLAIM_GROUPS = {
    'Classification': CLASSIFICATION_CLAIMS,
    'Detection: SSDLite at 320², raw answers': DETECTION_CLAIMS,
    'Segmentation: 512×1024': SEGMENTATION_CLAIMS,
}
LATENCY_CLAIMS = tuple(claim for claims in CLAIM_GROUPS.values() for claim in claims)

ACCURACY_CLAIMS = (
    AccuracyClaim('V3-Large is 3.2 points more accurate than V2', 'abstract, Table 3',
                  _LARGE, 'v2_1_224_float32', 3.2),
    AccuracyClaim('V3-Small is 6.6 points more accurate than V2 0.35', 'abstract, Table 3',
                  _SMALL, 'v2_0.35_224_float32', 6.6),
    AccuracyClaim('h-swish is 0.7 points more accurate than ReLU', 'Table 5',
                  _LARGE, 'large_relu_1_224_float32', 0.7),
    AccuracyClaim('h-swish @16 is 0.2 points more accurate than V3-Large (@80)', 'Table 5',
                  'large_hs16_1_224_float32', _LARGE, 0.2),
    AccuracyClaim('V3-Large is more accurate than its minimalistic form', 'README',
                  _LARGE, 'large_minimalistic_1_224_float32', 2.9),
)

COUNT_CLAIMS = (
    CountClaim('the efficient last stage saves 30 million MAdds', '§5.1',
               _LARGE, 'large_original_last_1_224_float32', 30),
    CountClaim('a stem of 16 filters saves 10 million MAdds on one of 32', '§5.1',
               _LARGE, 'large_stem32_1_224_float32', 10),
)
# fmt: on
