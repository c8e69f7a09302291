"""What to measure, how and where: the flags that command lines share."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmark.device import Device
from benchmark.session import Protocol
from benchmark.stop import Stop

FLAGS = flags.FLAGS
_PHONE_FLAGS = ('serial', 'core', 'benchmark_model')


def define_models_flag() -> None:
    """Defines --models."""
    flags.DEFINE_list(
        'models', [], '.tflite files, or directories of them; the first is the baseline.'
    )


def define_protocol_flags() -> None:
    """Defines how files are measured."""
    flags.DEFINE_integer('threads', 1, 'Threads of the runtime; the paper uses 1.')
    flags.DEFINE_integer('warmup', 10, 'Untimed runs at the start of each turn.')
    flags.DEFINE_integer('rounds', 10, 'Turns of each file, loaded afresh; intervals from 6 on.')
    flags.DEFINE_integer('runs', 20, 'Timed runs of each file in one turn.')


def read_protocol() -> Protocol:
    """How the flags say to measure."""
    return Protocol(FLAGS.threads, FLAGS.warmup, FLAGS.rounds, FLAGS.runs)


def find_models(names: Sequence[str]) -> list[Path]:
    """The files in the order given, each directory replaced by its .tflite files by name.

    Raises:
      ValueError: nothing named, or a directory without .tflite files.
    """
    if not names:
        raise ValueError('--models is empty, expected .tflite files or directories; name one')
    files: list[Path] = []
    for name in names:
        path = Path(name)
        found = sorted(path.glob('*.tflite')) if path.is_dir() else [path]
        if not found:
            raise ValueError(
                f'{path} holds no .tflite file, expected at least one; export a model into it first'
            )
        files += found
    return files


def define_device_flags() -> None:
    """Defines --device and what goes with it."""
    flags.DEFINE_enum('device', 'host', ['host', 'adb'], 'Where: here, or on phones over adb.')
    flags.DEFINE_list('serial', [], 'Phones by their serial numbers, or all; the only one.')
    flags.DEFINE_string('core', 'big', 'Of phones: big, mid, little, or a hexadecimal mask.')
    flags.DEFINE_string(
        'benchmark_model', '', "TFLite's tool for phones: the program, its .apk, or apk."
    )


def open_devices(stop: Stop | None = None) -> list[Device]:
    """The devices that the flags mean; those that wait for something end with `stop`.

    Raises:
      ValueError: no such phone, one that is not ready, or flags that do not go together.
    """
    if FLAGS.device == 'host':
        for name in _PHONE_FLAGS:
            if FLAGS[name].present:
                raise ValueError(f'--{name} goes with --device=adb; add it, or leave --{name} out')
        from benchmark.host import HostDevice  # with --device=adb nobody needs LiteRT

        return [HostDevice()]
    from benchmark.phones import phone

    return [
        *phone.find(
            FLAGS.serial,
            FLAGS.benchmark_model,
            core=FLAGS.core,
            threads=FLAGS.threads,
            stop=stop,
            progress=lambda text: print(text, file=sys.stderr),
        )
    ]
