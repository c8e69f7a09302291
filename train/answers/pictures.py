"""Images at their own size with a model's answers, one PNG file each."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from train.answers.sheet import Tile, draw_alone
from train.data.images import find_images
from train.files import write_file


def where_to_save(arguments: Sequence[str], folder: Path) -> dict[str, Path]:
    """Where the picture of each image goes.

    Args:
      arguments: images and folders of them, as of `find_images`.
      folder: for the pictures.

    Returns:
      By file a path that no other has: folder/a/x.png of ARGUMENT/a/x.jpg, then folder/a/x_2.png, …

    Raises:
      ValueError: a picture would be written over an image.
    """
    paths: dict[str, Path] = {}
    taken: set[str] = set()
    for argument in arguments:
        for file in find_images([argument]):
            inside = os.path.relpath(
                file, argument if os.path.isdir(argument) else Path(file).parent
            )
            first = path = Path(folder, inside).with_suffix('.png')
            number = 1
            while str(path).lower() in taken:  # some disks do not tell X from x
                number += 1
                path = first.with_name(f'{first.stem}_{number}.png')
            if file not in paths:
                taken.add(str(path).lower())
                paths[file] = path
    images = {os.path.realpath(file) for file in paths}
    for path in paths.values():
        if os.path.realpath(path) in images:
            raise ValueError(
                f'--output_dir is {folder}, where the picture {path} would be written over an image; '
                'expected another folder'
            )
    return paths


def save_picture(path: Path, tile: Tile) -> None:
    """Writes a tile as a PNG file, making its folder."""
    os.makedirs(path.parent, exist_ok=True)
    content = io.BytesIO()
    draw_alone(tile).save(content, 'PNG')
    write_file(path, content.getvalue())
