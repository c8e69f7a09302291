import numpy as np
import pytest
from PIL import ImageColor

from train.answers.drawn_boxes import COLORS, Drawn, color_of, draw_boxes

BLACK = np.zeros((50, 100, 3), np.uint8)


def of_color(picture, color):
    return (np.asarray(picture) == ImageColor.getrgb(color)).all(-1)


def test_a_box_is_drawn_where_it_is():
    marked = of_color(draw_boxes(BLACK, [Drawn((0.5, 0.25, 1.0, 0.75), COLORS[0])]), COLORS[0])
    rows, columns = marked.nonzero()
    assert marked.shape == (200, 400)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (100, 199, 100, 299)
    assert not marked[120:180, 120:280].any()  # an outline


def test_a_whole_image_keeps_its_size_and_large_ones_get_thick_lines():
    box = Drawn((0.5, 0.25, 1.0, 0.75), COLORS[0])
    assert draw_boxes(BLACK, [box], whole=True).size == (100, 50)
    large = of_color(draw_boxes(np.zeros((800, 1600, 3), np.uint8), [box], whole=True), COLORS[0])
    assert large.shape == (800, 1600)
    assert large[:, 800].sum() == 2 * 4  # above and below; 2 pixels of a picture half as large


def test_the_first_box_is_on_top():
    boxes = [Drawn((0.1, 0.1, 0.9, 0.9), color) for color in COLORS[:2]]
    picture = draw_boxes(BLACK, boxes)
    assert of_color(picture, COLORS[0]).any()
    assert not of_color(picture, COLORS[1]).any()


@pytest.mark.parametrize('box', [(0.0, 0.0, 0.2, 0.1), (0.5, 0.95, 0.9, 1.0), (0, 0, 1, 1)])
def test_words_stay_in_the_picture(box):
    plain, told = (
        of_color(draw_boxes(BLACK, [Drawn(box, COLORS[3], text)]), COLORS[3]).sum()
        for text in ('', 'a label 99%')
    )
    assert told > plain + 300


def test_classes_have_colours_over_and_over():
    assert [color_of(number) for number in range(len(COLORS))] == list(COLORS)
    assert color_of(len(COLORS)) == COLORS[0]
