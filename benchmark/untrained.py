"""Files of networks that nobody has trained, for what does not depend on weights: their speed.

It does depend on how large the activations are. Those of a random network fade towards numbers on
which arithmetic takes another time than on a trained network's, and out of the scales that XNNPACK
delegates: an int8 file would look cut to pieces. So BN gets the statistics of a batch.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tf_keras

    from export.convert import IOType
    from export.deploy import HardSwishForm

IO: 'IOType' = 'uint8'
CALIBRATION_IMAGES = 16  # of noise: speed does not depend on what the ranges are
SETTLING_IMAGES = 8
MOST_PIXELS = 2**20  # of all of them together, for the sake of memory and time
LEAST_IMAGES = 2  # or a feature that is pooled from the whole image has no variance


def settle_statistics(model: 'tf_keras.Model') -> None:
    """Sets the BN statistics to those of a batch of noise, and keeps squeezed channels alive.

    Of a few channels behind a ReLU chance may kill all, and a tensor of zeros has no range.
    """
    import tensorflow as tf
    import tf_keras

    for layer in model.layers:
        if layer.name.endswith('/se/squeeze'):
            layer.bias.assign(tf.ones_like(layer.bias))
    norms = [x for x in model.layers if isinstance(x, tf_keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the moving average becomes the batch's own
    model(tf.constant(_noise(model, SETTLING_IMAGES)), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def our_float(model: 'tf_keras.Model', *, hard_swish: 'HardSwishForm' = 'fused') -> bytes:
    """Our float file."""
    from export.convert import convert_float
    from export.deploy import deploy_form

    return convert_float(deploy_form(model, hard_swish=hard_swish))


def our_int8(
    model: 'tf_keras.Model',
    *,
    hard_swish: 'HardSwishForm' = 'decomposed',
    images: np.ndarray | None = None,
) -> bytes:
    """Our int8 file, with ranges to the extremes.

    Args:
      model: to be quantized.
      hard_swish: its form.
      images: float32 [N, H, W, C] in [-1, 1] for the ranges; noise where they are not given.
    """
    from export.calibrate import calibrate
    from export.convert import convert_int8
    from export.deploy import deploy_graph
    from export.quantize import quantized_model

    graph = deploy_graph(model, hard_swish=hard_swish)
    ranges = calibrate(graph, noise_images(model) if images is None else images, search_images=0)
    return convert_int8(quantized_model(graph, ranges), io=IO)


def noise_images(model: 'tf_keras.Model') -> np.ndarray:
    """Images float32 [N, H, W, C] in [-1, 1] of the size that a model takes, for its ranges."""
    return _noise(model, CALIBRATION_IMAGES)


def images_for(most: int, size: tuple[int, int]) -> int:
    """How many images of a height and width stand for `most` of an ordinary size."""
    height, width = size
    return max(LEAST_IMAGES, min(most, MOST_PIXELS // (height * width)))


def _noise(model: 'tf_keras.Model', most: int) -> np.ndarray:
    _, height, width, channels = model.input_shape
    shape = (images_for(most, (height, width)), height, width, channels)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
