"""Image files: which they are, and their pixels."""

import dataclasses
import os
from collections.abc import Sequence

import tensorflow as tf

from train.data.exif import is_turned

IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif')


def find_images(paths: Sequence[str]) -> list[str]:
    """The images that paths stand for: files as they are, folders walked in the order of names.

    In folders, names that begin with a dot are passed over: macOS leaves ._x.jpg beside x.jpg.

    Raises:
      ValueError: a folder holds no image.
    """
    files: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        found = _walk(path)
        if not found:
            raise ValueError(f'{path} holds no image ({", ".join(IMAGE_ENDINGS)})')
        files += found
    return files


def decode(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """The pixels of an image, [H, W, 3] uint8; of a GIF those of the first frame.

    TensorFlow does not turn an image as its EXIF orientation says, here or in training.
    """
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def read_image(file: str) -> tuple[bytes, tf.Tensor]:
    """An image as it lies on the disk, and its pixels.

    Raises:
      ValueError: why it cannot be decoded, in a few words.
    """
    if not os.path.isfile(file):  # a pipe of that name would be waited for
        raise ValueError('no such file')
    try:
        with open(file, 'rb') as opened:
            content = opened.read()
        if not content:
            raise ValueError('empty file')
        return content, decode(content)
    except tf.errors.OpError:
        raise ValueError('damaged or no image') from None
    except OSError as e:
        raise ValueError(e.strerror) from None


@dataclasses.dataclass(frozen=True)
class Stored:
    """How an image is stored.

    Attributes:
      size: (height, width).
      turned: whether it says that it is to be shown another way up (`is_turned`).
    """

    size: tuple[int, int]
    turned: bool


def look_at(file: str) -> Stored:
    """How an image is stored, all of which can be decoded.

    Raises:
      ValueError: why it cannot, in a few words.
    """
    # Decoded as a whole: an image cut short has a whole header.
    content, pixels = read_image(file)
    height, width, _ = pixels.shape
    return Stored((height, width), is_turned(content))


def _walk(folder: str) -> list[str]:
    files: list[str] = []
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != '.')
        images = (n for n in names if n.lower().endswith(IMAGE_ENDINGS) and n[0] != '.')
        files += [os.path.join(path, name) for name in sorted(images)]
    return files
