"""Pictures with a few words under each, on sheets or one by one, as PNG files."""

import dataclasses
import functools
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.files import write_file

BLACK, GREY, RED = '#111111', '#666666', '#b3261e'
PICTURE = 200  # side of a picture, pixels
COLUMNS, ROWS = 8, 6  # of a full page
_TITLE_SIZE, _TEXT_SIZE, _LABEL_SIZE = 20, 15, 11
_LINE, _GAP, _MARGIN = 20, 16, 24
_SWATCH = 14  # side, pixels
_READABLE = 800  # longest side of a picture up to which words and lines have these sizes, pixels
_LEAST_WIDTH = 240  # of words under a picture alone, pixels


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a page is filled: the side of a picture in pixels, and so many of them at most."""

    picture: int = PICTURE
    columns: int = COLUMNS
    rows: int = ROWS


SMALL = Layout()
LARGE = Layout(picture=400, columns=4, rows=6)  # for what is drawn into pictures


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of text; `right` is told apart at the right end and never cut off.

    `swatch` is the colour of a small square before the text, of a legend.
    """

    text: str
    right: str = ''
    color: str = BLACK
    bold: bool = False
    swatch: str = ''


@dataclasses.dataclass(frozen=True)
class Tile:
    """A picture, no larger than its layout says, with what stands under it."""

    picture: Image.Image
    lines: tuple[Line, ...]


def thumbnail(pixels: np.ndarray, layout: Layout = SMALL) -> Image.Image:
    """[H, W, 3] uint8 as a picture for a tile: small ones are enlarged."""
    height, width = pixels.shape[:2]
    factor = layout.picture / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def scale_of(picture: Image.Image) -> float:
    """How much larger words and lines are for a large picture, so that they can be read and seen."""
    return max(1.0, max(picture.size) / _READABLE)


def draw_alone(tile: Tile) -> Image.Image:
    """A picture at its own size, at the upper left, over its lines."""
    width, height = tile.picture.size
    scale = scale_of(tile.picture)
    side = max(width, _LEAST_WIDTH)
    page = Image.new('RGB', (side, height + round(scale * (12 + _LINE * len(tile.lines)))), 'white')
    page.paste(tile.picture, (0, 0))
    _draw_lines(ImageDraw.Draw(page), tile.lines, (0, height + round(6 * scale)), side, scale)
    return page


class Sheet:
    """Writes pages as they fill: sheet.png, then sheet_2.png, sheet_3.png, …

    Args:
      path: of the first page.
      title: of every page.
      layout: of every page.

    Attributes:
      paths: what was written.
    """

    def __init__(self, path: str | Path, title: str, layout: Layout = SMALL) -> None:
        self.paths: list[Path] = []
        self._path, self._title, self._layout = Path(path), title, layout
        self._tiles: list[Tile] = []

    def add(self, tile: Tile) -> None:
        """Adds a tile, from left to right and from the top down."""
        self._tiles.append(tile)
        if len(self._tiles) == self._layout.columns * self._layout.rows:
            self._write()

    def close(self) -> None:
        """Writes the page that is not full."""
        if self._tiles:
            self._write()

    def _write(self) -> None:
        number = len(self.paths) + 1
        title = self._title if number == 1 else f'{self._title} ({number})'
        path = self._path
        if number > 1:
            path = path.with_name(f'{path.stem}_{number}{path.suffix}')
        content = io.BytesIO()
        draw_page(self._tiles, title, self._layout).save(content, 'PNG')
        write_file(path, content.getvalue())
        self.paths.append(path)
        self._tiles = []


def draw_page(tiles: list[Tile], title: str, layout: Layout = SMALL) -> Image.Image:
    """Tiles in rows under a title; every row is as high as its highest text."""
    side = layout.picture
    columns = min(layout.columns, max(3, len(tiles)))
    width = 2 * _MARGIN + columns * side + (columns - 1) * _GAP
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [side + 6 + _LINE * max(len(t.lines) for t in row) + _GAP for row in rows]
    top = _MARGIN + _TITLE_SIZE + _GAP
    page = Image.new('RGB', (width, top + sum(heights) + _MARGIN - _GAP), 'white')
    draw = ImageDraw.Draw(page)
    title = _fitting(title, width - 2 * _MARGIN, _font(_TITLE_SIZE, True))
    draw.text((_MARGIN, _MARGIN - 6), title, BLACK, _font(_TITLE_SIZE, True))
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            _draw_tile(page, draw, tile, (_MARGIN + column * (side + _GAP), top), side)
        top += height
    return page


def _draw_tile(
    page: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], side: int
) -> None:
    left, top = corner
    draw.rectangle((left, top, left + side - 1, top + side - 1), '#f0f0f0')
    width, height = tile.picture.size
    page.paste(tile.picture, (left + (side - width) // 2, top + (side - height) // 2))
    _draw_lines(draw, tile.lines, (left, top + side + 6), side)


def _draw_lines(
    draw: ImageDraw.ImageDraw,
    lines: tuple[Line, ...],
    corner: tuple[int, int],
    width: int,
    scale: float = 1.0,
) -> None:
    left, y = corner
    swatch, below = round(_SWATCH * scale), round(2 * scale)
    for line in lines:
        font = _font(round(_TEXT_SIZE * scale), line.bold)
        right_width = font.getlength(line.right)
        indent = swatch + round(6 * scale) if line.swatch else 0
        space = width - indent - (right_width + 8 * scale if line.right else 0)
        if line.swatch:
            square = (left, y + below, left + swatch, y + below + swatch)
            draw.rectangle(square, line.swatch, GREY)
        draw.text((left + indent, y), _fitting(line.text, space, font), line.color, font)
        draw.text((left + width - right_width, y), line.right, line.color, font)
        y += round(_LINE * scale)


def _fitting(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """Text on one line, cut off where it is wider than `width` pixels."""
    text = ' '.join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f'{text}…') > width:
        text = text[:-1]
    return f'{text.rstrip()}…'


def label_font(scale: float = 1.0) -> ImageFont.FreeTypeFont:
    """The font of words in a picture."""
    return _font(round(_LABEL_SIZE * scale), False)


@functools.cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: Latin, Greek, Cyrillic and more."""
    import matplotlib as mpl

    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(mpl.get_data_path(), 'fonts', 'ttf', name)), size)
