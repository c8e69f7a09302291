"""Ranges of activations from images: extremes first, then what costs the answers least.

A range to the extremes wastes its 256 steps on a few outliers. How much of it may be cut off is not
to be seen in the tensor itself but in the answers: with the released weights of V3-Small two tensors
of 118 made two thirds of the noise at the logits, and a hundredth of it at a third of their range.
"""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from export.graph import Graph, build
from export.quantize import Ranges, quantized_model, rule_of, set_ranges, smallest_that_counts
from export.sensitivity import BATCH_SIZE, Sensitivity

FRACTIONS = (0.8, 0.62, 0.5, 0.4, 0.32, 0.25, 0.2, 0.16)  # of the range, to be tried
WORTHWHILE = 0.003  # a tensor with less than this share of the noise keeps its extremes


def calibrate(graph: Graph, images: np.ndarray, *, search_images: int) -> Ranges:
    """The ranges with which to quantize a deploy form.

    Args:
      graph: of `export.deploy.deploy_graph`.
      images: float32 [N, H, W, C] in [-1, 1], of the training set, as evaluation sees them.
      search_images: with how many of them the ranges are searched; 0 keeps the extremes.

    Raises:
      ValueError: there are no images, or they are constant, not finite or of another shape.
    """
    _check(graph, images)
    ranges = observe(graph, images)
    return search(graph, ranges, images[:search_images]) if search_images else ranges


def observe(graph: Graph, images: np.ndarray) -> Ranges:
    """The extremes of every tensor that has a range of its own, before an h-swish not below -3."""
    names = [node.name for node in graph if node.op != 'input' and rule_of(node) == 'range']
    model = build(graph, outputs={name: name for name in names})

    @tf.function
    def extremes(batch: tf.Tensor) -> tf.Tensor:
        outputs = model(batch, training=False)
        return tf.stack(
            [(tf.reduce_min(outputs[name]), tf.reduce_max(outputs[name])) for name in names]
        )

    batches = range(0, len(images), BATCH_SIZE)
    values = np.stack([extremes(images[i : i + BATCH_SIZE]) for i in tqdm(batches, desc='observe')])
    lows, highs = values[:, :, 0].min(axis=0), values[:, :, 1].max(axis=0)  # [tensors]
    ranges = {}
    for name, low, high in zip(names, lows.tolist(), highs.tolist(), strict=True):
        lowest = smallest_that_counts(graph, name)
        ranges[name] = (low if lowest is None else max(low, lowest), high)
    return ranges


def search(graph: Graph, ranges: Ranges, images: np.ndarray) -> Ranges:
    """Cuts ranges where that takes noise from the answers: each tensor alone, every fraction."""
    model = quantized_model(graph, ranges)
    sensitivity = Sensitivity(model, images)
    noises = {name: sensitivity.of_tensor(name) for name in tqdm(ranges, desc='noise of ranges')}
    total = sum(noises.values())
    found = dict(ranges)
    worth = [name for name in ranges if noises[name] > WORTHWHILE * total]
    for name in tqdm(worth, desc='search ranges'):
        low, high = ranges[name]
        tried = [(noises[name], (low, high))]
        for fraction in FRACTIONS:
            # A short negative side, such as an h-swish's, is not where the steps are wasted.
            cut = (low if -low < 0.1 * high else low * fraction, high * fraction)
            set_ranges(model, {**ranges, name: cut})
            tried.append((sensitivity.of_tensor(name), cut))
        found[name] = min(tried)[1]
    return found


def _check(graph: Graph, images: np.ndarray) -> None:
    (shape,) = [tuple(node.config['shape']) for node in graph if node.op == 'input']
    if not len(images):
        raise ValueError(
            'there are no calibration images; expected at least one, better some hundred, of the '
            'training set'
        )
    if images.shape[1:] != shape:
        raise ValueError(f'calibration images are {images.shape[1:]}, the network takes {shape}')
    if not np.all(np.isfinite(images)):
        raise ValueError('calibration images hold values that are not finite; expected [-1, 1]')
    if images.min() == images.max():
        raise ValueError(
            f'all calibration images are the constant {images.min():g}; ranges that fit them fit no '
            'photo: give images of the training set'
        )
