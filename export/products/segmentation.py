"""Files of segmenters: scores of the classes at every pixel of the input, or the best class alone."""

import numpy as np
import tensorflow as tf

from export.card import Given
from export.convert import Finish
from export.mediapipe_tasks import image_segmenter
from export.product import Answers, Product, Products
from train.data.pipeline import Batch
from train.distill import soft_loss
from train.file_forms import log_probabilities
from train.task import Task

_MOST_CLASSES = 256  # that a byte tells apart


def _logits(task: Task) -> Product:
    return Product(mediapipe=image_segmenter('none'))


def _probabilities(task: Task) -> Product:
    return Product(
        Given('probabilities', 'softmax'),
        Finish(tf.nn.softmax),
        restore=log_probabilities,
        mediapipe=image_segmenter('softmax'),
    )


def _labels(task: Task) -> Product:
    """The number of the best class, [1, H, W]: a byte, where that is enough."""
    dtype = tf.uint8 if len(task.labels) <= _MOST_CLASSES else tf.int32

    def best(logits: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), dtype)

    return Product(
        Given('labels', 'argmax'),
        Finish(best, typed=False),
        comparable=False,
        suffix='_labels',
        mediapipe="MediaPipe's ImageSegmenter makes nonsense of a map of labels; use --outputs=logits",
    )


def _agreement(some: Answers, others: Answers) -> np.ndarray:
    return np.mean(_classes(some.outputs) == _classes(others.outputs), axis=(1, 2))


def _classes(outputs: np.ndarray) -> np.ndarray:
    """The best class of each pixel, [N, H, W], of logits or of labels."""
    return outputs if outputs.ndim == 3 else np.argmax(outputs, axis=-1)


def _imitation(
    outputs: tf.Tensor, taught: tf.Tensor, batch: Batch, temperature: float
) -> tf.Tensor:
    """The mean over all pixels, those without a class, too."""
    return tf.reduce_mean(soft_loss(outputs, taught, temperature), axis=[1, 2])


def _calibration(example: Batch) -> Batch:
    """With the mask at the size of the image: all masks alike, and logits as large as the network's."""
    image, mask = example['image'], example['mask']
    nearest = tf.image.resize(mask[..., tf.newaxis], image.shape[:2], 'nearest')
    return {'image': image, 'mask': nearest[..., 0]}


PRODUCTS = Products(
    kinds={'logits': _logits, 'probabilities': _probabilities, 'labels': _labels},
    agreement=_agreement,
    agreement_is='share of pixels with the same class',
    imitation=_imitation,
    calibration=_calibration,
)
