"""Index masks: PNG files whose pixels are numbers of classes.

TensorFlow turns the numbers of a palette into colours and spreads those of fewer than 8 bits over
0 to 255. So a palette is hidden from it, by another colour type in the header, and a table for each
number of bits takes the spread back.
"""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

SIGNATURE = b'\x89PNG\r\n\x1a\n'
HEADER_BYTES = 33  # the signature, and the header with its length, name and checksum
BITS = (1, 2, 4, 8)
IGNORED = 255  # among classes: neither target nor mistake

_GREY, _PALETTE = 0, 3
_COLORS = {2: 'RGB', 4: 'grey with alpha', 6: 'RGB with alpha'}


def read_header(content: bytes) -> tuple[tuple[int, int], int, bytes]:
    """The beginning of a PNG file of one channel.

    Args:
      content: the file, or its first HEADER_BYTES.

    Returns:
      (height, width), bits a pixel, and HEADER_BYTES with which to begin the file instead, so that
      TensorFlow reads numbers.

    Raises:
      ValueError: it is no such file; why, in a few words.
    """
    if len(content) < HEADER_BYTES or content[:8] != SIGNATURE or content[12:16] != b'IHDR':
        raise ValueError('no PNG file')
    width, height, bits, color = struct.unpack('>IIBB', content[16:26])
    if color in _COLORS:
        raise ValueError(
            f'of colour ({_COLORS[color]}); expected an index mask, one number of a class a pixel'
        )
    if color not in (_GREY, _PALETTE) or bits not in BITS:
        raise ValueError(f'of {bits} bits a pixel; expected 8 or fewer')
    header = content[12:25] + bytes([_GREY]) + content[26:29]
    checked = header + struct.pack('>I', zlib.crc32(header))
    return (height, width), bits, content[:12] + checked


def class_tables(numbers: Sequence[int | None]) -> np.ndarray:
    """What TensorFlow reads of a mask, to classes.

    Args:
      numbers: of each class in the files; None of one that is in none.

    Returns:
      [4, 256] uint8: for files of each of BITS a pixel the class of each value, IGNORED for those of
      no class.
    """
    tables = np.full((len(BITS), 256), IGNORED, np.uint8)
    for table, bits in zip(tables, BITS, strict=True):
        for label, number in enumerate(numbers):
            if number is not None and number < 2**bits:
                table[number * (255 // (2**bits - 1))] = label
    return tables
