"""The networks as the papers print them: one row a layer, columns in the papers' order."""

import difflib

from mobilenet_v3.spec import Activation, BlockSpec, ConvSpec, ModelSpec, SqueezeExcite
from mobilenet_v3.transforms import minimalistic, with_features

HS: Activation = 'hard_swish'
RE: Activation = 'relu'
RE6: Activation = 'relu6'
SE = SqueezeExcite()  # MobileNetV3: a quarter of the expansion, hard-sigmoid gate (§5.3)
NO = None
MNAS_SE = SqueezeExcite(relative_to='input', gate='sigmoid', divisor=1)

# fmt: off

# Paper: Table 1. The SE column is mended from the released code.
LARGE = (
    # k, exp, out, SE, NL, s                   input
    (3,  16,  16,  NO, RE, 1),  # bneck 1      112² × 16
    (3,  64,  24,  NO, RE, 2),  #       2      112² × 16
    (3,  72,  24,  NO, RE, 1),  #       3       56² × 24
    (5,  72,  40,  SE, RE, 2),  #       4       56² × 24
    (5, 120,  40,  SE, RE, 1),  #       5       28² × 40
    (5, 120,  40,  SE, RE, 1),  #       6       28² × 40
    (3, 240,  80,  NO, HS, 2),  #       7       28² × 40
    (3, 200,  80,  NO, HS, 1),  #       8       14² × 80
    (3, 184,  80,  NO, HS, 1),  #       9       14² × 80
    (3, 184,  80,  NO, HS, 1),  #      10       14² × 80
    (3, 480, 112,  SE, HS, 1),  #      11       14² × 80
    (3, 672, 112,  SE, HS, 1),  #      12       14² × 112
    (5, 672, 160,  SE, HS, 2),  #      13       14² × 112
    (5, 960, 160,  SE, HS, 1),  #      14        7² × 160
    (5, 960, 160,  SE, HS, 1),  #      15        7² × 160
)

# Paper: Table 2. The SE column is mended from the released code.
SMALL = (
    # k, exp, out, SE, NL, s                   input
    (3,  16,  16,  SE, RE, 2),  # bneck 1      112² × 16
    (3,  72,  24,  NO, RE, 2),  #       2       56² × 16
    (3,  88,  24,  NO, RE, 1),  #       3       28² × 24
    (5,  96,  40,  SE, HS, 2),  #       4       28² × 24
    (5, 240,  40,  SE, HS, 1),  #       5       14² × 40
    (5, 240,  40,  SE, HS, 1),  #       6       14² × 40
    (5, 120,  48,  SE, HS, 1),  #       7       14² × 40
    (5, 144,  48,  SE, HS, 1),  #       8       14² × 48
    (5, 288,  96,  SE, HS, 2),  #       9       14² × 48
    (5, 576,  96,  SE, HS, 1),  #      10        7² × 96
    (5, 576,  96,  SE, HS, 1),  #      11        7² × 96
)

# MobileNetV1 (arXiv:1704.04861), Table 1: depthwise and pointwise, both with ReLU6 and no residual.
V1 = (
    # out, s     input
    (  64, 1),  # 112² × 32
    ( 128, 2),  # 112² × 64
    ( 128, 1),  #  56² × 128
    ( 256, 2),  #  56² × 128
    ( 256, 1),  #  28² × 256
    ( 512, 2),  #  28² × 256
    ( 512, 1),  #  14² × 512
    ( 512, 1),
    ( 512, 1),
    ( 512, 1),
    ( 512, 1),
    (1024, 2),  #  14² × 512
    (1024, 1),  #   7² × 1024
)

# MobileNetV2 (arXiv:1801.04381), Table 2.
V2 = (
    # t, c,  n, s     input
    (1,  16, 1, 1),  # 112² × 32
    (6,  24, 2, 2),  # 112² × 16
    (6,  32, 3, 2),  #  56² × 24
    (6,  64, 4, 2),  #  28² × 32
    (6,  96, 3, 1),  #  14² × 64
    (6, 160, 3, 2),  #  14² × 96
    (6, 320, 1, 1),  #   7² × 160
)

# MnasNet-A1 (arXiv:1807.11626), Fig. 7; the seed of MobileNetV3-Large.
MNASNET_A1 = (
    # r, k, s, e,   o, SE            input
    (1,  3, 1, 1,  16, NO),       # 112² × 32
    (2,  3, 2, 6,  24, NO),       # 112² × 16
    (3,  5, 2, 3,  40, MNAS_SE),  #  56² × 24
    (4,  3, 2, 6,  80, NO),       #  28² × 40
    (2,  3, 1, 6, 112, MNAS_SE),  #  14² × 80
    (3,  5, 2, 6, 160, MNAS_SE),  #  14² × 112
    (1,  3, 1, 6, 320, NO),       #   7² × 160
)

# MnasNet-small, of the released MnasNet code.
MNASNET_SMALL = (
    # r, k, s, e,   o, SE            input
    (1,  3, 1, 1,   8, NO),       # 112² × 8
    (1,  3, 2, 3,  16, NO),       # 112² × 8
    (2,  3, 2, 6,  16, NO),       #  56² × 16
    (4,  5, 2, 6,  32, MNAS_SE),  #  28² × 16
    (3,  3, 1, 6,  32, MNAS_SE),  #  14² × 32
    (3,  5, 2, 6,  88, MNAS_SE),  #  14² × 32
    (1,  3, 1, 6, 144, NO),       #   7² × 88
)

# ProxylessNAS-mobile (arXiv:1812.00332), Fig. 4.
PROXYLESS_MOBILE = (
    # r, k, s, e,   o, SE     input
    (1,  3, 1, 1,  16, NO),  # 112² × 32
    (1,  5, 2, 3,  32, NO),  # 112² × 16
    (1,  3, 1, 3,  32, NO),  #  56² × 32
    (1,  7, 2, 3,  40, NO),  #  56² × 32
    (1,  3, 1, 3,  40, NO),  #  28² × 40
    (2,  5, 1, 3,  40, NO),
    (1,  7, 2, 6,  80, NO),  #  28² × 40
    (3,  5, 1, 3,  80, NO),  #  14² × 80
    (1,  5, 1, 6,  96, NO),  #  14² × 80
    (3,  5, 1, 3,  96, NO),  #  14² × 96
    (1,  7, 2, 6, 192, NO),  #  14² × 96
    (1,  7, 1, 6, 192, NO),  #   7² × 192
    (2,  7, 1, 3, 192, NO),
    (1,  7, 1, 6, 320, NO),  #   7² × 192
)

# fmt: on


def _v3(name: str, rows: tuple, features: int) -> ModelSpec:
    blocks = tuple(BlockSpec(k, exp, out, se, nl, s) for k, exp, out, se, nl, s in rows)
    return ModelSpec(
        name=name,
        stem=ConvSpec(3, 16, HS, stride=2),
        blocks=blocks,
        last=ConvSpec(1, 6 * blocks[-1].filters, HS, scaling='input'),
        features=ConvSpec(1, features, HS, batch_norm=False, scaling='grow_only'),
    )


def _v1(name: str, rows: tuple) -> ModelSpec:
    blocks = []
    in_channels = 32
    for out, s in rows:
        blocks.append(
            BlockSpec(3, in_channels, out, NO, RE6, s, residual=False, project_activation=RE6)
        )
        in_channels = out
    stem = ConvSpec(3, 32, RE6, stride=2)
    return ModelSpec(name=name, stem=stem, blocks=tuple(blocks), last=None, features=None)


def _mnas(name: str, rows: tuple, stem: int, activation: Activation) -> ModelSpec:
    """Rows r k s e o SE: `r` blocks of which the first has the stride, expansion e · input."""
    blocks = []
    in_channels = stem
    for r, k, s, e, o, se in rows:
        for i in range(r):
            stride = s if i == 0 else 1
            blocks.append(BlockSpec(k, e * in_channels, o, se, activation, stride))
            in_channels = o
    return ModelSpec(
        name=name,
        stem=ConvSpec(3, stem, activation, stride=2),
        blocks=tuple(blocks),
        last=ConvSpec(1, 1280, activation, scaling='grow_only'),
        features=None,
    )


def _v2(name: str, rows: tuple) -> ModelSpec:
    return _mnas(name, tuple((n, 3, s, t, c, NO) for t, c, n, s in rows), 32, RE6)


def _renamed(name: str, spec: ModelSpec) -> ModelSpec:
    return ModelSpec(**{**vars(spec), 'name': name})


_large = _v3('large', LARGE, features=1280)
_small = _v3('small', SMALL, features=1280)
_small_1024 = _renamed('small_1024', with_features(_small, 1024))

# Every network of this project by its name on the command line.
SPECS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        _large,
        _small,  # the 1280 features of the paper's Table 2
        _small_1024,  # the 1024 of the released checkpoints and every public port
        _renamed('large_minimalistic', minimalistic(_large)),
        _renamed('small_minimalistic', minimalistic(_small_1024)),
        _v1('v1', V1),
        _v2('v2', V2),
        _mnas('mnasnet_a1', MNASNET_A1, 32, RE),
        _mnas('mnasnet_small', MNASNET_SMALL, 8, RE),
        _mnas('proxyless_mobile', PROXYLESS_MOBILE, 32, RE6),
    )
}


def get_spec(name: str) -> ModelSpec:
    """The network of that name.

    Raises:
      ValueError: there is none; the message holds the nearest known name.
    """
    if name in SPECS:
        return SPECS[name]
    near = difflib.get_close_matches(name, SPECS, n=1)
    hint = f'did you mean {near[0]!r}? ' if near else ''
    raise ValueError(f'unknown model {name!r}; {hint}known models: {", ".join(SPECS)}')
