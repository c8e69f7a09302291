import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).absolute().parents[1]
COMPARE = 'tools/aarch64/compare.py'
EMULATOR = Path(os.environ.get('AARCH64_DIR', ROOT / 'build/aarch64')).absolute()

needs_emulator = pytest.mark.skipif(
    not (EMULATOR / 'ready').is_file(),
    reason=f'{EMULATOR} holds no finished set-up; run tools/aarch64/setup.sh',
)


def compare(*arguments, emulator=EMULATOR):
    return subprocess.run(
        [sys.executable, COMPARE, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, 'AARCH64_DIR': str(emulator)},
        cwd=ROOT,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope='module')
def int8_file(tmp_path_factory):
    """The ops of V3's int8 form, with random weights and a map of 8×8 as output: many bytes."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    image = layers.Input((32, 32, 3), batch_size=1)
    x = layers.Conv2D(16, 3, strides=2, padding='same')(image)
    x = x * layers.ReLU(6.0)(x + 3.0)
    x = layers.DepthwiseConv2D(5, strides=2, padding='same')(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(16, 1, bias_initializer=tf_keras.initializers.Constant(3.0))(gate)
    x = x * layers.ReLU(6.0)(gate)
    x += layers.Conv2D(16, 1)(x)
    converter = tf.lite.TFLiteConverter.from_keras_model(
        tf_keras.Model(image, layers.Conv2D(24, 1)(x))
    )
    noise = np.random.default_rng(0).uniform(-1, 1, (16, 1, 32, 32, 3)).astype(np.float32)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([values] for values in noise)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    path = tmp_path_factory.mktemp('int8') / 'tiny.tflite'
    path.write_bytes(converter.convert())
    return path


@pytest.mark.slow
@needs_emulator
def test_int8_gives_the_same_bytes_on_arm(int8_file):
    done = compare(int8_file)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3  # CPUs: each makes XNNPACK pick other kernels
    for line in lines:
        assert line.endswith(
            ': identical on 4 inputs: 6144 bytes (XNNPACK partitions: x86_64 1, aarch64 1)'
        )


@pytest.mark.slow
@needs_emulator
def test_a_difference_is_told(tmp_path):
    import tensorflow as tf

    # A float sum, whose order follows the width of the CPU's vectors.
    @tf.function(input_signature=[tf.TensorSpec((1, 8, 256), tf.float32)])
    def serve(values):
        return tf.nn.softmax(values)

    path = tmp_path / 'softmax.tflite'
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
    path.write_bytes(converter.convert())
    done = compare(path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert ' of 8192 values differ, on 4 of 4 inputs, by up to ' in done.stdout


def test_a_missing_set_up_is_told_in_one_line(tmp_path):
    done = compare(tmp_path / 'any.tflite', emulator=tmp_path / 'nowhere')
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr == (
        f'error: {tmp_path}/nowhere holds no finished set-up; run tools/aarch64/setup.sh\n'
    )


@needs_emulator
def test_a_missing_model_is_told_in_one_line(tmp_path):
    done = compare(tmp_path / 'any.tflite')
    assert done.returncode == 2
    assert done.stderr == f'error: {tmp_path}/any.tflite is not a file, expected a .tflite file\n'


@pytest.mark.slow
@needs_emulator
def test_inputs_of_another_shape_or_dtype_are_told_in_one_line(int8_file, tmp_path):
    path = tmp_path / 'images.npy'
    np.save(path, np.zeros((2, 16, 32, 3), np.float32))
    done = compare(int8_file, path)
    assert done.returncode == 2
    assert done.stderr == (
        f'error: {path} holds float32 [2, 16, 32, 3], expected uint8 [N, 32, 32, 3]\n'
    )
