"""Inception preprocessing: crops of encoded images, and colours of batches.

Paper: §6.1.1, "the same image preprocessing as Inception". Everything random comes from a seed per
example, so that an example looks the same whatever batch, worker or thread it passes through.
"""

import math
from collections.abc import Callable

import tensorflow as tf
from ml_collections import ConfigDict

from train.data.compiled import compiled

BRIGHTNESS = 32 / 255  # ±, of the range [0, 1]
SATURATION = (0.5, 1.5)
HUE = 0.2  # ±, of the colour circle
CONTRAST = (0.5, 1.5)
NUM_DRAWS = 4  # uniform numbers an image, of brightness, saturation, hue and contrast
COLORS = ('none', 'fast', 'full')


def check_crops(config: ConfigDict) -> None:
    """Checks the random and the central crops of the `augment` part of a config.

    Raises:
      ValueError: a value is out of range.
    """
    area, aspect = tuple(config.area), tuple(config.aspect)
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        raise ValueError(
            f'config.augment.area is {area}; expected the least and the most of an image, in (0, 1]'
        )
    if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1] < math.inf:
        raise ValueError(
            f'config.augment.aspect is {aspect}; expected the least and the most width / height'
        )
    if not 0 < config.eval_crop <= 1:
        raise ValueError(
            f'config.augment.eval_crop is {config.eval_crop}; expected a fraction in (0, 1]'
        )


def random_crop(
    encoded: tf.Tensor, seed: tf.Tensor, size: tuple[int, int], config: ConfigDict
) -> tf.Tensor:
    """Decodes a random window of an image, resizes it and flips it half of the time.

    Args:
      encoded: a JPEG, PNG, BMP or GIF (its first frame), scalar string.
      seed: int32 [2].
      size: (height, width) of the result.
      config: the `augment` part of a config.

    Returns:
      [height, width, 3] uint8. Rounded to whole numbers as a phone's camera frame is, so that a file
      with uint8 input sees the numbers the network was trained on.
    """

    def window(shape: tf.Tensor) -> tf.Tensor:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.stack([shape[0], shape[1], 3]),
            tf.zeros([1, 0, 4]),  # no boxes: the whole image is as good as any part
            seed,
            min_object_covered=0.0,  # the area alone bounds the crop
            aspect_ratio_range=config.aspect,
            area_range=config.area,
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.concat([begin[:2], extent[:2]], axis=0)

    image = resize(decode_window(encoded, window)[0], size)
    return flip(image, flips(seed)) if config.flip else image


def center_crop(encoded: tf.Tensor, size: tuple[int, int], fraction: float) -> tf.Tensor:
    """Decodes the central `fraction` (of each side) of an image and resizes it to `size`.

    Returns:
      [height, width, 3] uint8.
    """

    def window(shape: tf.Tensor) -> tf.Tensor:
        sides = tf.cast(shape[:2], tf.float32)
        extent = tf.maximum(1, tf.cast(tf.round(sides * fraction), tf.int32))
        return tf.concat([(shape[:2] - extent) // 2, extent], axis=0)

    return resize(decode_window(encoded, window)[0], size)


def flips(seed: tf.Tensor) -> tf.Tensor:
    """Whether an image is flipped, half of the time: bool scalar."""
    return tf.random.stateless_uniform([], tf.random.experimental.stateless_fold_in(seed, 1)) < 0.5


def flip(image: tf.Tensor, flipped: tf.Tensor) -> tf.Tensor:
    """An image [H, W, C], left to right if `flipped`."""
    # Not image[:, ::-1], which takes ten times as long.
    return tf.cond(flipped, lambda: tf.reverse(image, axis=[1]), lambda: image)


def uniform(seed: tf.Tensor, number: int, count: int) -> tf.Tensor:
    """`count` random numbers in [0, 1); a seed gives others for each `number`."""
    folded = tf.random.experimental.stateless_fold_in(seed, number)
    return tf.random.stateless_uniform([count], folded)


def color_draws(seed: tf.Tensor) -> tf.Tensor:
    """The random numbers of an image's colours, [NUM_DRAWS] in [0, 1)."""
    return tf.random.stateless_uniform(
        [NUM_DRAWS], tf.random.experimental.stateless_fold_in(seed, 2)
    )


# One compiled elementwise function a batch: half as much again as an op after the other.
@compiled
def distort_colors(images: tf.Tensor, draws: tf.Tensor, color: str) -> tf.Tensor:
    """Changes brightness and saturation, in 'full' also hue and contrast, of each image.

    Args:
      images: [N, H, W, 3] uint8.
      draws: [N, NUM_DRAWS] in [0, 1), from `color_draws`.
      color: 'fast' or 'full'.

    Returns:
      [N, H, W, 3] float32 in [-1, 1].
    """
    draws = tf.reshape(draws, [-1, NUM_DRAWS, 1, 1, 1])
    x = tf.cast(images, tf.float32) / 255.0
    x += (2.0 * draws[:, 0] - 1.0) * BRIGHTNESS
    x = _saturate(x, SATURATION[0] + draws[:, 1] * (SATURATION[1] - SATURATION[0]))
    if color == 'full':
        x = _rotate_hue(x, (2.0 * draws[:, 2] - 1.0) * HUE)
        mean = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
        x = mean + (x - mean) * (CONTRAST[0] + draws[:, 3] * (CONTRAST[1] - CONTRAST[0]))
    return tf.clip_by_value(x, 0.0, 1.0) * 2.0 - 1.0


def scale(images: tf.Tensor) -> tf.Tensor:
    """uint8 [N, H, W, C] to float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def decode_window(
    encoded: tf.Tensor, window: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes a part of an image.

    Args:
      encoded: a JPEG, PNG, BMP or GIF (its first frame), scalar string.
      window: from the shape of an image, int32 of [H, W, …], to its part (y, x, height, width).

    Returns:
      The part [height, width, 3] uint8; (y, x, height, width) int32; and (H, W) int32.
    """

    def jpeg() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        shape = tf.io.extract_jpeg_shape(encoded)
        part = window(shape)
        # Only the blocks of the part are decoded.
        return tf.image.decode_and_crop_jpeg(encoded, part, channels=3), part, shape[:2]

    def other() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        part = window(tf.shape(image))
        y, x, height, width = tf.unstack(part)
        return image[y : y + height, x : x + width], part, tf.shape(image)[:2]

    image, part, shape = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    return image, tf.ensure_shape(part, [4]), tf.ensure_shape(shape, [2])


def whole(shape: tf.Tensor) -> tf.Tensor:
    """All of an image of [H, W, …] as a part (y, x, height, width), for `decode_window`."""
    return tf.concat([[0, 0], shape[:2]], axis=0)


def resize(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """An image [h, w, 3] uint8 bilinearly to [height, width, 3] uint8."""
    resized = tf.image.resize(image, size, tf.image.ResizeMethod.BILINEAR)
    resized.set_shape([*size, 3])
    return tf.cast(tf.round(resized), tf.uint8)


def _saturate(x: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """tf.image.adjust_saturation without the way to HSV and back: s ← min(1, factor · s).

    In HSV a channel c is v − s·v·(…), so scaling s by f moves each channel from v by the factor f.
    """
    channels = tf.split(x, 3, axis=-1)
    value = tf.maximum(tf.maximum(channels[0], channels[1]), channels[2])
    chroma = value - tf.minimum(tf.minimum(channels[0], channels[1]), channels[2])
    most = value / tf.maximum(chroma, 1e-6)  # the factor at which s = chroma / value is 1
    return value - (value - x) * tf.minimum(factor, most)


def _rotate_hue(x: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    hsv = tf.image.rgb_to_hsv(tf.clip_by_value(x, 0.0, 1.0))
    hue = tf.math.floormod(hsv[..., :1] + delta + 1.0, 1.0)
    return tf.image.hsv_to_rgb(tf.concat([hue, hsv[..., 1:]], axis=-1))
