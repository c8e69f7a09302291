"""Measures the training step of a recipe on this machine: memory and time, each in a fresh process."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from train.capacity import GB, Needs

if TYPE_CHECKING:
    import tensorflow as tf

    from train.trainer import Trainer

# Of the smaller batch: images must outweigh what the order of a step's ops does to its peak.
PIXELS = 16 * 224 * 224
FACTOR = 3  # from the smaller batch to the larger
STEPS = 6  # timed, after the first two
DEVICE = 'CPU:0'
_COPIED_BYTES = 1 << 28  # more than caches hold
_COPIES = 5


@dataclasses.dataclass(frozen=True)
class Probe:
    """One process that took a few steps.

    Attributes:
      peak_bytes: the most memory that the process held.
      tensor_bytes: the most of it that tensors took at once, variables and a batch included.
      step_seconds: median.
      state_bytes, gradient_bytes: as `Needs` has them.
    """

    batch_size: int
    peak_bytes: int
    tensor_bytes: int
    step_seconds: float
    state_bytes: int
    gradient_bytes: int


def measure_needs(config: ConfigDict, num_classes: int) -> Needs:
    """What a step of the recipe takes, by two batch sizes.

    The difference of the peaks of their tensors is what images take. The state is counted; what the
    process holds beside its tensors is the program.

    Raises:
      ValueError: the config is not valid, or this machine has not the memory for it.
    """
    height, width = config.segmentation.crop or config.model.resolution
    small = max(2, PIXELS // (height * width))
    few, many = (probe(config, num_classes, size) for size in (small, FACTOR * small))
    activations = (many.tensor_bytes - few.tensor_bytes) / (many.batch_size - few.batch_size)
    if activations <= 0:
        raise ValueError(
            f'{many.batch_size} images take no more memory than {few.batch_size} here; something else '
            'on this machine disturbs the measurement, try again'
        )
    return Needs(
        state_bytes=few.state_bytes,
        gradient_bytes=few.gradient_bytes,
        activation_bytes=activations,
        program_bytes=few.peak_bytes - few.tensor_bytes,
        images_per_second=many.batch_size / many.step_seconds,
        bandwidth_gb_s=copy_bandwidth_gb_s(),
    )


def probe(config: ConfigDict, num_classes: int, batch_size: int) -> Probe:
    """Takes a few steps in a process of its own.

    Raises:
      ValueError: the config is not valid, or the process died.
    """
    # Not forked: memory of this process would be counted.
    spawn = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        try:
            values = config.to_json()
            return pool.submit(_take_steps, values, num_classes, batch_size).result()
        except concurrent.futures.process.BrokenProcessPool:
            raise ValueError(
                f'the process that trains with {batch_size} images died, most likely for want of '
                'memory; lower --resolution'
            ) from None


def _take_steps(config_json: str, num_classes: int, batch_size: int) -> Probe:
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    from train import cli

    cli.import_tensorflow()
    import json

    import tensorflow as tf

    from configs import base
    from train.run import Run, resolve_spec
    from train.trainer import Trainer

    # A GPU's memory would stand in for this host's, and its speed beside the speed of this memory.
    tf.config.set_visible_devices([], 'GPU')
    config = base.get_config()
    config.update(json.loads(config_json))
    config.train.batch_size, config.train.parts = batch_size, 1
    labels = tuple(f'class {i}' for i in range(num_classes))
    task = Run(config, resolve_spec(config), labels).make_task()
    trainer = Trainer(task, tf.distribute.get_strategy(), steps_per_epoch=1000, total_steps=10**6)
    # In the last phase of a recipe by stages most of the network learns.
    trainer.optimizer.iterations.assign(trainer.stages.phases[-1].start_step)
    take_step = _step(trainer, batch_size)
    for _ in range(2):
        take_step()
    tf.config.experimental.reset_memory_stats(DEVICE)
    seconds = [_timed(take_step) for _ in range(STEPS)]
    tensor_bytes = tf.config.experimental.get_memory_info(DEVICE)['peak']
    variables = state_variables(trainer)
    return Probe(
        batch_size,
        _peak_bytes(),
        tensor_bytes,
        statistics.median(seconds),
        sum(_bytes(v) for v in variables),
        sum(_bytes(v) for v in trainer.model.trainable_variables),
    )


def state_variables(trainer: 'Trainer') -> 'list[tf.Variable]':
    """Every variable of a trainer, each once: those of its checkpoint."""
    models = (trainer.model, trainer.averaged, trainer.optimizer)
    found = {id(v): v for part in models for v in _variables(part)}
    return list(found.values())


def _variables(part: object) -> 'list[tf.Variable]':
    return part.variables() if callable(part.variables) else part.variables  # type: ignore[attr-defined]


def _step(trainer: 'Trainer', batch_size: int) -> Callable[[], float]:
    """A step on one batch that stays in memory: the input pipeline is not of the device."""
    import tensorflow as tf

    task = trainer.task
    example = task.train_example(_raw_example(), tf.constant([0, 0]))
    copies = {name: tf.stack([value] * batch_size) for name, value in example.items()}
    batches = iter(tf.data.Dataset.from_tensors(task.train_batch(copies)).repeat())
    return lambda: trainer.train(batches, 1)


def _raw_example() -> 'dict[str, tf.Tensor]':
    """A noisy image with the annotations of every task, as `Split` describes them."""
    import numpy as np
    import tensorflow as tf

    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return {
        'image': tf.io.encode_png(noise),
        'label': tf.constant(0, tf.int64),
        'boxes': tf.constant([[0.1, 0.1, 0.9, 0.9]]),
        'box_labels': tf.constant([0], tf.int64),
        'crowd': tf.constant([False]),
        'areas': tf.constant([0.0]),
        'mask': tf.io.encode_png(np.zeros((96, 96, 1), np.uint8)),
        'mask_classes': tf.constant([0] + 255 * [255], tf.uint8),
    }


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _bytes(variable: 'tf.Variable') -> int:
    return variable.shape.num_elements() * variable.dtype.size


def _peak_bytes() -> int:
    """The most memory this process has held; resource.getrusage tells that of its parent, too."""
    with open('/proc/self/status', encoding='utf-8') as status:
        found = re.search(r'VmHWM:\s*(\d+) kB', status.read())
    if not found:
        raise ValueError('this system does not tell the peak of a process; expected Linux')
    return int(found[1]) * 1024


def copy_bandwidth_gb_s() -> float:
    """Of this machine's memory: bytes read and written by the fastest of a few copies on all cores."""
    import numpy as np

    cores = os.cpu_count() or 1
    pairs = [
        (np.ones(_COPIED_BYTES // cores, np.uint8), np.ones(_COPIED_BYTES // cores, np.uint8))
        for _ in range(cores)
    ]
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        copy_all = lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs))  # noqa: E731
        seconds = [_timed(copy_all) for _ in range(_COPIES)]
    return 2 * _COPIED_BYTES / min(seconds) / GB
