"""The tables of the paper's measurements as data, each row with the files that fill it here.

Paper: Tables 3 to 8, and what the README of the released code adds.
"""

import dataclasses
from typing import Literal

from benchmark.paper.head_grid import FULL, HALF, HeadEntry

Quantity = Literal['text', 'top1', 'madds', 'params', 'task', 'latency']
Cell = str | float | None  # None where the paper tells nothing


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table of the paper.

    Attributes:
      title: as in the paper, with the unit.
      quantity: what it holds. 'top1' in percent; 'madds' and 'params' in millions here and in the
        paper's unit, `scale` of them; 'task': mAP or mIOU; 'latency' in ms.
      digits: after the point, of our figure.
      scale: how many parameters or multiply-adds the unit is.
      file: which of a row's keys fills it.
    """

    title: str
    quantity: Quantity
    digits: int = 0
    scale: float = 1e6
    file: int = 0


@dataclasses.dataclass(frozen=True)
class Row:
    """Figures of the paper in the order of the columns, and what was built for them here.

    Attributes:
      figures: of the paper.
      keys: of `grid.ENTRIES`; one, or several where a row holds latencies of several files. Empty
        where nothing here builds the network: those of others that the paper cites.
    """

    figures: tuple[Cell, ...]
    keys: tuple[str, ...] = ()

    def key(self, column: Column) -> str | None:
        """The file that fills a column of this row."""
        return self.keys[column.file] if column.file < len(self.keys) else None


@dataclasses.dataclass(frozen=True)
class Ratios:
    """A table's latencies as ratios to one of its rows.

    Attributes:
      row: its index.
      forms: title, which of a row's keys, and the paper's column of that, if it has one.
      int8: which of a row's keys is of an int8 file, and which of the same in float.
    """

    row: int
    forms: tuple[tuple[str, int, str | None], ...]
    int8: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
      latencies: what a device measures for each row: title and which of the row's keys.
      note: what a reader needs beside the caption.
      images: of which the paper tells accuracies.
      held_out: whether nobody but the dataset's own server knows their annotations, so that no
        accuracy of ours can be of them.
      ratios: what is shown below it.
    """

    title: str
    columns: tuple[Column, ...]
    latencies: tuple[tuple[str, int], ...]
    rows: tuple[Row, ...]
    note: str = ''
    images: str = 'ImageNet’s 50,000 validation images'
    held_out: bool = False
    ratios: Ratios | None = None

    def name_of(self, row: Row) -> str:
        """All that a row says of its network: '8 V3 RF2 LR-ASPP 128', 'V3 OS 16'."""
        words = []
        for column, figure in zip(self.columns, row.figures, strict=True):
            if column.title == 'OS':
                words.append(f'OS {figure}')
            elif column.title != 'RF2' and column.quantity == 'text':
                words.append(str(figure))
            elif figure == 'yes':
                words.append(column.title)
        return ' '.join(words)


def _rows(*rows: tuple) -> tuple[Row, ...]:
    """Each row's last value is its key, its keys, or None."""
    keys = [row[-1] if isinstance(row[-1], tuple) else row[-1:] for row in rows]
    return tuple(
        Row(row[:-1], tuple(key for key in own if key)) for row, own in zip(rows, keys, strict=True)
    )


_NETWORK = Column('Network', 'text')
_TOP1 = Column('Top-1', 'top1', 1)
_MADDS = Column('MAdds M', 'madds', 1)
_PARAMS = Column('Params M', 'params', 2)
_PIXELS = tuple(Column(f'P-{n} ms', 'latency') for n in (1, 2, 3))
_ONE = (('ms', 0),)


def _detector(row: str) -> tuple[str, ...]:
    """Float, int8."""
    return HeadEntry(row).key, HeadEntry(row, scheme='int8').key


def _segmenter(row: str) -> tuple[str, ...]:
    """Full resolution, half, half in int8."""
    files = HeadEntry(row, FULL), HeadEntry(row, HALF), HeadEntry(row, HALF, 'int8')
    return tuple(file.key for file in files)


# fmt: off
TABLE_3 = Table(
    'Table 3. Floating point, 224²', (_NETWORK, _TOP1, _MADDS, _PARAMS, *_PIXELS), _ONE,
    _rows(
        # network        top-1  MAdds params P-1   P-2   P-3   file
        ('V3-Large 1.0',  75.2, 219,  5.4, 51,   61,   44,   'large_1_224_float32'),
        ('V3-Large 0.75', 73.3, 155,  4.0, 39,   46,   40,   'large_0.75_224_float32'),
        ('MnasNet-A1',    75.2, 315,  3.9, 71,   86,   61,   'mnasnet_a1_1_224_float32'),
        ('Proxyless',     74.6, 320,  4.0, 72,   84,   60,   'proxyless_mobile_1_224_float32'),
        ('V2 1.0',        72.0, 300,  3.4, 64,   76,   56,   'v2_1_224_float32'),
        ('V3-Small 1.0',  67.4, 66,   2.9, 15.8, 19.4, 14.4, 'small_1_224_float32'),
        ('V3-Small 0.75', 65.4, 44,   2.4, 12.8, 15.6, 11.7, 'small_0.75_224_float32'),
        ('Mnas-small',    64.9, 65.1, 1.9, 20.3, 24.2, 17.2, 'mnasnet_small_1_224_float32'),
        ('V2 0.35',       60.8, 59.2, 1.6, 16.6, 19.6, 13.9, 'v2_0.35_224_float32'),
    ),
)

TABLE_4 = Table(
    'Table 4. Quantized, 224²', (_NETWORK, _TOP1, *_PIXELS), _ONE,
    _rows(
        ('V3-Large 1.0', 73.8, 44,   42.5, 31.7, 'large_1_224_int8'),
        ('V2 1.0',       70.9, 52,   48.3, 37.0, 'v2_1_224_int8'),
        ('V3-Small',     64.9, 15.5, 14.9, 10.7, 'small_1_224_int8'),
        ('V2 0.35',      57.2, 16.7, 15.6, 11.9, 'v2_0.35_224_int8'),
    ),
    'Ours compute h-swish as ADD + RELU6 and MUL, so that XNNPACK runs the file in one piece.',
)

TABLE_5 = Table(
    'Table 5. Non-linearities of V3-Large, 224²',
    (_NETWORK, _TOP1, _PIXELS[0], Column('P-1 (no-opt) ms', 'latency')),
    (('ms', 0), ('(no-opt) ms', 1)),
    _rows(
        ('V3-Large 1.0', 75.2, 51.4, 57.5,
         ('large_1_224_float32', 'large_1_224_float32_decomposed')),
        ('ReLU',         74.5, 50.5, 50.5,
         ('large_relu_1_224_float32', 'large_relu_1_224_float32')),
        ('h-swish @16',  75.4, 53.5, 68.9,
         ('large_hs16_1_224_float32', 'large_hs16_1_224_float32_decomposed')),
        ('h-swish @112', 75.0, 51,   54.4,
         ('large_hs112_1_224_float32', 'large_hs112_1_224_float32_decomposed')),
    ),
    '“no-opt”: h-swish as its parts, ADD, RELU6 and MUL, instead of the one op HARD_SWISH.',
)

README = Table(
    'README of the released code: minimalistic networks, 224²',
    (_NETWORK, _TOP1, _MADDS, _PARAMS, *_PIXELS), _ONE,
    _rows(
        ('Large-minimalistic',       72.3, 209,  3.9,  44.1, 51,   35,
         'large_minimalistic_1_224_float32'),
        ('Large-minimalistic 8-bit', 71.3, None, None, 37,   35,   27,
         'large_minimalistic_1_224_int8'),
        ('Small-minimalistic',       61.9, 65,   2.0,  12.2, 15.1, 11,
         'small_minimalistic_1_224_float32'),
    ),
)

TABLE_6 = Table(
    'Table 6. SSDLite on COCO, 320²',
    (Column('Backbone', 'text'), Column('mAP', 'task', 1), Column('Latency ms', 'latency'),
     Column('Params M', 'params', 2), Column('MAdds B', 'madds', 2, 1e9)),
    (('ms', 0), ('int8 ms', 1)),
    _rows(
        # backbone       mAP   ms   params MAdds files
        ('V1',           22.2, 228, 5.1,  1.3,  _detector('v1')),
        ('V2',           22.1, 162, 4.3,  0.80, _detector('v2')),
        ('MnasNet',      23.0, 174, 4.88, 0.84, _detector('mnasnet')),
        ('V3',           22.0, 137, 4.97, 0.62, _detector('v3')),
        ('V3 †',         22.0, 119, 3.22, 0.51, _detector('v3_halved')),
        ('V2 0.35',      13.7, 66,  0.93, 0.16, _detector('v2_0.35')),
        ('V2 0.5',       16.6, 79,  1.54, 0.27, _detector('v2_0.5')),
        ('MnasNet 0.35', 15.6, 68,  1.02, 0.18, _detector('mnasnet_0.35')),
        ('MnasNet 0.5',  18.5, 85,  1.68, 0.29, _detector('mnasnet_0.5')),
        ('V3-Small',     16.0, 52,  2.49, 0.21, _detector('small')),
        ('V3-Small †',   16.1, 43,  1.77, 0.16, _detector('small_halved')),
    ),
    '†: channels between C4 and C5 halved. Ours give raw answers of 90 classes: the suppression of '
    'boxes, the same behind every network, is not in the latencies. The paper’s rows V1 and V2 hold '
    '80 classes by our reading: so counted, ours have 5.10 M and 1.31 B, 4.34 M and 0.79 B.',
    'COCO’s test images', held_out=True,
    ratios=Ratios(1, (('float', 0, 'Latency ms'), ('int8', 1, None)), (1, 0)),
)

_CITYSCAPES = (('full ms', 0), ('half ms', 1), ('half int8 ms', 2))  # 1024×2048 and 512×1024
_FORMS = (('full', 0, 'CPU (f) ms'), ('half', 1, 'CPU (h) ms'), ('half int8', 2, None))

TABLE_7 = Table(
    'Table 7. Segmentation, Cityscapes val',
    (Column('N', 'text'), Column('Backbone', 'text'), Column('RF2', 'text'), Column('SH', 'text'),
     Column('F', 'text'), Column('mIOU', 'task', 2), Column('Params M', 'params', 2),
     Column('MAdds B', 'madds', 2, 1e9), Column('CPU (f) ms', 'latency'),
     Column('CPU (h) ms', 'latency')),
    _CITYSCAPES,
    _rows(
        # N    backbone    RF2    SH         F      mIOU   params MAdds  full  half  files
        ('1',  'V2',       'no',  'R-ASPP',  '256', 72.84, 2.11, 21.29, 3900, 1020,
         _segmenter('v2_r_aspp_256')),
        ('2',  'V2',       'yes', 'R-ASPP',  '256', 72.56, 1.15, 13.68, 3030, 793,
         _segmenter('v2_rf2_r_aspp_256')),
        ('3',  'V2',       'yes', 'LR-ASPP', '256', 72.97, 1.02, 12.83, 2980, 786,
         _segmenter('v2_rf2_lr_aspp_256')),
        ('4',  'V2',       'yes', 'LR-ASPP', '128', 72.74, 0.98, 12.57, 2890, 766,
         _segmenter('v2_rf2_lr_aspp_128')),
        ('5',  'V3',       'no',  'R-ASPP',  '256', 72.64, 3.60, 18.43, 3550, 906,
         _segmenter('v3_r_aspp_256')),
        ('6',  'V3',       'yes', 'R-ASPP',  '256', 71.91, 1.76, 11.24, 2600, 668,
         _segmenter('v3_rf2_r_aspp_256')),
        ('7',  'V3',       'yes', 'LR-ASPP', '256', 72.37, 1.63, 10.33, 2550, 659,
         _segmenter('v3_rf2_lr_aspp_256')),
        ('8',  'V3',       'yes', 'LR-ASPP', '128', 72.36, 1.51, 9.74,  2470, 657,
         _segmenter('v3_rf2_lr_aspp_128')),
        ('9',  'V2 0.5',   'yes', 'LR-ASPP', '128', 68.57, 0.28, 4.00,  1590, 415,
         _segmenter('v2_0.5_rf2_lr_aspp_128')),
        ('10', 'V2 0.35',  'yes', 'LR-ASPP', '128', 66.83, 0.16, 2.54,  1270, 354,
         _segmenter('v2_0.35_rf2_lr_aspp_128')),
        ('11', 'V3-Small', 'yes', 'LR-ASPP', '128', 68.38, 0.47, 2.90,  1210, 327,
         _segmenter('small_rf2_lr_aspp_128')),
    ),
    'The paper’s latencies are a Pixel 3’s; inputs of 1024×2048 (f) and 512×1024 (h). Ours give '
    'logits at the size of the input. Their multiply-adds are those at 1024×2048, with four a number '
    'that is resized, 0.16 to 0.17 B in all; the paper’s code evaluates at 1025×2049, which makes '
    'most of the difference.',
    'Cityscapes’s 500 validation images',
    ratios=Ratios(0, _FORMS, (2, 1)),
)

TABLE_8 = Table(
    'Table 8. Segmentation, Cityscapes test',
    (Column('Backbone', 'text'), Column('OS', 'text'), Column('mIOU', 'task', 1),
     Column('MAdds (f) B', 'madds', 2, 1e9), Column('MAdds (h) B', 'madds', 2, 1e9, file=1),
     Column('CPU (f) ms', 'latency'), Column('CPU (h) ms', 'latency')),
    _CITYSCAPES,
    _rows(
        # backbone OS    mIOU  full  half  full  half  files
        ('V3',       '16', 72.6, 9.74, 2.48, 2470, 657, _segmenter('v3_rf2_lr_aspp_128')),
        ('V3',       '32', 72.0, 7.74, 1.98, 2060, 534, _segmenter('v3_rf2_lr_aspp_128_os32')),
        ('V3-Small', '16', 69.4, 2.90, 0.74, 1210, 327, _segmenter('small_rf2_lr_aspp_128')),
        ('V3-Small', '32', 68.3, 2.06, 0.53, 1030, 275, _segmenter('small_rf2_lr_aspp_128_os32')),
        ('ESPNetv2', '–',  66.2, None, 2.7,  None, None, None),
        ('CCC2',     '–',  62.0, None, 3.15, None, None, None),
        ('ESPNetv1', '–',  60.3, None, 4.5,  None, None, None),
    ),
    'The paper’s latencies are a Pixel 3’s.',
    'Cityscapes’s test images', held_out=True,
    ratios=Ratios(0, _FORMS, (2, 1)),
)
# fmt: on

TABLES = (TABLE_3, TABLE_4, TABLE_5, README, TABLE_6, TABLE_7, TABLE_8)

# Top-1 of V3 at 224² by width multiplier, of independent trainings on ImageNet.
REPRODUCED_TOP1 = {
    'large': {0.35: 64.3, 0.5: 69.2, 0.75: 73.1, 1.0: 75.3, 1.25: 76.4},
    'small': {0.35: 53.0, 0.5: 59.2, 0.75: 66.0, 1.0: 68.2, 1.25: 70.7},
}


def paper_top1(key: str) -> float | None:
    """The paper's top-1 of an entry of the grid, in percent; None where no table has it."""
    for table in TABLES:
        for column, title in enumerate(table.columns):
            if title.quantity == 'top1':
                for row in table.rows:
                    figure = row.figures[column]
                    if row.keys[:1] == (key,) and isinstance(figure, float):
                        return figure
    return None
