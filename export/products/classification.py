"""Files of classifiers: logits or probabilities of the classes."""

import numpy as np
import tensorflow as tf

from export.card import Given
from export.convert import Finish
from export.mediapipe_tasks import image_classifier
from export.product import Answers, Product, Products
from train.data.pipeline import Batch
from train.distill import soft_loss
from train.file_forms import log_probabilities
from train.task import Task


def _logits(task: Task) -> Product:
    return Product(mediapipe=image_classifier('none'))


def _probabilities(task: Task) -> Product:
    return Product(
        Given('probabilities', 'softmax'),
        Finish(tf.nn.softmax),
        # Up to a constant, which no metric sees, the logits are the logarithms of probabilities.
        restore=log_probabilities,
        mediapipe=image_classifier('softmax'),
    )


def _agreement(some: Answers, others: Answers) -> np.ndarray:
    return some.statistics['prediction'] == others.statistics['prediction']


def _imitation(
    outputs: tf.Tensor, taught: tf.Tensor, batch: Batch, temperature: float
) -> tf.Tensor:
    return soft_loss(outputs, taught, temperature)


PRODUCTS = Products(
    kinds={'logits': _logits, 'probabilities': _probabilities},
    agreement=_agreement,
    agreement_is='share of images with the same class',
    imitation=_imitation,
)
