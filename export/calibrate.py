"""Ranges of activations from images: extremes first, then what costs the answers least.

A range to the extremes wastes its 256 steps on a few outliers. How much of it may be cut off is not
to be seen in the tensor itself but in the answers: with the released weights of V3-Small two tensors
of 118 make two thirds of the squared error at the logits, and the search takes three quarters away.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from export.graph import Graph, build
from export.quantize import (
    Ranges,
    has_range,
    quantized_model,
    range_owners,
    set_ranges,
    smallest_that_counts,
    to_pixel_grid,
)
from export.sensitivity import BATCH_SIZE, Sensitivity
from train.data.pipeline import images_at_once

FRACTIONS = (0.8, 0.6, 0.45, 0.33, 0.25, 0.18)  # of the range, to be tried
MOST_SEARCHED = 40  # tensors; the others keep their extremes
NOISE_IMAGES = 16  # for the order in which they are searched

Loss = Callable[[Any], tf.Tensor]


def calibrate(
    graph: Graph, images: np.ndarray, *, search_images: int, loss: Loss | None = None
) -> Ranges:
    """The ranges with which to quantize a deploy form.

    Args:
      graph: of `export.deploy.deploy_graph`.
      images: float32 [N, H, W, C] in [-1, 1], of the training set, as evaluation sees them.
      search_images: with how many of them the ranges are searched; 0 keeps the extremes.
      loss: of the network's answers to these; by default their difference to the float network's.

    Raises:
      ValueError: there are no images, or they are constant, not finite or of another shape.
    """
    _check(graph, images)
    ranges = observe(graph, images)
    return search(graph, ranges, images[:search_images], loss) if search_images else ranges


def observe(graph: Graph, images: np.ndarray) -> Ranges:
    """The extremes of every range of `range_owners`, before an h-swish not below -3."""
    owners = range_owners(graph)
    names = [node.name for node in graph if has_range(graph.nodes[owners[node.name]])]
    model = build(graph, outputs={name: name for name in names})

    @tf.function
    def extremes(batch: tf.Tensor) -> tf.Tensor:
        outputs = model(batch, training=False)
        return tf.stack(
            [(tf.reduce_min(outputs[name]), tf.reduce_max(outputs[name])) for name in names]
        )

    size = images_at_once(BATCH_SIZE, images.shape[1:3])
    batches = range(0, len(images), size)
    values = np.stack([extremes(images[i : i + size]) for i in tqdm(batches, desc='observe')])
    lows, highs = values[:, :, 0].min(axis=0), values[:, :, 1].max(axis=0)  # [tensors]
    ranges: Ranges = {}
    for name, low, high in zip(names, lows.tolist(), highs.tolist(), strict=True):
        lowest = smallest_that_counts(graph, name)
        low = low if lowest is None else max(low, lowest)
        before = ranges.get(owners[name], (low, high))
        ranges[owners[name]] = min(low, before[0]), max(high, before[1])
    return ranges


def search(graph: Graph, ranges: Ranges, images: np.ndarray, loss: Loss | None = None) -> Ranges:
    """Cuts ranges where that makes the quantized network's answers better.

    The tensors that make most noise alone, in this order, each with all others rounded as well: what
    one rounds away on average, another may make up for.
    """
    loss = loss or _difference_to(build(graph)(images, training=False))
    model = quantized_model(graph, ranges)
    sensitivity = Sensitivity(model, images[:NOISE_IMAGES])
    noises = {name: sensitivity.of_tensor(name) for name in tqdm(ranges, desc='noise of ranges')}
    costliest = sorted(noises, key=lambda name: -noises[name])[:MOST_SEARCHED]
    batch = to_pixel_grid(images)

    @tf.function
    def current_loss() -> tf.Tensor:
        return loss(model(batch, training=False))

    found, smallest = dict(ranges), float(current_loss())
    progress = tqdm(costliest, desc='search ranges')
    for name in progress:
        low, high = found[name]
        tried = [(smallest, (low, high))]
        for fraction in FRACTIONS:
            # A short negative side, such as an h-swish's, is not where the steps are wasted.
            cut = (low if -low < 0.1 * high else low * fraction, high * fraction)
            set_ranges(model, {**found, name: cut})
            tried.append((float(current_loss()), cut))
        smallest, found[name] = min(tried, key=lambda trial: trial[0])  # the widest of equals
        progress.set_postfix(loss=f'{smallest:.4f}')
    return found


def _difference_to(expected: Any) -> Loss:
    """The squared difference to the float network's answers, in their variances."""
    right = tf.nest.flatten(expected)

    def loss(answers: Any) -> tf.Tensor:
        pairs = zip(tf.nest.flatten(answers), right, strict=True)
        return tf.add_n(
            [tf.reduce_mean((a - e) ** 2) / tf.math.reduce_variance(e) for a, e in pairs]
        )

    return loss


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
