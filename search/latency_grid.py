"""Measures the parts of a network in many widths: a latency table from which NetAdapt predicts.

    python -m search.latency_grid --seed_model=small --resolution=64 --num_classes=10 \\
        --output=runs/latency
    python -m search.latency_grid --seed_model=v2 --space --output=runs/latency

Draws widths from --lowest of the network's own to its own, builds the parts of all these networks
into OUTPUT/blocks, measures them by turns and adds them to OUTPUT/latency_table.csv: the one that
benchmark.block_table writes. Widths between measured ones are fitted, so some dozens are enough. With
--space all parts of the search space around the network are measured instead (search/space.py).
"""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from benchmark import block_table, measuring_flags
from benchmark.blocks.parts import SCHEMES, Part
from benchmark.device import Device
from benchmark.measuring_flags import (
    define_device_flags,
    define_protocol_flags,
    open_devices,
    read_protocol,
)
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import load_model_spec
from search.latency.form import FileForm
from search.space import Space
from search.space_parts import space_parts
from search.widths import drawn, narrowest
from train import cli

FLAGS = flags.FLAGS
SEED = 0  # of the widths that are drawn


def define_flags() -> None:
    """Defines the flags."""
    define_network_flags()
    flags.DEFINE_integer('networks', 24, 'Networks whose widths are drawn.', lower_bound=1)
    flags.DEFINE_bool('space', False, 'All parts of the NAS space around the network.')
    config_flags.DEFINE_config_file(
        'search',
        os.path.join(os.path.dirname(__file__), 'settings.py'),
        "Of --space: its choices, MnasNet's, can be set by --search.space.NAME=VALUE.",
    )
    define_device_flags()
    define_protocol_flags()
    flags.DEFINE_string('output', None, 'Folder for files and table.', required=True)
    flags.adopt_module_key_flags(measuring_flags)  # so that --help shows them


def define_network_flags() -> None:
    """Defines the flags that say which networks, in which widths, as which files."""
    flags.DEFINE_list('seed_model', None, 'Networks or spec files (*.json).', required=True)
    flags.DEFINE_integer('resolution', 224, 'Side of the input in pixels.')
    flags.DEFINE_integer('num_classes', 1000, 'Of the logits.')
    flags.DEFINE_enum('scheme', 'float32', SCHEMES, 'Of weights and activations.')
    flags.DEFINE_float('lowest', 0.25, "Narrowest widths, as a share of the network's own.", 0, 1)


def read_form() -> FileForm:
    """The files that the flags mean."""
    return FileForm(FLAGS.resolution, FLAGS.num_classes, FLAGS.scheme)


def main() -> None:
    """Flags to one call."""
    protocol = read_protocol()
    seeds = [load_model_spec(name) for name in FLAGS.seed_model]
    form = read_form()
    if FLAGS.space:
        choices = dict(FLAGS.search.space)
        parts = [part for seed in seeds for part in space_parts(Space(seed, choices), form)]
    else:
        parts = grid_parts(seeds, form, FLAGS.networks, FLAGS.lowest)
    device = open_device()
    cli.import_tensorflow()
    print(f'{len(parts)} parts')
    try:
        print(block_table.run(device, [], parts, protocol, Path(FLAGS.output)))
    finally:
        device.close()


def open_device() -> Device:
    """The one device that the flags mean.

    Raises:
      ValueError: they mean several.
    """
    devices = open_devices()
    if len(devices) > 1:
        names = ', '.join(device.name for device in devices)
        raise ValueError(f'--serial means {names}; expected one phone a table, name one')
    return devices[0]


def grid_parts(
    seeds: Sequence[ModelSpec], form: FileForm, networks: int, lowest: float
) -> list[Part]:
    """The parts of networks in their own widths, in the narrowest, and in widths that are drawn.

    Args:
      seeds: the networks.
      form: of their files.
      networks: how many are drawn from each.
      lowest: narrowest widths, as a share of each network's own.
    """
    specs = [
        spec
        for seed in seeds
        for spec in (seed, narrowest(seed, lowest), *drawn(seed, networks, lowest, SEED))
    ]
    return list(dict.fromkeys(part for spec in specs for part in form.parts(spec)))


if __name__ == '__main__':
    cli.run(main, define_flags)
