"""Boxes drawn into pictures."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from train.answers.sheet import LARGE, label_font, scale_of, thumbnail

# By class, over and over; distinct on light and dark, also for those who see no red or no green.
COLORS = ('#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7')
TRUTH, FOUND, MISSED, WRONG = '#ffffff', '#009e73', '#f0e442', '#d81b60'
_EDGE = 2  # pixels


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A box to draw: ymin, xmin, ymax, xmax in [0, 1], with a few words at its corner."""

    box: Sequence[float]
    color: str
    text: str = ''


def color_of(number: int) -> str:
    """The color of a class."""
    return COLORS[number % len(COLORS)]


def draw_boxes(pixels: np.ndarray, boxes: Sequence[Drawn], whole: bool = False) -> Image.Image:
    """An image with boxes, the first one on top.

    Args:
      pixels: [H, W, 3] uint8.
      boxes: to draw.
      whole: at the image's own size; else as a picture of a `LARGE` sheet.
    """
    picture = Image.fromarray(pixels) if whole else thumbnail(pixels, LARGE)
    scale = scale_of(picture)
    draw = ImageDraw.Draw(picture)
    font = label_font(scale)
    for drawn in reversed(boxes):
        ymin, xmin, ymax, xmax = drawn.box
        left, right = (round(x * (picture.width - 1)) for x in (xmin, xmax))
        top, bottom = (round(y * (picture.height - 1)) for y in (ymin, ymax))
        draw.rectangle((left, top, right, bottom), outline=drawn.color, width=round(_EDGE * scale))
        if drawn.text:
            # Inside the picture, above the box where there is room.
            _, _, width, height = draw.textbbox((0, 0), drawn.text, font)
            y = top - height - 1 if top > height else top
            x = max(0, min(left, picture.width - width - 2))
            draw.rectangle((x, y, x + width + 2, y + height + 1), drawn.color)
            draw.text((x + 1, y), drawn.text, 'black', font)
    return picture
