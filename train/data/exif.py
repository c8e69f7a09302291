"""The orientation that cameras note in a JPEG instead of turning its pixels."""

import io
from collections.abc import Sequence

from PIL import ExifTags, JpegImagePlugin

from train.data.faults import name_some, warn

_UPRIGHT = 1  # of the orientations 1 to 8; others mean nothing


def is_turned(content: bytes) -> bool:
    """Whether a JPEG says that it is to be shown turned or mirrored; what is damaged says nothing.

    Only its header is read. TensorFlow shows images as they are stored.
    """
    try:
        # Image.open would warn of large images, and refuse larger ones, for the sake of their pixels.
        with JpegImagePlugin.JpegImageFile(io.BytesIO(content)) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # no JPEG; or damaged EXIF, which raises whatever its bytes lead to
        return False
    return isinstance(orientation, int) and _UPRIGHT < orientation <= 8


def warn_of_turned(files: Sequence[str], total: int, split: str) -> None:
    """Warns of `files` that are turned, of `total` images on which something is drawn."""
    if files:
        warn(
            f'{len(files)} of {total} {split} images have an EXIF orientation that turns or mirrors '
            f'them: {name_some(files)}; they are seen as they are stored, so that what was drawn on '
            'them upright is elsewhere: save them upright'
        )
