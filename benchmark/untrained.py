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


def settle_statistics(model: 'tf_keras.Model') -> None:
    """Sets the BN statistics to those of a batch of noise."""
    import tensorflow as tf
    import tf_keras

    norms = [x for x in model.layers if isinstance(x, tf_keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the moving average becomes the batch's own
    images = np.random.default_rng(0).uniform(-1, 1, (8, *model.input_shape[1:]))
    model(tf.constant(images, tf.float32), training=True)
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
    """Images float32 [N, H, W, C] in [-1, 1] of the size that a model takes."""
    shape = (CALIBRATION_IMAGES, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
