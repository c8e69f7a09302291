"""SSD's augmentation: crops, canvases and flips of an image together with its boxes.

Source: arXiv:1512.02325, §2.2 and its code. Everything random comes from a seed per example, so that
an example looks the same whatever batch, worker or thread it passes through.

Departs from paper: a crop is drawn for the share of an object that it covers, as TensorFlow's own
detection code does, not for its Jaccard overlap; an image is cropped or lies on a canvas, never both.
"""

import tensorflow as tf
from ml_collections import ConfigDict

from train.data import augment

Raw = dict[str, tf.Tensor]

OBJECTS = ('boxes', 'box_labels', 'crowd')  # what a raw example tells of its objects
CANVAS = 128  # grey, which the network sees as about 0


def check(config: ConfigDict) -> None:
    """Refuses a recipe that cannot be drawn.

    Args:
      config: the `augment` part of a config.

    Raises:
      ValueError: a number of `config.boxes` or `config.color` is out of range.
    """
    boxes = config.boxes
    (low, high), (narrow, wide) = boxes.area, boxes.aspect
    wrong = {
        f'color is {config.color!r}; expected one of {", ".join(augment.COLORS)}': (
            config.color not in augment.COLORS
        ),
        f'boxes.crop is {boxes.crop}; expected a share in [0, 1]': not 0 <= boxes.crop <= 1,
        f'boxes.covered is {boxes.covered}; expected shares in [0, 1], at least one': (
            not boxes.covered or not all(0 <= share <= 1 for share in boxes.covered)
        ),
        f'boxes.area is {boxes.area}; expected 0 < lowest <= highest <= 1': not 0
        < low
        <= high
        <= 1,
        f'boxes.aspect is {boxes.aspect}; expected 0 < lowest <= highest': not 0 < narrow <= wide,
        f'boxes.expand is {boxes.expand}; expected 1 or more': not boxes.expand >= 1,
        f'boxes.min_side is {boxes.min_side}; expected 0 or more': not boxes.min_side >= 0,
    }
    for message, found in wrong.items():
        if found:
            raise ValueError(f'config.augment.{message}')


def train_example(
    raw: Raw, seed: tf.Tensor, size: tuple[int, int], config: ConfigDict, max_boxes: int
) -> Raw:
    """One augmented example.

    A box stays while its centre lies in the crop; it is clipped. A crowd stays while any part does.

    Args:
      raw: an example of detection (`train.data.source.Split`).
      seed: int32 [2].
      size: (height, width) of the image.
      config: the `augment` part of a config.
      max_boxes: M, to which boxes are padded.

    Returns:
      'image' [height, width, 3] uint8; 'boxes' [M, 4] float32 (ymin, xmin, ymax, xmax in [0, 1]),
      'box_labels' [M] int64, 'crowd' [M] bool, and 'valid' [M] bool, False for what is padding, which
      is 0; 'draws' [4] of `augment.color_draws`.
    """
    objects = {name: raw[name] for name in OBJECTS}
    image, part, shape = augment.decode_window(
        raw['image'], lambda shape: _draw_crop(shape, objects, seed, config.boxes)
    )
    objects = _crop(objects, tf.cast(part, tf.float32) / tf.cast(tf.tile(shape, [2]), tf.float32))
    if config.boxes.expand > 1:
        image, objects = _place(image, objects, seed, size, config.boxes.expand)
    else:
        image = augment.resize(image, size)
    if config.flip:
        flipped = augment.flips(seed)
        image, objects = augment.flip(image, flipped), _flip(objects, flipped)
    smallest = tf.constant([config.boxes.min_side / side for side in size])
    objects = _keep(objects, tf.reduce_all(_sides(objects['boxes']) >= smallest, axis=1))
    return {'image': image, **_pad(objects, max_boxes), 'draws': augment.color_draws(seed)}


def eval_example(raw: Raw, size: tuple[int, int], max_boxes: int) -> Raw:
    """One example for evaluation: the whole image, resized, and all of its boxes.

    Args:
      raw: an example of detection (`train.data.source.Split`).
      size: (height, width) of the image.
      max_boxes: M, to which boxes are padded.

    Returns:
      As `train_example`, without 'draws', but with 'areas' [M] float32, of objects in pixels of the
      image as it was, 0 where their boxes' count, and its (height, width) 'image_size' [2] int32.
    """
    image, _, shape = augment.decode_window(raw['image'], augment.whole)
    objects = {name: raw[name] for name in (*OBJECTS, 'areas')}
    return {
        'image': augment.resize(image, size),
        **_pad(objects, max_boxes),
        'image_size': shape,
    }


def eval_image(encoded: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """What evaluation takes of an image: all of it, [height, width, 3] uint8."""
    return augment.resize(augment.decode_window(encoded, augment.whole)[0], size)


def _draw_crop(shape: tf.Tensor, objects: Raw, seed: tf.Tensor, config: ConfigDict) -> tf.Tensor:
    """The part (y, x, height, width) of an image of [H, W, …] that is taken, int32."""
    boxes = tf.clip_by_value(objects['boxes'], 0.0, 1.0)
    wanted = ~objects['crowd'] & tf.reduce_all(_sides(boxes) > 0, axis=1)
    targets = tf.boolean_mask(boxes, wanted)
    cropped, choice = tf.unstack(augment.uniform(seed, 4, 2))
    covered = tf.constant(config.covered, tf.float32)
    covered = covered[tf.cast(choice * len(config.covered), tf.int32)]
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.stack([shape[0], shape[1], 3]),
        targets[tf.newaxis],
        tf.random.experimental.stateless_fold_in(seed, 5),
        # Without an object the whole image would have to be covered.
        min_object_covered=tf.where(tf.shape(targets)[0] > 0, covered, 0.0),
        aspect_ratio_range=config.aspect,
        area_range=config.area,
        max_attempts=100,
        use_image_if_no_bounding_boxes=True,
    )
    share = tf.constant(config.crop)
    if config.expand > 1:
        share = tf.where(_is_expanded(seed), 0.0, share)
    part = tf.concat([begin[:2], extent[:2]], axis=0)
    return tf.where(cropped < share, part, augment.whole(shape))


def _crop(objects: Raw, part: tf.Tensor) -> Raw:
    """Objects beside a part (y, x, height, width) of their image, in [0, 1]."""
    origin, extent = tf.tile(part[:2], [2]), tf.tile(part[2:], [2])
    boxes = (objects['boxes'] - origin) / extent
    clipped = tf.clip_by_value(boxes, 0.0, 1.0)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = tf.reduce_all((center >= 0) & (center <= 1), axis=1)
    overlaps = tf.reduce_all(_sides(clipped) > 0, axis=1)
    return _keep({**objects, 'boxes': clipped}, overlaps & (inside | objects['crowd']))


def _place(
    image: tf.Tensor, objects: Raw, seed: tf.Tensor, size: tuple[int, int], largest: float
) -> tuple[tf.Tensor, Raw]:
    """Lays an image somewhere on a canvas up to `largest` times its sides, or fills it."""
    zoom, *corner = tf.unstack(augment.uniform(seed, 6, 3))
    zoom = tf.where(_is_expanded(seed), 1 + zoom * (largest - 1), 1.0)
    canvas = tf.constant(size, tf.float32)
    extent = tf.maximum(tf.round(canvas / zoom), 1)
    origin = tf.floor(tf.stack(corner) * (canvas - extent + 1))
    inner = tf.cast(extent, tf.int32)
    resized = tf.cast(tf.round(tf.image.resize(image, inner)), tf.uint8)
    before = tf.cast(origin, tf.int32)
    padding = tf.stack([before, tf.constant(size) - inner - before], axis=1)
    image = tf.pad(resized, tf.pad(padding, [[0, 1], [0, 0]]), constant_values=CANVAS)
    image.set_shape([*size, 3])
    boxes = objects['boxes'] * tf.tile(extent / canvas, [2]) + tf.tile(origin / canvas, [2])
    return image, {**objects, 'boxes': boxes}


def _is_expanded(seed: tf.Tensor) -> tf.Tensor:
    return augment.uniform(seed, 7, 1)[0] < 0.5


def _flip(objects: Raw, flipped: tf.Tensor) -> Raw:
    ymin, xmin, ymax, xmax = tf.unstack(objects['boxes'], axis=1)
    mirrored = tf.stack([ymin, 1 - xmax, ymax, 1 - xmin], axis=1)
    return {**objects, 'boxes': tf.where(flipped, mirrored, objects['boxes'])}


def _sides(boxes: tf.Tensor) -> tf.Tensor:
    """[B, 2]: heights and widths."""
    return boxes[:, 2:] - boxes[:, :2]


def _keep(objects: Raw, kept: tf.Tensor) -> Raw:
    return {name: tf.boolean_mask(values, kept) for name, values in objects.items()}


def _pad(objects: Raw, max_boxes: int) -> Raw:
    """Arrays of M rows, and 'valid' [M], which says that a row is an object."""
    count = tf.shape(objects['boxes'])[0]
    fits = tf.debugging.assert_less_equal(
        count,
        max_boxes,
        f'an image has more boxes than config.data.max_boxes = {max_boxes}; raise it',
    )
    padded = {'valid': tf.range(max_boxes) < count}
    with tf.control_dependencies([fits] if fits is not None else []):
        missing = tf.maximum(max_boxes - count, 0)
    for name, values in objects.items():
        rest = [[0, 0]] * (values.shape.rank - 1)
        padded[name] = tf.pad(values[:max_boxes], [[0, missing], *rest])
        padded[name].set_shape([max_boxes, *values.shape[1:]])
    return padded
