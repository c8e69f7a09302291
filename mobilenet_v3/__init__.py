"""MobileNetV3 and the networks its paper compares against: specs, costs and Keras models.

    import mobilenet_v3
    model = mobilenet_v3.build_model('large', multiplier=1.0, resolution=224, num_classes=1000)
    cost = mobilenet_v3.count('large')  # cost.params, cost.madds
    row = mobilenet_v3.DETECTORS['v3_halved']  # of Table 6; SEGMENTERS: Tables 7 and 8
    detector = mobilenet_v3.build_detector(row.backbone, head=row.head, resolution=320)

The specs and costs need no TensorFlow; it is imported by the first call that builds a model.
"""

import os
from typing import TYPE_CHECKING

from mobilenet_v3.cost import count
from mobilenet_v3.head_cost import count_detector, count_segmenter
from mobilenet_v3.head_tables import DETECTORS, SEGMENTERS
from mobilenet_v3.heads import DetectionHead, SegmentationHead
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.tables import SPECS, get_spec

# tensorflow-model-optimization and tf.lite look at this when they are imported: Keras 2 throughout.
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')

if TYPE_CHECKING:
    from mobilenet_v3.keras_weights import carry_keras_weights
    from mobilenet_v3.models import build_backbone, build_detector, build_model, build_segmenter

__all__ = [
    'DETECTORS',
    'SEGMENTERS',
    'SPECS',
    'DetectionHead',
    'ModelSpec',
    'SegmentationHead',
    'build_backbone',
    'build_detector',
    'build_model',
    'build_segmenter',
    'carry_keras_weights',
    'count',
    'count_detector',
    'count_segmenter',
    'get_spec',
]


def __getattr__(name: str) -> object:
    if name in ('build_backbone', 'build_detector', 'build_model', 'build_segmenter'):
        from mobilenet_v3 import models

        return getattr(models, name)
    if name == 'carry_keras_weights':
        from mobilenet_v3.keras_weights import carry_keras_weights

        return carry_keras_weights
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
