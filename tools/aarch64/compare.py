"""Whether a .tflite file gives the same bytes on 64-bit Arm as on this host.

python tools/aarch64/compare.py MODEL.tflite [INPUTS.npy]

LiteRT's arm64 build runs in the emulator that tools/aarch64/setup.sh puts into build/aarch64, or
into the folder that the environment variable AARCH64_DIR names. Exit code 0: the same on every
CPU; 1: a difference; 2: it could not be compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

ROOT = Path(__file__).absolute().parents[2]
RUN_MODEL = Path(__file__).with_name('run_model.py')
# XNNPACK picks its kernels by what the CPU knows: one with plain NEON, one with dot products, one
# with matrix products of int8. A phone has one of these.
CPUS = ('cortex-a53', 'cortex-a76', 'cortex-a710')


def find_emulator() -> Path:
    """The folder that setup.sh filled.

    Raises:
      ValueError: there is none.
    """
    folder = Path(os.environ.get('AARCH64_DIR', ROOT / 'build/aarch64')).absolute()
    if not (folder / 'ready').is_file():
        raise ValueError(f'{folder} holds no finished set-up; run tools/aarch64/setup.sh')
    return folder


def read_input(model: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape without the batch, and dtype, of the one input of a file.

    Raises:
      ValueError: it is no file with one input of batch 1.
    """
    if not model.is_file():
        raise ValueError(f'{model} is not a file, expected a .tflite file')
    try:
        details = Interpreter(model_path=str(model)).get_input_details()
    except ValueError as error:
        raise ValueError(f'{model} cannot be read: {error}; expected a .tflite file') from error
    shapes = [detail['shape'].tolist() for detail in details]
    if len(shapes) != 1 or shapes[0][:1] != [1]:
        raise ValueError(f'{model} has inputs {shapes}, expected one of batch 1')
    return tuple(shapes[0][1:]), np.dtype(details[0]['dtype'])


def read_inputs(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The inputs [N, *shape] of a .npy file.

    Raises:
      ValueError: it is no such file, or they are of another shape or dtype.
    """
    try:
        inputs = np.load(path)
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path} cannot be read; expected a .npy file of numbers') from error
    if inputs.shape[1:] != shape or inputs.dtype != dtype or not len(inputs):
        raise ValueError(
            f'{path} holds {inputs.dtype} {list(inputs.shape)}, expected {dtype} [N, '
            f'{", ".join(map(str, shape))}]'
        )
    return inputs


def random_inputs(shape: tuple[int, ...], dtype: np.dtype, number: int = 4) -> np.ndarray:
    """Inputs [number, *shape], the same at every call.

    From noise in the first to patches of one value in the last: a network answers nearly the same
    to all noise, and patches move its activations through their range.
    """
    rng = np.random.default_rng(0)
    patches = rng.uniform(-1, 1, (number, *(-(-size // 8) for size in shape[:-1]), *shape[-1:]))
    for axis, size in enumerate(shape[:-1], start=1):
        patches = patches.repeat(8, axis).take(range(size), axis)
    noise = rng.uniform(-1, 1, patches.shape)
    share = np.linspace(0, 1, number).reshape(-1, *[1] * len(shape))
    values = share * patches + (1 - share) * noise
    if dtype.kind == 'f':
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.round((values + 1) / 2 * (limits.max - limits.min) + limits.min).astype(dtype)


def run(
    command: list[str], model: Path, inputs: np.ndarray, environment: dict[str, str]
) -> tuple[np.ndarray, dict]:
    """Outputs of run_model.py under a Python, and what it says.

    Raises:
      ValueError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, 'inputs.npy'), Path(folder, 'outputs.npy')
        np.save(source, inputs)
        done = subprocess.run(
            [*command, str(RUN_MODEL), str(model), str(source), str(result)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.splitlines() or ['no message'])[-1]
            raise ValueError(f'{Path(command[0]).name} ended with {done.returncode}: {reason}')
        return np.load(result), json.loads(done.stdout)


def run_emulated(
    emulator: Path, cpu: str, model: Path, inputs: np.ndarray
) -> tuple[np.ndarray, dict]:
    """The same on an emulated CPU."""
    sysroot = emulator / 'sysroot'
    python = [str(emulator / 'qemu-aarch64'), '-L', str(sysroot), '-cpu', cpu]
    # Nothing of the host's Python: its PYTHON* variables and packages are for another machine.
    environment = {'PYTHONPATH': str(emulator / 'site')}
    return run([*python, str(sysroot / 'usr/bin/python3.11')], model, inputs, environment)


def describe(expected: np.ndarray, outputs: np.ndarray) -> str:
    """How two arrays [N, ...] of one dtype differ, or that they do not, byte for byte."""
    if outputs.tobytes() == expected.tobytes():
        return f'identical on {len(expected)} inputs: {expected.nbytes} bytes'
    # Widened first: uint8 would wrap.
    distance = np.abs(outputs.astype(np.float64) - expected.astype(np.float64))
    rows = np.count_nonzero(distance.reshape(len(expected), -1).any(axis=1))
    unit = '' if expected.dtype.kind == 'f' else ' steps'
    return (
        f'{np.count_nonzero(distance)} of {distance.size} values differ, on {rows} of '
        f'{len(expected)} inputs, by up to {distance.max():.3g}{unit}'
    )


def main() -> int:
    """Prints a line for each CPU and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model', type=Path)
    parser.add_argument('inputs', type=Path, nargs='?', help='[N, ...]; random ones without it')
    arguments = parser.parse_args()
    same = True
    try:
        emulator = find_emulator()
        shape, dtype = read_input(arguments.model)
        if arguments.inputs:
            inputs = read_inputs(arguments.inputs, shape, dtype)
        else:
            inputs = random_inputs(shape, dtype)
        expected, here = run([sys.executable], arguments.model, inputs, dict(os.environ))
        for cpu in CPUS:
            outputs, there = run_emulated(emulator, cpu, arguments.model, inputs)
            if there['litert'] != here['litert']:
                raise ValueError(
                    f'{emulator} has LiteRT {there["litert"]}, expected {here["litert"]} as here; '
                    'run tools/aarch64/setup.sh again'
                )
            same = same and outputs.tobytes() == expected.tobytes()
            print(
                f'{cpu}: {describe(expected, outputs)} (XNNPACK partitions: {here["machine"]} '
                f'{here["partitions"]}, {there["machine"]} {there["partitions"]})',
                flush=True,
            )
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0 if same else 1


if __name__ == '__main__':
    sys.exit(main())
