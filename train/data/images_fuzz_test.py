"""Image files of any content are pixels or a few words, and what is admitted can be trained on."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from PIL import Image

from train.data.augment import center_crop, random_crop
from train.data.images import read_image
from train.data.mask_file import HEADER_BYTES, read_header

BUDGET = settings(max_examples=100, deadline=None, derandomize=True, database=None)
SIZE = (32, 48)
CONFIG = ConfigDict({'area': (0.05, 1.0), 'aspect': (3 / 4, 4 / 3), 'flip': True})


def encode(shape, kind, mode='RGB', frames=1, **options):
    """An image file of noise, of (height, width) `shape`."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(frames):
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        images.append(Image.fromarray(pixels).convert(mode))
    if frames > 1:
        options |= {'save_all': True, 'append_images': images[1:]}
    file = io.BytesIO()
    images[0].save(file, kind, **options)
    return file.getvalue()


def png_16():
    file = io.BytesIO()
    ramp = np.arange(35 * 40, dtype=np.uint16).reshape(35, 40) * 40
    Image.fromarray(ramp).save(file, 'PNG')
    return file.getvalue()


# Files that people have; those that are no image for TensorFlow are to be refused.
FILES = {
    'jpeg': encode((40, 50), 'JPEG'),
    'jpeg, progressive': encode((40, 50), 'JPEG', progressive=True),
    'jpeg, grey': encode((40, 50), 'JPEG', 'L'),
    'jpeg, CMYK': encode((40, 50), 'JPEG', 'CMYK'),
    'jpeg, 1×1': encode((1, 1), 'JPEG'),
    'jpeg, 20,000 wide': encode((3, 20_000), 'JPEG'),
    'jpeg, 20,000 high': encode((20_000, 3), 'JPEG'),
    'png': encode((40, 50), 'PNG'),
    'png, grey': encode((40, 50), 'PNG', 'L'),
    'png, with alpha': encode((40, 50), 'PNG', 'RGBA'),
    'png, grey with alpha': encode((40, 50), 'PNG', 'LA'),
    'png, palette': encode((40, 50), 'PNG', 'P'),
    'png, 1 bit': encode((40, 50), 'PNG', '1'),
    'png, 16 bits': png_16(),
    'png, 1×1': encode((1, 1), 'PNG'),
    'png, 20,000 wide': encode((3, 20_000), 'PNG'),
    'png, animated': encode((40, 50), 'PNG', frames=3),
    'gif': encode((40, 50), 'GIF', 'P'),
    'gif, animated': encode((40, 50), 'GIF', 'P', frames=3),
    'bmp': encode((40, 50), 'BMP'),
}
OTHERS = {
    'webp, animated': encode((40, 50), 'WEBP', frames=3),
    'tiff': encode((40, 50), 'TIFF'),
    'text': b'hello',
    'nothing': b'',
    'zeros': bytes(1000),
}


@pytest.fixture(scope='module')
def crops():
    """What training and evaluation take of an image, traced once."""
    content = tf.TensorSpec([], tf.string)
    trained = tf.function(lambda x: random_crop(x, tf.constant([1, 2]), SIZE, CONFIG))
    evaluated = tf.function(lambda x: center_crop(x, SIZE, 0.875))
    return [function.get_concrete_function(content) for function in (trained, evaluated)]


def check(folder, content, crops):
    """Whether a file is admitted; then training and evaluation must be able to read it."""
    file = folder / 'image.jpg'  # whatever it is
    file.write_bytes(content)
    try:
        read, pixels = read_image(str(file))
    except ValueError as e:
        assert str(e)
        return False
    assert read == content
    assert pixels.shape[2] == 3
    for crop in crops:
        assert crop(tf.constant(content)).shape == (*SIZE, 3)
    return True


@pytest.mark.parametrize('name', FILES)
def test_what_people_have_can_be_trained_on(tmp_path, crops, name):
    assert check(tmp_path, FILES[name], crops)


@pytest.mark.parametrize('name', OTHERS)
def test_what_is_no_image_here_is_refused(tmp_path, crops, name):
    assert not check(tmp_path, OTHERS[name], crops)


def test_a_still_webp_is_refused_or_can_be_trained_on(tmp_path, crops):
    check(tmp_path, encode((40, 50), 'WEBP'), crops)  # as the version of TensorFlow has it


SMALL = st.sampled_from([content for content in FILES.values() if len(content) < 20_000])


@BUDGET
@given(SMALL, st.floats(0, 1))
def test_a_file_cut_short_is_refused_or_can_be_trained_on(tmp_path_factory, crops, content, share):
    check(tmp_path_factory.getbasetemp(), content[: int(share * len(content))], crops)


@BUDGET
@given(SMALL, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_changed_file_is_refused_or_can_be_trained_on(tmp_path_factory, crops, content, bytes_):
    changed = bytearray(content)
    for place, value in bytes_:
        changed[int(place * (len(changed) - 1))] = value
    check(tmp_path_factory.getbasetemp(), bytes(changed), crops)


@BUDGET
@given(SMALL, st.integers(0, 64), st.binary(min_size=1, max_size=8))
def test_a_changed_header_is_refused_or_can_be_trained_on(
    tmp_path_factory, crops, content, at, junk
):
    changed = content[:at] + junk + content[at + len(junk) :]
    check(tmp_path_factory.getbasetemp(), changed, crops)


@BUDGET
@given(
    st.binary(max_size=64)
    | st.builds(lambda a, b: FILES['png'][:a] + b, st.integers(0, 32), st.binary(max_size=64))
)
def test_the_header_of_a_mask_is_read_or_refused(content):
    try:
        (height, width), bits, header = read_header(content)
    except ValueError as e:
        assert str(e)
        return
    assert min(height, width) >= 0
    assert bits in (1, 2, 4, 8)
    assert len(header) == HEADER_BYTES
