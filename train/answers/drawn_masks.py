"""Classes of pixels drawn over pictures, and their legends."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from train.answers.sheet import GREY, LARGE, Line, thumbnail
from train.data.mask_file import IGNORED

MOST_NAMED = 12  # classes in a legend
_OPACITY = 0.6
# Okabe and Ito's first seven are distinct also for those who see no red or no green.
_COLORS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (86, 180, 233),
    (110, 60, 160),
    (150, 220, 70),
    (120, 70, 30),
    (255, 150, 190),
    (20, 70, 70),
    (190, 190, 190),
    (160, 0, 50),
    (60, 60, 60),
    (200, 230, 255),
)
_GOLDEN = 0.618034  # of the colour circle, from one further class to the next


def color_of(number: int) -> tuple[int, int, int]:
    """The color of a class; no two classes have the same."""
    if number < len(_COLORS):
        return _COLORS[number]
    further = number - len(_COLORS)
    value = (1.0, 0.6, 0.8)[further % 3]
    saturation = (0.55, 0.9)[further // 3 % 2]
    red, green, blue = colorsys.hsv_to_rgb(further * _GOLDEN % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_classes(pixels: np.ndarray, classes: np.ndarray, whole: bool = False) -> Image.Image:
    """An image under the colours of its pixels.

    Args:
      pixels: the image, [H, W, 3] uint8.
      classes: [h, w] of any size, classes or IGNORED, where the image shows.
      whole: at the image's own size; else as a picture of a `LARGE` sheet.
    """
    picture = Image.fromarray(pixels) if whole else thumbnail(pixels, LARGE)
    palette = np.zeros((256, 3), np.uint8)
    palette[:IGNORED] = [color_of(number) for number in range(IGNORED)]
    # Nearest: between two numbers of classes there is none.
    resized = Image.fromarray(classes.astype(np.uint8)).resize(
        picture.size, Image.Resampling.NEAREST
    )
    numbers = np.asarray(resized)
    shown = np.asarray(picture)
    mixed = np.round((1 - _OPACITY) * shown + _OPACITY * palette[numbers]).astype(np.uint8)
    return Image.fromarray(np.where((numbers == IGNORED)[..., np.newaxis], shown, mixed))


def legend(told: Sequence[tuple[int, str, str]]) -> tuple[Line, ...]:
    """Lines of (class, its name, what is told of it), the first ones where there are too many."""
    lines = [
        Line(name, right, swatch='#{:02x}{:02x}{:02x}'.format(*color_of(number)))
        for number, name, right in told[:MOST_NAMED]
    ]
    if len(told) > MOST_NAMED:
        lines.append(Line(f'and {len(told) - MOST_NAMED} more', color=GREY))
    return tuple(lines)
