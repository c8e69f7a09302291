import numpy as np
import pytest
from PIL import Image

from train.answers.sheet import PICTURE, Line, Sheet, Tile, draw_alone, draw_page, thumbnail

RED = np.full((8, 4, 3), (250, 0, 0), np.uint8)


def tile(text='x', pixels=RED):
    return Tile(thumbnail(pixels), (Line(text, '99 %', bold=True), Line('photo.jpg')))


@pytest.mark.parametrize(
    ('shape', 'size'),
    [((8, 4), (100, 200)), ((1, 3000), (200, 1)), ((3000, 2000), (133, 200))],
)
def test_pictures_keep_their_shape(shape, size):
    assert thumbnail(np.zeros((*shape, 3), np.uint8)).size == size


def test_pages_fill_and_are_numbered(tmp_path):
    sheet = Sheet(tmp_path / 'contact.png', 'title')
    for _ in range(50):
        sheet.add(tile())
    sheet.close()
    assert [path.name for path in sheet.paths] == ['contact.png', 'contact_2.png']
    first, second = (Image.open(path).size for path in sheet.paths)
    assert first[0] > 8 * PICTURE > second[0] > 3 * PICTURE
    assert first[1] > 6 * PICTURE > second[1] > PICTURE


def test_a_page_shows_its_pictures_and_words():
    page = np.asarray(draw_page([tile(), tile('')], 'title'))
    red = (page == (250, 0, 0)).all(-1)
    assert red.sum() == 2 * 100 * 200
    dark = (page < 80).all(-1)
    assert dark[:40].any()  # the title
    assert dark[red.any(1).nonzero()[0].max() + 1 :].any()  # what stands under the pictures


@pytest.mark.parametrize('size', [(30, 20), (1600, 100)])
def test_a_picture_alone_stands_over_its_words(size):
    picture = Image.new('RGB', size, (250, 0, 0))
    page = np.asarray(draw_alone(Tile(picture, (Line('sky', '99 %'), Line('x.jpg')))))
    assert (page[: size[1], : size[0]] == (250, 0, 0)).all()
    assert (page[size[1] :] < 128).all(-1).any()
    assert page.shape[1] == max(240, size[0])


def test_long_text_ends_before_the_next_tile():
    text = 'long ' * 100
    page = np.asarray(draw_page([tile(text), tile(text)], text))
    below = (page[PICTURE + 70 :] < 128).all(-1).any(0)
    gap = 24 + PICTURE  # between the first and the second tile
    assert below[:gap].any()
    assert not below[gap : gap + 16].any()
