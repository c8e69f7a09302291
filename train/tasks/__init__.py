"""What is trained: the data, loss and metrics of each task."""

from collections.abc import Callable

from ml_collections import ConfigDict

from mobilenet_v3.spec import ModelSpec
from train.task import Task
from train.tasks.classification import Classification
from train.tasks.detection import Detection
from train.tasks.segmentation import Segmentation

# Every task by its name in a config, made of a config, a network and the names of the classes.
TASKS: dict[str, Callable[[ConfigDict, ModelSpec, tuple[str, ...]], Task]] = {
    'classification': Classification,
    'detection': Detection,
    'segmentation': Segmentation,
}
