"""Masks of any content are pixels or a few words (hypothesis; a bounded budget)."""

import io
import shutil
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from PIL import Image

from configs import base
from train.data.mask_folder import open_mask_folder

BUDGET = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def png(mode, size=(48, 40), **options):
    """A PNG file of the numbers 0 to 2, of (width, height) `size`."""
    pixels = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[::-1]) % 3
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, 'PNG', **options)
    return file.getvalue()


def with_header(content, **fields):
    """The same file that says another width, height, number of bits or colour type."""
    names = ('width', 'height', 'bits', 'color', 'compression', 'filter', 'interlace')
    values = dict(zip(names, struct.unpack('>IIBBBBB', content[16:29]), strict=True))
    header = b'IHDR' + struct.pack('>IIBBBBB', *{**values, **fields}.values())
    return content[:12] + header + struct.pack('>I', zlib.crc32(header)) + content[33:]


MASKS = [png('L'), png('P'), png('1'), png('RGB'), png('RGBA'), png('I;16'), png('L', (1, 1))]
sides = st.sampled_from([0, 1, 40, 48, 20_000, 2**31 - 1, 2**32 - 1])
headers = st.fixed_dictionaries(
    {},
    optional={
        'width': sides,
        'height': sides,
        'bits': st.sampled_from([0, 1, 2, 4, 8, 16, 255]),
        'color': st.integers(0, 7),
        'interlace': st.integers(0, 2),
    },
)


@pytest.fixture(scope='module')
def folder(mask_folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp('fuzz') / 'masks'
    shutil.copytree(mask_folder, copy)
    return copy


def check(folder, content):
    """Opens a dataset one of whose masks holds `content`: it counts as a mask or is named."""
    (folder / 'trainannot' / '0.png').write_bytes(content)
    config = ConfigDict(base.get_config().data.to_dict())
    config.max_bad_fraction = 0.5
    try:
        source = open_mask_folder(str(folder), config)
    except ValueError as e:
        assert str(e)
        return
    # Whatever is admitted is read as training reads it.
    for raw in source.train.examples().as_numpy_iterator():
        assert raw['mask'].startswith(b'\x89PNG')
    assert 9 <= source.train.num_examples <= 10


@BUDGET
@given(st.sampled_from(MASKS), headers)
def test_a_mask_of_another_header_is_read_or_named(folder, content, fields):
    check(folder, with_header(content, **fields))


@BUDGET
@given(st.sampled_from(MASKS), st.integers(0, 200), st.binary(max_size=8), st.booleans())
def test_a_damaged_mask_is_read_or_named(folder, content, at, junk, cut):
    check(folder, content[:at] + junk + (b'' if cut else content[at + len(junk) :]))
