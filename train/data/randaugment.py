"""RandAugment: a few changes of an image, drawn from a list, all of one strength.

arXiv:1909.13719, whose list this is, without the crops that Inception preprocessing has already.
Everything random comes from a seed per example, as in `augment.py`.
"""

from collections.abc import Callable

import tensorflow as tf

MAX_MAGNITUDE = 10
FILL = 128  # grey, where a geometric change leaves nothing

# Of a change at full strength.
ROTATE_DEGREES = 30.0
SHEAR = 0.3
TRANSLATE = 0.3  # of the side
ENHANCE = 0.9  # colour, contrast, brightness and sharpness are multiplied by 1 ± so much
POSTERIZE_BITS = 4  # are cut off
SOLARIZE = 256  # from white down to black

Change = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def randaugment(image: tf.Tensor, seed: tf.Tensor, layers: int, magnitude: float) -> tf.Tensor:
    """Applies `layers` changes, drawn with replacement.

    Args:
      image: [H, W, 3] uint8.
      seed: int32 [2].
      layers: how many, one after the other.
      magnitude: in [0, 10]; 0 changes least.

    Returns:
      [H, W, 3] uint8.
    """
    strength = tf.constant(magnitude / MAX_MAGNITUDE)
    for layer in range(layers):
        base = tf.random.stateless_uniform([2], _fold(seed, 100 + layer))
        index = tf.cast(base[0] * len(CHANGES), tf.int32)
        sign = tf.where(base[1] < 0.5, -1.0, 1.0)
        branches = [_branch(change, image, strength, sign) for change in CHANGES.values()]
        image = tf.ensure_shape(tf.switch_case(index, branches), image.shape)
    return image


def _branch(
    change: Change, image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor
) -> Callable[[], tf.Tensor]:
    return lambda: change(image, strength, sign)


def _fold(seed: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number)


# Colours. Each takes [H, W, 3] uint8, the strength in [0, 1] and a sign of ±1.


def _identity(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return image


def _auto_contrast(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    x = tf.cast(image, tf.float32)
    low, high = (f(x, axis=[0, 1], keepdims=True) for f in (tf.reduce_min, tf.reduce_max))
    stretched = (x - low) * 255.0 / tf.maximum(high - low, 1.0)
    return _pixels(tf.where(high > low, stretched, x))


def _equalize(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(image, tf.int32)
    count = tf.size(pixels[..., 0])
    channels = []
    for channel in tf.unstack(pixels, axis=-1):
        histogram = tf.math.bincount(tf.reshape(channel, [-1]), minlength=256, maxlength=256)
        share = tf.cast(tf.cumsum(histogram), tf.float32) / tf.cast(count, tf.float32)
        channels.append(tf.gather(share * 255.0, channel))
    return _pixels(tf.stack(channels, axis=-1))


def _posterize(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    bits = tf.cast(tf.round(strength * POSTERIZE_BITS), tf.uint8)
    return tf.bitwise.left_shift(tf.bitwise.right_shift(image, bits), bits)


def _solarize(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    threshold = tf.cast(tf.round((1.0 - strength) * SOLARIZE), tf.int32)
    return tf.where(tf.cast(image, tf.int32) < threshold, image, 255 - image)


def _color(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    gray = tf.cast(tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image)), tf.float32)
    return _blend(gray, image, strength, sign)


def _contrast(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    gray = tf.reduce_mean(tf.cast(tf.image.rgb_to_grayscale(image), tf.float32))
    return _blend(gray, image, strength, sign)


def _brightness(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return _blend(tf.zeros([]), image, strength, sign)


def _sharpness(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    kernel = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13.0
    kernel = tf.tile(kernel[:, :, tf.newaxis, tf.newaxis], [1, 1, 3, 1])
    padded = tf.pad(tf.cast(image, tf.float32), [[1, 1], [1, 1], [0, 0]], 'SYMMETRIC')
    smooth = tf.nn.depthwise_conv2d(padded[tf.newaxis], kernel, [1, 1, 1, 1], 'VALID')[0]
    return _blend(smooth, image, strength, sign)


def _blend(
    degenerate: tf.Tensor, image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor
) -> tf.Tensor:
    """Away from, or with a negative sign towards, an image without the property."""
    return _pixels(
        degenerate + (tf.cast(image, tf.float32) - degenerate) * (1.0 + sign * ENHANCE * strength)
    )


# Geometry


def _rotate(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    angle = sign * strength * (ROTATE_DEGREES * 3.14159265 / 180.0)
    return _transform(image, [[tf.cos(angle), -tf.sin(angle)], [tf.sin(angle), tf.cos(angle)]])


def _shear_x(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return _transform(image, [[1.0, sign * strength * SHEAR], [0.0, 1.0]])


def _shear_y(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return _transform(image, [[1.0, 0.0], [sign * strength * SHEAR, 1.0]])


def _translate_x(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return _transform(image, [[1.0, 0.0], [0.0, 1.0]], shift_x=sign * strength * TRANSLATE)


def _translate_y(image: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    return _transform(image, [[1.0, 0.0], [0.0, 1.0]], shift_y=sign * strength * TRANSLATE)


def _transform(
    image: tf.Tensor,
    matrix: list[list],
    shift_x: tf.Tensor | float = 0.0,
    shift_y: tf.Tensor | float = 0.0,
) -> tf.Tensor:
    """Takes the pixel at (x, y) from matrix · (x, y) + shift, about the centre of the image."""
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    (a, b), (c, d) = matrix
    center_y, center_x = (size[0] - 1.0) / 2.0, (size[1] - 1.0) / 2.0
    offset_x = center_x - a * center_x - b * center_y + shift_x * size[1]
    offset_y = center_y - c * center_x - d * center_y + shift_y * size[0]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[tf.newaxis],
        transforms=tf.stack([[a, b, offset_x, c, d, offset_y, 0.0, 0.0]]),
        output_shape=tf.shape(image)[:2],
        fill_value=float(FILL),
        interpolation='BILINEAR',
        fill_mode='CONSTANT',
    )
    return _pixels(moved[0])


def _pixels(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(x), 0.0, 255.0), tf.uint8)


CHANGES: dict[str, Change] = {
    'identity': _identity,
    'auto_contrast': _auto_contrast,
    'equalize': _equalize,
    'posterize': _posterize,
    'solarize': _solarize,
    'color': _color,
    'contrast': _contrast,
    'brightness': _brightness,
    'sharpness': _sharpness,
    'rotate': _rotate,
    'shear_x': _shear_x,
    'shear_y': _shear_y,
    'translate_x': _translate_x,
    'translate_y': _translate_y,
}
