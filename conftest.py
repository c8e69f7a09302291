"""Fixtures that the tests of several rooms share; TensorFlow is imported by those that need it."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Read when TensorFlow starts, in the tests' own processes too.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_NUM_INTRAOP_THREADS', '2')
os.environ.setdefault('TF_NUM_INTEROP_THREADS', '2')
# A shell that starts the tests in the background has them ignore Ctrl-C, and with them the commands
# that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent
# Runs a module for many command lines in forks of one process, in which TensorFlow is imported but
# not started: its import takes longer than all of them.
FORKS = """
import json, os, runpy, sys
import tensorflow, tf_keras
import {imports}

module, cases = json.load(open('cases.json'))
results = dict()
for number, (name, arguments) in enumerate(cases.items()):
    pid = os.fork()
    if not pid:
        for descriptor, stream in ((1, 'out'), (2, 'err')):
            os.dup2(os.open(f'{{number}}.{{stream}}', os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv = [module, *arguments]
        code = 0
        try:
            runpy.run_module(module, run_name='__main__', alter_sys=True)
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    out, err = (open(f'{{number}}.{{stream}}').read() for stream in ('out', 'err'))
    results[name] = os.waitstatus_to_exitcode(status), out, err
json.dump(results, open('results.json', 'w'))
"""
COLORS = ('blue', 'green', 'red')  # the classes of `image_folder`


def save_images(folder: Path, label: int, sizes: list[tuple[int, int]]) -> None:
    """Writes noisy JPEGs of the given (height, width), each in the colour of its class."""
    folder.mkdir(parents=True)
    for number, (height, width) in enumerate(sizes):
        rng = np.random.default_rng([label, height, width, number])
        pixels = rng.integers(0, 100, (height, width, 3), np.uint8)
        pixels[..., 2 - label] += 120
        Image.fromarray(pixels).save(folder / f'{number}.jpg', quality=95)


@pytest.fixture(scope='session')
def image_folder(tmp_path_factory):
    """A folder with class folders: 10 training and 7 validation images of three colours."""
    root = tmp_path_factory.mktemp('images')
    for label, color in enumerate(COLORS):
        train = [(32 + 4 * i, 40) for i in range(4 if label == 0 else 3)]
        val = [(40, 36 + 4 * i) for i in range(3 if label == 0 else 2)]
        save_images(root / 'train' / color, label, train)
        save_images(root / 'val' / color, label, val)
    return root


def save_boxes(root: Path, split: str, count: int) -> None:
    """Writes images of a grey ground with two squares of the colours of COLORS, as Pascal VOC has it."""
    for number in range(count):
        rng = np.random.default_rng([len(split), number])
        pixels = rng.integers(90, 120, (48, 64, 3), np.uint8)
        objects = ''
        for side, label in ((24, number % 3), (16, (number + 1) % 3)):
            top, left = (0, int(rng.integers(0, 10))) if side == 24 else (28, 40)
            square = pixels[top : top + side, left : left + side]
            square[...] = 20
            square[..., 2 - label] = 230
            objects += (
                f'<object><name>{COLORS[label]}</name><bndbox><xmin>{left + 1}</xmin>'
                f'<ymin>{top + 1}</ymin><xmax>{left + side}</xmax><ymax>{top + side}</ymax>'
                '</bndbox></object>'
            )
        Image.fromarray(pixels).save(root / 'JPEGImages' / f'{split}{number}.jpg', quality=95)
        annotation = f'<annotation>{objects}</annotation>'
        (root / 'Annotations' / f'{split}{number}.xml').write_text(annotation)
    names = ''.join(f'{split}{number}\n' for number in range(count))
    (root / 'ImageSets' / 'Main' / f'{split}.txt').write_text(names)


@pytest.fixture(scope='session')
def box_folder(tmp_path_factory):
    """Pascal VOC: 10 training, 7 validation and 4 test images, two boxes in each of three classes."""
    root = tmp_path_factory.mktemp('boxes')
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for split, count in (('train', 10), ('val', 7), ('test', 4)):
        save_boxes(root, split, count)
    return root


@pytest.fixture(scope='session')
def mask_folder(tmp_path_factory):
    """Images of three colours with index masks: 10 for training, 7 for validation, 4 to test.

    They differ in size. A column of each is to be ignored.
    """
    root = tmp_path_factory.mktemp('masks')
    for split, count in (('train', 10), ('val', 7), ('test', 4)):
        for folder in (split, f'{split}annot'):
            (root / folder).mkdir()
        for number in range(count):
            height, width = 40 + 4 * (number % 3), 48 + 8 * (number % 2)
            rng = np.random.default_rng([len(split), number])
            mask = np.zeros((height, width), np.uint8)
            mask[height // 3 + number % 5 :] = 1
            mask[8:24, 8 + number : 24 + number] = 2
            pixels = rng.integers(0, 100, (height, width, 3), np.uint8)
            pixels[..., 2] += np.where(mask == 0, np.uint8(120), np.uint8(0))
            pixels[..., 1] += np.where(mask == 1, np.uint8(120), np.uint8(0))
            pixels[..., 0] += np.where(mask == 2, np.uint8(120), np.uint8(0))
            mask[:, 0] = 255
            Image.fromarray(pixels).save(root / split / f'{number}.jpg', quality=95)
            Image.fromarray(mask).save(root / f'{split}annot' / f'{number}.png')
    (root / 'labels.txt').write_text('\n'.join(COLORS))
    return root


@pytest.fixture(scope='session')
def tiny_spec(tmp_path_factory):
    """A spec file of a network with every kind of layer of V3 and little to trace."""
    from mobilenet_v3.spec import BlockSpec, ConvSpec, ModelSpec, SqueezeExcite
    from mobilenet_v3.spec_file import to_dict

    spec = ModelSpec(
        name='tiny',
        stem=ConvSpec(3, 8, 'hard_swish', stride=2),
        blocks=(
            BlockSpec(3, 8, 8, SqueezeExcite(), 'relu', 2),
            BlockSpec(5, 16, 8, None, 'hard_swish', 2),
            BlockSpec(3, 24, 16, None, 'relu', 2),
            BlockSpec(3, 32, 16, SqueezeExcite(), 'hard_swish', 2),
        ),
        last=ConvSpec(1, 32, 'hard_swish', scaling='input'),
        features=ConvSpec(1, 24, 'hard_swish', batch_norm=False, scaling='grow_only'),
    )
    path = tmp_path_factory.mktemp('spec') / 'tiny.json'
    path.write_text(json.dumps(to_dict(spec)))
    return path


@pytest.fixture(scope='session')
def soft_images():
    """Makes images [N, 32, 32, 3] of soft spots, whole pixels p as p / 127.5 - 1."""

    def make(number, seed=0):
        spots = np.random.default_rng(seed).integers(0, 256, (number, 4, 4, 3), np.uint8)
        resized = [Image.fromarray(s).resize((32, 32), Image.Resampling.BICUBIC) for s in spots]
        return np.stack(resized).astype(np.float32) / np.float32(127.5) - 1

    return make


@pytest.fixture(scope='session')
def tiny_model(tiny_spec, soft_images):
    """The network of `tiny_spec` for three classes, its activations of order one."""
    import tf_keras

    from mobilenet_v3 import build_model
    from mobilenet_v3.spec_file import load_model_spec

    tf_keras.utils.set_random_seed(0)
    model = build_model(load_model_spec(str(tiny_spec)), resolution=32, num_classes=3)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the last batch
    model(soft_images(32), training=True)
    return model


@pytest.fixture(scope='session')
def tiny_config(image_folder, tiny_spec):
    """Makes configs of runs on `image_folder` that take 8 steps of 4 images, 2.5 steps an epoch."""
    from configs import base

    def make():
        c = base.get_config()
        c.model.name = str(tiny_spec)
        c.model.resolution = (32, 32)
        c.data.dataset = f'folder:{image_folder}'
        c.augment.area = (0.3, 1.0)
        c.train.batch_size = 4
        c.train.epochs = 3.2
        c.schedule.base_batch_size = 4
        c.schedule.learning_rate = 0.01
        c.schedule.warmup_epochs = 1.0
        c.ema.decay = 0.9
        c.eval.batch_size = 4
        c.eval.every_epochs = 2.0
        c.checkpoint.every_epochs = 0.8  # every other step
        c.log_every_steps = 3
        return c

    return make


@pytest.fixture(scope='session')
def tiny_trained(tiny_model, tiny_config):
    """`tiny_model` with the run and the data that it could have been trained as."""
    from export.start import Trained
    from train.data.source import open_source
    from train.run import Run, resolve_spec

    config = tiny_config()
    source = open_source(config.data)
    return Trained(Run(config, resolve_spec(config), source.labels), source, tiny_model, step=8)


@pytest.fixture(scope='session')
def tiny_run(tiny_config, tmp_path_factory):
    """The folder of a finished run of `tiny_config`."""
    from train import loop

    workdir = tmp_path_factory.mktemp('tiny_run')
    loop.run(tiny_config(), str(workdir))
    return workdir


@pytest.fixture(scope='session')
def tiny_detection_config(tiny_config, box_folder):
    """Makes configs of detection on `box_folder` that take 8 steps of 4 images."""

    def make():
        c = tiny_config()
        c.task = 'detection'
        c.model.resolution = (64, 64)
        c.data.dataset = f'voc:{box_folder}'
        c.data.max_boxes = 4
        c.augment.color = 'none'
        c.detection.extras = (32, 16, 16, 16)
        c.optimizer.kind = 'momentum'
        c.train.label_smoothing = 0.0
        return c

    return make


@pytest.fixture(scope='session')
def tiny_detection_run(tiny_detection_config, tmp_path_factory):
    """The folder of a finished run of `tiny_detection_config`."""
    from train import loop

    workdir = tmp_path_factory.mktemp('tiny_detection_run')
    loop.run(tiny_detection_config(), str(workdir))
    return workdir


@pytest.fixture(scope='session')
def tiny_segmentation_config(tiny_config, mask_folder):
    """Makes configs of segmentation on `mask_folder` that take 8 steps of 4 crops."""

    def make():
        c = tiny_config()
        c.task = 'segmentation'
        c.model.resolution = (48, 64)
        c.segmentation.crop = (32, 48)
        c.segmentation.filters = 16
        c.data.dataset = f'folder:{mask_folder}'
        c.augment.color = 'none'
        c.optimizer.kind = 'momentum'
        c.train.label_smoothing = 0.0
        return c

    return make


@pytest.fixture(scope='session')
def tiny_segmentation_run(tiny_segmentation_config, tmp_path_factory):
    """The folder of a finished run of `tiny_segmentation_config`."""
    from train import loop

    workdir = tmp_path_factory.mktemp('tiny_segmentation_run')
    loop.run(tiny_segmentation_config(), str(workdir))
    return workdir


@pytest.fixture(scope='session')
def tiny_recipe():
    """Makes recipes of quantization: 10 images for the ranges, 5 steps of 4 images."""
    from configs import quantize

    def make():
        c = quantize.get_config()
        c.quantize.calibration_images, c.quantize.search_images = 10, 4
        c.train.batch_size, c.train.epochs, c.eval.batch_size = 4, 2.0, 4
        c.schedule.base_batch_size, c.schedule.learning_rate = 4, 1e-4
        c.checkpoint.every_epochs = 0.8  # every other step
        c.eval.every_epochs = 2.0
        c.log_every_steps = 1
        return c

    return make


@pytest.fixture(scope='session')
def mediapipe():
    """The real thing, which is not in the lock: it and our other packages disagree about absl."""
    from export import metadata

    if not metadata.available():
        pytest.skip(f'mediapipe is not installed: {metadata.INSTALL}')
    if missing := missing_libraries():
        pytest.skip(f'mediapipe needs libraries: apt install {" ".join(missing)}')
    import mediapipe

    return mediapipe


def missing_libraries() -> list[str]:
    """What a fresh Debian lacks; mediapipe's wheel does not say so."""
    if not sys.platform.startswith('linux'):
        return []
    missing = []
    for library, package in (('libEGL.so.1', 'libegl1'), ('libGLESv2.so.2', 'libgles2')):
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


@pytest.fixture(scope='session')
def python_environment():
    """The environment of a process that imports from this tree."""
    search_path = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, search_path))}


@pytest.fixture(scope='session')
def run_python(python_environment):
    """Runs Python to its end, such as run_python('-m', 'train.main', cwd=…)."""

    def run(*arguments, cwd):
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env=python_environment,
            cwd=cwd,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture(scope='session')
def run_commands(run_python):
    """Runs a command line module with many arguments; name: (exit code, output, errors).

    run_commands('train.main', {'no flags': []}, folder, imports='module, module')
    """

    def run(module, cases, cwd, *, imports):
        (cwd / 'cases.json').write_text(json.dumps([module, cases]))
        result = run_python('-c', FORKS.format(imports=imports), cwd=cwd)
        assert result.returncode == 0, result.stderr
        return json.loads((cwd / 'results.json').read_text())

    return run


@pytest.fixture(scope='session')
def assert_refused():
    """Asserts that a command of `run_commands` ended with one clear error, which holds `words`."""

    def check(result, words):
        code, out, err = result
        assert code == 2
        assert err.splitlines()[-1].startswith('error: '), err
        assert words in err.splitlines()[-1]
        assert 'Traceback' not in err
        assert out == ''

    return check
