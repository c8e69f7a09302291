"""What tests share: the arrays that a run left, a hand in the middle of one, .tflite files."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train import checkpoint
from train.card_file import write_card
from train.run import Run
from train.tflite_file import read_identity
from train.trainer import Trainer

OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'  # the one entry of a checkpoint that is no array


def variables(workdir: Path) -> dict[str, np.ndarray]:
    """Every array of the newest checkpoint by its name: both models, slots and the step."""
    saved = checkpoint.latest(str(workdir / 'checkpoints'))
    assert saved is not None
    reader = tf.train.load_checkpoint(saved.variables)
    names = [name for name in reader.get_variable_to_shape_map() if name != OBJECT_GRAPH]
    return {name: reader.get_tensor(name) for name in names}


def assert_same_variables(workdir: Path, expected: dict[str, np.ndarray]) -> None:
    """The newest checkpoint holds `expected`, bit for bit."""
    found = variables(workdir)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Calls `action` when the training step of that number, from one, has been taken."""
    train = Trainer.train

    def spied(trainer: Trainer, iterator: tf.data.Iterator, count: int) -> float:
        loss = train(trainer, iterator, count)
        if int(trainer.optimizer.iterations.numpy()) == number:
            action()
        return loss

    monkeypatch.setattr(Trainer, 'train', spied)


def explode(monkeypatch: pytest.MonkeyPatch, after: int, until_factor: float = 1.0) -> None:
    """A weight turns NaN after a step, as long as the learning rate was not lowered to a factor."""
    train = Trainer.train

    def explosive(trainer: Trainer, iterator: tf.data.Iterator, count: int) -> float:
        if int(trainer.optimizer.iterations) == after and trainer.schedule.factor >= until_factor:
            trainer.model.get_layer('logits/conv').bias.assign([0.0, np.nan, 0.0])
        return train(trainer, iterator, count)

    monkeypatch.setattr(Trainer, 'train', explosive)


def rewrite_states(workdir: Path, change: Callable[[dict], object]) -> None:
    """Changes the state of every checkpoint of a run, as another version would have written it."""
    for path in (workdir / 'checkpoints').glob('*/state.json'):
        state = json.loads(path.read_text())
        state.pop('state_sha256', None)  # changed before
        change(state)
        path.write_text(json.dumps(state))


def send(number: int) -> Callable[[], None]:
    """Sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def write_tflite(
    path: Path,
    model: tf_keras.Model,
    run: Run | None = None,
    *,
    images: np.ndarray | None = None,
    probabilities: bool = False,
) -> Path:
    """Converts a model as TensorFlow does it, to int8 where there are images for the ranges.

    With a run, the file gets a card that tells of it.
    """
    shape = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    finish = tf.nn.softmax if probabilities else tf.identity
    serve = tf.function(lambda image: tf.nest.map_structure(finish, model(image, training=False)))
    function = serve.get_concrete_function(shape)
    holder = tf.Module()  # of the variables; a model would be traced layer by layer
    holder.held = function.variables
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    if images is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    path.write_bytes(converter.convert())
    if run is not None:
        activation = 'softmax' if probabilities else 'none (logits)'
        sha256, _ = read_identity(path)
        write_card(path, {'sha256': sha256, 'output': {'activation': activation}, **run.to_state()})
    return path


def released_arrays(model: tf_keras.Model) -> dict[str, np.ndarray]:
    """Random weights for a network, laid out as released ones come (`train/weights/released.py`)."""
    rng = np.random.default_rng(0)
    kinds = (tf_keras.layers.Conv2D, tf_keras.layers.DepthwiseConv2D)
    arrays = {}
    for number, layer in enumerate(x for x in model.layers if isinstance(x, kinds)):
        depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
        kernel = rng.normal(0, 0.3, layer.weights[0].shape).astype(np.float32)
        op = 'DEPTHWISE_CONV_2D' if depthwise else 'CONV_2D'
        # Keras: [h, w, C, k] and [h, w, C, 1]; TFLite: [k, h, w, C] and [1, h, w, C].
        arrays[f'{number:02}_{op}_w'] = kernel.transpose(3, 0, 1, 2)
        channels = kernel.shape[2 if depthwise else 3]
        arrays[f'{number:02}_{op}_b'] = rng.normal(0, 0.3, channels).astype(np.float32)
    return arrays


def free_ports(count: int) -> list[int]:
    """Ports of this machine where nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def write_records(folder: Path, image_folder: Path) -> None:
    """The images of `image_folder` as TFRecords, two files a split."""
    folder.mkdir()
    (folder / 'labels.txt').write_text('blue\ngreen\nred\n')
    for split in ('train', 'val'):
        files = sorted((image_folder / split).glob('*/*.jpg'))
        for number in range(2):
            with tf.io.TFRecordWriter(f'{folder}/{split}-{number}') as writer:
                for file in files[number::2]:
                    label = ['blue', 'green', 'red'].index(file.parent.name)
                    image = tf.train.BytesList(value=[file.read_bytes()])
                    labels = tf.train.Int64List(value=[label])
                    feature = {
                        'image/encoded': tf.train.Feature(bytes_list=image),
                        'image/class/label': tf.train.Feature(int64_list=labels),
                    }
                    example = tf.train.Example(features=tf.train.Features(feature=feature))
                    writer.write(example.SerializeToString())
