import io
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from train.data.exif import is_turned

ORIENTATION = 0x0112


def jpeg(orientation=None, endian='<', comment=b''):
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = 'a camera'
    if orientation is not None:
        exif[ORIENTATION] = orientation
    file = io.BytesIO()
    Image.new('RGB', (9, 7)).save(file, 'JPEG', exif=exif, comment=comment)
    return file.getvalue()


@pytest.mark.parametrize('endian', ['<', '>'])
@pytest.mark.parametrize('orientation', range(10))
def test_a_jpeg_tells_whether_it_is_turned(orientation, endian):
    content = jpeg(orientation, endian, comment=b'before or after')
    assert Image.open(io.BytesIO(content)).getexif()[ORIENTATION] == orientation
    assert is_turned(content) == (2 <= orientation <= 8)


def test_bytes_that_fill_up_are_passed_over():
    content = jpeg(6).replace(b'\xff\xe1', b'\xff\xff\xff\xe1', 1)
    assert Image.open(io.BytesIO(content)).getexif()[ORIENTATION] == 6
    assert is_turned(content)


@pytest.mark.parametrize('side', [10_000, 60_000])
def test_of_large_images_the_header_is_enough(side):
    size = side.to_bytes(2, 'big') * 2
    content = jpeg(6).replace(b'\x08\x00\x07\x00\x09\x03', b'\x08' + size + b'\x03', 1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert is_turned(content)


def test_what_says_nothing_is_upright():
    plain, png = io.BytesIO(), io.BytesIO()
    Image.new('RGB', (9, 7)).save(plain, 'JPEG')
    Image.new('RGB', (9, 7)).save(png, 'PNG')
    for content in (jpeg(), plain.getvalue(), png.getvalue(), b'', b'\xff\xd8', b'\xff\xd8\xff'):
        assert not is_turned(content)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_broken_exif_is_no_fault(data):
    content = bytearray(jpeg(6)[:200])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(2, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert is_turned(bytes(content[: data.draw(st.integers(0, len(content)))])) in (True, False)
