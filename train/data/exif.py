"""The orientation that cameras note in a JPEG instead of turning its pixels."""

from collections.abc import Sequence

from train.data.faults import name_some, warn

_ORIENTATION = 0x0112  # tag of an entry of TIFF, 12 bytes: tag, type, count, value
_UPRIGHT = 1  # of the orientations 1 to 8; others mean nothing
_SCAN, _APP1 = 0xDA, 0xE1  # markers of JPEG: pixels follow, and EXIF perhaps


def is_turned(content: bytes) -> bool:
    """Whether a JPEG says that it is to be shown turned or mirrored; what is damaged says nothing.

    Only its header is looked at. TensorFlow shows images as they are stored.
    """
    at = 2  # behind the mark of all JPEGs
    while content[:2] == b'\xff\xd8' and content[at : at + 1] == b'\xff':
        if content[at + 1 : at + 2] == b'\xff':  # any number of these may stand before a marker
            at += 1
            continue
        marker, length = content[at + 1 : at + 2], _number(content[at + 2 : at + 4])
        segment = content[at + 4 : at + 2 + length]
        if marker == bytes([_SCAN]):
            break
        if marker == bytes([_APP1]) and segment[:6] == b'Exif\0\0':
            return _UPRIGHT < _orientation(segment[6:]) <= 8
        at += 2 + length
    return False


def warn_of_turned(files: Sequence[str], total: int, split: str) -> None:
    """Warns of `files` that are turned, of `total` images on which something is drawn."""
    if files:
        warn(
            f'{len(files)} of {total} {split} images have an EXIF orientation that turns or mirrors '
            f'them: {name_some(files)}; they are seen as they are stored, so that what was drawn on '
            'them upright is elsewhere: save them upright'
        )


def _orientation(tiff: bytes) -> int:
    """The value of the tag in the first directory; 0 without one."""
    little = tiff[:2] == b'II'
    start = _number(tiff[4:8], little)
    for entry in range(_number(tiff[start : start + 2], little)):
        at = start + 2 + 12 * entry
        if _number(tiff[at : at + 2], little) == _ORIENTATION:
            return _number(tiff[at + 8 : at + 10], little)
    return 0


def _number(content: bytes, little: bool = False) -> int:
    return int.from_bytes(content, 'little' if little else 'big')
