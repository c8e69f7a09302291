"""Augmentation of segmentation: scales, crops and flips of an image together with its mask.

Paper: §6.4, which trains as DeepLab does (arXiv:1706.05587, §4.1, and its code). Everything random
comes from a seed per example, so that an example looks the same whatever batch, worker or thread it
passes through.
"""

import math

import tensorflow as tf
from ml_collections import ConfigDict

from train.data import augment
from train.data.mask_file import IGNORED

Raw = dict[str, tf.Tensor]

UNEQUAL = 'a mask has another size than its image'
MARGIN = 128  # grey beside a small image, which the network sees as about 0


def check(config: ConfigDict) -> None:
    """Refuses a recipe that cannot be drawn.

    Args:
      config: the `augment` part of a config.

    Raises:
      ValueError: a number of `config.masks` or `config.color` is out of range.
    """
    limits, step = tuple(config.masks.scale), config.masks.scale_step
    if config.color not in augment.COLORS:
        raise ValueError(
            f'config.augment.color is {config.color!r}; expected one of {", ".join(augment.COLORS)}'
        )
    if len(limits) != 2 or not 0 < limits[0] <= limits[1] < math.inf:
        raise ValueError(
            f'config.augment.masks.scale is {config.masks.scale}; expected 0 < lowest <= highest'
        )
    if not 0 <= step < math.inf:
        raise ValueError(f'config.augment.masks.scale_step is {step}; expected 0 or more')


def train_example(
    raw: Raw, seed: tf.Tensor, size: tuple[int, int], whole: tuple[int, int], config: ConfigDict
) -> Raw:
    """One augmented example.

    The image is seen at `whole`, times a scale that is drawn, and a part of `size` is taken of that.
    A smaller image lies somewhere in it, on grey and on mask to be ignored.

    Departs from DeepLab's code: a small image lies anywhere, not at the upper left; the part is cut
    before it is scaled, which spares the rest, so that its corners are whole pixels of the image.

    Args:
      raw: an example of segmentation (`train.data.source.Split`).
      seed: int32 [2].
      size: (height, width) of the result.
      whole: (height, width) at which evaluation sees a whole image, which is the scale 1.
      config: the `augment` part of a config.

    Returns:
      'image' [height, width, 3] uint8; 'mask' [height, width] uint8, of classes or IGNORED; 'draws'
      [4] of `augment.color_draws`.
    """
    zoom = _draw_scale(seed, config.masks)
    image, part, shape = augment.decode_window(
        raw['image'], lambda shape: _draw_part(shape, zoom, seed, size, whole)
    )
    y, x, height, width = tf.unstack(part)
    mask = tf.io.decode_png(raw['mask'], channels=1)
    same = tf.debugging.assert_equal(tf.shape(mask)[:2], shape, UNEQUAL)
    with tf.control_dependencies([same] if same is not None else []):
        mask = mask[y : y + height, x : x + width]
    # What was cut off fills the result, a whole side may be shorter.
    shorter = tf.cast(tf.round(zoom * tf.constant(whole, tf.float32)), tf.int32)
    inner = tf.where(part[2:] < shape, size, tf.clip_by_value(shorter, 1, size))
    place = augment.uniform(seed, 6, 2) * tf.cast(size - inner + 1, tf.float32)
    before = tf.cast(place, tf.int32)
    image = tf.cast(tf.round(tf.image.resize(image, inner)), tf.uint8)
    mask = tf.image.resize(mask, inner, tf.image.ResizeMethod.NEAREST_NEIGHBOR)
    image = _pad(image, before, size, MARGIN)
    mask = _pad(_classes(mask, raw), before, size, IGNORED)
    if config.flip:
        flipped = augment.flips(seed)
        image, mask = augment.flip(image, flipped), augment.flip(mask, flipped)
    return {'image': image, 'mask': mask[..., 0], 'draws': augment.color_draws(seed)}


def eval_example(raw: Raw, size: tuple[int, int]) -> Raw:
    """One example for evaluation: the whole image, resized, and the mask as it is.

    Args:
      raw: an example of segmentation (`train.data.source.Split`).
      size: (height, width) of the image.

    Returns:
      'image' [height, width, 3] uint8; 'mask' [H, W] uint8, of classes or IGNORED, of the image's
      size before. Examples of different sizes make batches of one.
    """
    image, _, shape = augment.decode_window(raw['image'], augment.whole)
    mask = eval_mask(raw)
    same = tf.debugging.assert_equal(tf.shape(mask), shape, UNEQUAL)
    with tf.control_dependencies([same] if same is not None else []):
        return {'image': augment.resize(image, size), 'mask': tf.identity(mask)}


def eval_mask(raw: Raw) -> tf.Tensor:
    """The mask of a raw example as it is: [H, W] uint8, of classes or IGNORED."""
    return _classes(tf.io.decode_png(raw['mask'], channels=1), raw)[..., 0]


def _draw_scale(seed: tf.Tensor, config: ConfigDict) -> tf.Tensor:
    (low, high), step = config.scale, config.scale_step
    (share,) = tf.unstack(augment.uniform(seed, 4, 1))
    if not step:
        return low + share * (high - low)
    number = int((high - low) / step + 1e-6) + 1  # of scales
    return low + tf.floor(share * number) * step


def _draw_part(
    shape: tf.Tensor,
    zoom: tf.Tensor,
    seed: tf.Tensor,
    size: tuple[int, int],
    whole: tuple[int, int],
) -> tf.Tensor:
    """The part (y, x, height, width) of an image of [H, W, …] that `size` shows, int32."""
    sides = tf.cast(shape[:2], tf.float32)
    shown = tf.constant(size, tf.float32) / (zoom * tf.constant(whole, tf.float32)) * sides
    extent = tf.minimum(tf.maximum(tf.round(shown), 1), sides)
    origin = tf.floor(augment.uniform(seed, 5, 2) * (sides - extent + 1))
    return tf.cast(tf.concat([origin, extent], axis=0), tf.int32)


def _classes(mask: tf.Tensor, raw: Raw) -> tf.Tensor:
    """Values of a mask to classes."""
    return tf.gather(raw['mask_classes'], tf.cast(mask, tf.int32))


def _pad(x: tf.Tensor, before: tf.Tensor, size: tuple[int, int], value: int) -> tf.Tensor:
    """Lays [h, w, C] at a corner (y, x) of [height, width, C] of one value."""
    after = size - tf.shape(x)[:2] - before
    paddings = tf.pad(tf.stack([before, after], axis=1), [[0, 1], [0, 0]])
    padded = tf.pad(x, paddings, constant_values=tf.constant(value, x.dtype))
    padded.set_shape([*size, x.shape[-1]])
    return padded
