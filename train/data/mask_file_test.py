import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.data.mask_file import BITS, HEADER_BYTES, class_tables, read_header


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, 'PNG', **options)
    return buffer.getvalue()


def numbers(count):
    """Every number below `count`, [9, 31] uint8."""
    return (np.arange(9 * 31).reshape(9, 31) % count).astype(np.uint8)


def with_palette(mask):
    image = Image.fromarray(mask, 'P')
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    return image


def read(content):
    """The numbers in a mask as the pipeline reads them."""
    size, bits, header = read_header(content)
    values = tf.io.decode_png(header + content[HEADER_BYTES:], channels=1)[..., 0]
    assert values.shape == size
    return class_tables(list(range(12)))[BITS.index(bits)][values]


PALETTES = {
    '8 bits': (12, {'bits': 8}),
    '4 bits': (12, {'bits': 4}),
    '2 bits': (4, {'bits': 2}),
    '1 bit': (2, {'bits': 1}),
    'transparent': (12, {'bits': 8, 'transparency': bytes(range(100))}),
    'optimized': (3, {'optimize': True}),
}


@pytest.mark.parametrize('name', PALETTES)
def test_a_palette_gives_its_numbers_not_its_colours(name):
    count, options = PALETTES[name]
    mask = numbers(count)
    content = encode(with_palette(mask), **options)
    assert content[25] == 3  # is one with a palette
    np.testing.assert_array_equal(read(content), mask)


def test_grey_gives_its_numbers():
    mask = numbers(12)
    np.testing.assert_array_equal(read(encode(Image.fromarray(mask))), mask)


def test_black_and_white_are_0_and_1():
    content = encode(Image.fromarray(numbers(2) > 0))
    assert content[24] == 1  # bit a pixel
    np.testing.assert_array_equal(read(content), numbers(2))


def test_numbers_of_no_class_are_ignored():
    tables = class_tables([7, 0, 255])
    assert [tables[3][n] for n in (7, 0, 255, 1)] == [0, 1, 2, 255]
    assert [tables[2][17 * n] for n in (7, 0, 15)] == [0, 1, 255]  # 4 bits
    assert [tables[0][n] for n in (0, 255)] == [1, 255]  # 1 bit


@pytest.mark.parametrize(
    ('mode', 'reason'),
    [
        ('RGB', r'of colour \(RGB\); expected an index mask'),
        ('RGBA', r'of colour \(RGB with alpha\)'),
        ('LA', r'of colour \(grey with alpha\)'),
        ('I;16', 'of 16 bits a pixel; expected 8 or fewer'),
    ],
)
def test_other_kinds_are_refused(mode, reason):
    with pytest.raises(ValueError, match=reason):
        read_header(encode(Image.new(mode, (4, 4))))


@pytest.mark.parametrize('content', [b'', b'\x89PNG\r\n\x1a\n', b'\xff\xd8' + bytes(99)])
def test_what_is_no_png_is_refused(content):
    with pytest.raises(ValueError, match='no PNG file'):
        read_header(content)
