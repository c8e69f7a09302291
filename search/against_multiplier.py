"""Compares a network that was found with the seed's uniform width multiplier of equal latency.

    python -m search.against_multiplier --spec=runs/netadapt/spec.json --seed_model=small \\
        --dataset=folder:photos --resolution=64 --config=configs/small_data.py --seeds=3 \\
        --workdir=runs/against

Finds the multiplier whose network takes as long, trains both from scratch by the same recipe in every
seed, and measures both here by turns. Writes against.md and against.json; stopped, the same command
goes on.
"""

import bisect
import dataclasses
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from benchmark.blocks.parts import SCHEMES
from benchmark.device import Device
from benchmark.latency import Ratio, ratio_of
from benchmark.measuring_flags import define_protocol_flags, read_protocol
from benchmark.session import Protocol, measure
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import load_model_spec, to_dict
from mobilenet_v3.transforms import widen
from search.latency.form import FileForm
from search.latency.measured import MeasuredLatency
from search.latency.model import LatencyModel
from search.latency_check import build_cases
from search.settings import check_config
from train import cli
from train.files import write_file, write_json
from train.markdown import markdown_table
from train.stop_signal import Stopped

FLAGS = flags.FLAGS
_MULTIPLIERS = [number / 100 for number in range(10, 101)]


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('spec', None, 'Spec file of the network that was found.', required=True)
    flags.DEFINE_string('seed_model', None, 'The network it was found from.', required=True)
    flags.DEFINE_enum('scheme', 'float32', SCHEMES, 'Of the files that are measured.')
    flags.DEFINE_string('dataset', None, 'As of train.main.', required=True)
    flags.DEFINE_integer('resolution', None, "Side of the input in pixels; else the config's.")
    flags.DEFINE_integer('seeds', 3, 'Runs of each network.', lower_bound=1)
    flags.DEFINE_string('workdir', None, 'Folder of all files; made or continued.', required=True)
    config_flags.DEFINE_config_file(
        'config',
        os.path.join(os.path.dirname(__file__), '..', 'configs', 'base.py'),
        'Recipe of training; any value of it can be set by --config.a.b=VALUE.',
    )
    define_protocol_flags()


def main() -> None:
    """Flags to one call."""
    config, workdir = FLAGS.config, Path(FLAGS.workdir)
    if FLAGS.resolution is not None:
        config.model.resolution = (FLAGS.resolution, FLAGS.resolution)
    config.data.dataset = FLAGS.dataset
    check_config(config)
    found, seed = load_model_spec(FLAGS.spec), load_model_spec(FLAGS.seed_model)
    protocol = read_protocol()
    cli.import_tensorflow()
    from benchmark.host import HostDevice
    from train.data.source import open_source

    form = FileForm(config.model.resolution[0], len(open_source(config.data).labels), FLAGS.scheme)
    device = HostDevice()
    latency = MeasuredLatency(device, protocol, form, seed, workdir / 'latency')
    multiplier = equal_multiplier(seed, found, latency)
    uniform = dataclasses.replace(widen(seed, multiplier), name=f'uniform_{multiplier:g}')
    networks = {'found': found, uniform.name: uniform}
    print(f'{uniform.name} takes as long', flush=True)
    accuracies = {
        name: train_all(config, spec, workdir / name, FLAGS.seeds)
        for name, spec in networks.items()
    }
    ratio = measure_both(device, form, [found, uniform], workdir / 'networks', protocol)
    print(write_comparison(workdir, accuracies, ratio))


def equal_multiplier(seed: ModelSpec, found: ModelSpec, latency: LatencyModel) -> float:
    """The multiplier from 0.1 to 1 whose network is nearest in latency, found by halving.

    Raises:
      DeviceError: the device that measures failed.
    """
    wanted = latency.predict(found)

    def slower(multiplier: float) -> float:
        return latency.predict(widen(seed, multiplier)) - wanted

    place = bisect.bisect_left(_MULTIPLIERS, 0.0, hi=len(_MULTIPLIERS) - 1, key=slower)
    around = _MULTIPLIERS[max(0, place - 1) : place + 1]
    return min(around, key=lambda multiplier: abs(slower(multiplier)))


def train_all(config: ConfigDict, spec: ModelSpec, folder: Path, seeds: int) -> list[float]:
    """The accuracies of a network that is trained from scratch in several seeds.

    Raises:
      Stopped: a signal stopped a training; the same call goes on.
    """
    from train import loop

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / 'spec.json', to_dict(spec))
    accuracies = []
    for number in range(seeds):
        each = ConfigDict(config.to_dict())
        each.model.name, each.model.multiplier = str(folder / 'spec.json'), 1.0
        each.seed = number
        metrics = loop.run(each, str(folder / f'seed_{number}'))
        if metrics is None:
            raise Stopped
        accuracies.append(metrics['averaged']['top1'])
    return accuracies


def measure_both(
    device: Device,
    form: FileForm,
    specs: Sequence[ModelSpec],
    folder: Path,
    protocol: Protocol,
) -> Ratio:
    """The latency of the first network over the second's, measured by turns."""
    first, second = measure(device, build_cases(folder, form, specs), protocol)
    return ratio_of(first, second)


def write_comparison(folder: Path, accuracies: dict[str, list[float]], ratio: Ratio) -> str:
    """Writes the comparison of two networks; returns its table."""
    seeds = len(next(iter(accuracies.values())))
    head = ['network', *(f'seed {number}' for number in range(seeds)), 'mean']
    rows = [
        [name, *(f'{value:.1%}' for value in values), f'{statistics.mean(values):.1%}']
        for name, values in accuracies.items()
    ]
    said = (
        f'{markdown_table(head, rows)}\n\nMeasured latency of the first over the second: {ratio}.'
    )
    write_file(folder / 'against.md', f'{said}\n'.encode())
    values: dict[str, Any] = {'top1': accuracies, 'latency_ratio': dataclasses.asdict(ratio)}
    write_json(folder / 'against.json', values)
    return said


if __name__ == '__main__':
    cli.run(main, define_flags, continues=True)
