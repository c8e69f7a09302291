"""What each task takes of the features of a TFDS dataset."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from train.data.mask_file import IGNORED, class_tables

Raw = dict[str, tf.Tensor]

IMAGES = ('image', 'image_left')
MASKS = ('mask', 'segmentation_label', 'segmentation_mask')
CROWDS = ('is_crowd', 'is_difficult')

# The 19 classes on which Cityscapes is judged, and their numbers in its files, 0 to 33.
CITYSCAPES = {
    'road': 7,
    'sidewalk': 8,
    'building': 11,
    'wall': 12,
    'fence': 13,
    'pole': 17,
    'traffic light': 19,
    'traffic sign': 20,
    'vegetation': 21,
    'terrain': 22,
    'sky': 23,
    'person': 24,
    'rider': 25,
    'car': 26,
    'truck': 27,
    'bus': 28,
    'train': 31,
    'motorcycle': 32,
    'bicycle': 33,
}
# Datasets whose masks do not say what their numbers mean.
MASK_CLASSES = {
    'cityscapes': CITYSCAPES,
    'oxford_iiit_pet': {'pet': 1, 'background': 2, 'border': 3},
}


@dataclasses.dataclass(frozen=True)
class Form:
    """How examples of a dataset become raw examples of a task.

    Attributes:
      labels: names of the classes.
      decoders: the features to read, images and masks still encoded.
      raw: an example as TFDS gives it to a raw example (`train.data.source.Split`).
      annotated: whether a raw example has an annotation; test splits often come without.
    """

    labels: tuple[str, ...]
    decoders: tfds.decode.PartialDecoding
    raw: Callable[[dict[str, Any]], Raw]
    annotated: Callable[[dict[str, np.ndarray]], bool]


def classification(name: str, features: Any, config: ConfigDict) -> Form:
    """An image and its class."""
    if 'image' not in features or 'label' not in features:
        raise ValueError(f'{name} has features {list(features)}; expected image and label')
    if not isinstance(features['label'], tfds.features.ClassLabel):
        raise ValueError(f'{name}: its label is {features["label"]}; expected a ClassLabel')
    return Form(
        tuple(features['label'].names),
        _decoders({'image': True, 'label': True}, ['image']),
        lambda example: {'image': example['image'], 'label': example['label']},
        lambda raw: int(raw['label']) >= 0,
    )


def detection(name: str, features: Any, config: ConfigDict) -> Form:
    """An image and the boxes and classes of its objects."""
    objects = getattr(features['objects'], 'feature', {}) if 'objects' in features else {}
    if 'image' not in features or 'bbox' not in objects or 'label' not in objects:
        raise ValueError(
            f'{name} has features {list(features)}; detection needs an image, and objects with bbox '
            'and label'
        )
    crowd = next((key for key in CROWDS if key in objects), None)
    wanted = {key: True for key in ('bbox', 'label', crowd, 'area') if key in objects}

    def raw(example: dict[str, Any]) -> Raw:
        found = example['objects']
        zeros = tf.zeros_like(found['label'])
        return {
            'image': example['image'],
            'boxes': found['bbox'],
            'box_labels': found['label'],
            'crowd': tf.cast(found[crowd] if crowd else zeros, tf.bool),
            'areas': tf.cast(found.get('area', zeros), tf.float32),
        }

    return Form(
        tuple(objects['label'].names),
        _decoders({'image': True, 'objects': wanted}, ['image']),
        raw,
        lambda raw: len(raw['boxes']) > 0,
    )


def segmentation(name: str, features: Any, config: ConfigDict) -> Form:
    """An image and its mask of classes."""
    image = next((key for key in IMAGES if key in features), None)
    mask = next((key for key in MASKS if key in features), None)
    if image is None or mask is None:
        raise ValueError(
            f'{name} has features {list(features)}; segmentation needs an image '
            f'({", ".join(IMAGES)}) and a mask ({", ".join(MASKS)})'
        )
    classes = _mask_classes(name, features[mask], config)
    table = class_tables(list(classes.values()))[-1]  # TFDS writes 8 bits a pixel
    return Form(
        tuple(classes),
        _decoders({image: True, mask: True}, [image, mask]),
        lambda example: {
            'image': example[image],
            'mask': example[mask],
            'mask_classes': tf.constant(table),
        },
        lambda raw: bool((table[tf.io.decode_png(raw['mask'], channels=1)] != IGNORED).any()),
    )


def _mask_classes(name: str, mask: Any, config: ConfigDict) -> dict[str, int]:
    """The names of a mask's classes and their numbers."""
    dataset = name.partition('/')[0].partition(':')[0]
    if dataset in MASK_CLASSES:
        return MASK_CLASSES[dataset]
    if isinstance(mask, tfds.features.LabeledImage) and mask.names:
        numbers = {label: number for number, label in enumerate(mask.names)}
    elif config.num_classes:
        numbers = {str(number): number for number in range(config.num_classes)}
    else:
        raise ValueError(
            f'{name} does not name the classes of its masks; give their number by '
            '--config.data.num_classes'
        )
    return {label: n for label, n in numbers.items() if n != config.ignore_label}


def _decoders(wanted: dict[str, Any], encoded: list[str]) -> tfds.decode.PartialDecoding:
    # Images are decoded and cropped in one op later, masks by the task that wants them.
    return tfds.decode.PartialDecoding(
        wanted, decoders={key: tfds.decode.SkipDecoding() for key in encoded}
    )


# Each takes the dataset's name and features and the `data` part of a config.
FORMS: dict[str, Callable[[str, Any, ConfigDict], Form]] = {
    'classification': classification,
    'detection': detection,
    'segmentation': segmentation,
}
