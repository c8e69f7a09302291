"""Searches for a network: NetAdapt, or platform-aware NAS and its baselines.

    python -m search.main --algorithm=netadapt --seed_model=small --target=0.7x \\
        --latency=table:runs/latency/latency_table.csv --dataset=folder:photos --resolution=64 \\
        --config=configs/small_data.py --search.netadapt.delta=0.05 --search.netadapt.steps=200 \\
        --workdir=runs/netadapt

Writes WORKDIR/spec.json, which train.main and export.tflite take as --model, the network trained from
scratch in WORKDIR/retrained, and report.md and report.html. Stopped or killed, the same command goes
on; what was trained is not trained again.
"""

import contextlib
import os
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from benchmark import measuring_flags
from benchmark.blocks.parts import SCHEMES
from benchmark.measuring_flags import define_device_flags, define_protocol_flags, read_protocol
from search.latency.choose import EXPECTED, MEASURED, open_latency
from search.latency_grid import open_device
from search.settings import check_config
from search.trials.processes import Processes
from search.trials.ray_runner import OnRay
from search.trials.trial import OneByOne, Runner
from train import cli

FLAGS = flags.FLAGS
ALGORITHMS = ('netadapt', 'nas', 'evolution', 'random')
_HERE = os.path.dirname(__file__)


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_enum('algorithm', None, ALGORITHMS, 'How to search.', required=True)
    flags.DEFINE_string('seed_model', None, 'Network to start from, or spec file.', required=True)
    flags.DEFINE_string('target', None, '0.7x of the seed, or in its unit.', required=True)
    flags.DEFINE_string('latency', None, f'What networks take: {EXPECTED}.', required=True)
    flags.DEFINE_string('table_device', None, "Whose rows of a table count, if not one device's.")
    flags.DEFINE_enum('scheme', 'float32', SCHEMES, 'Of the files whose latency counts.')
    flags.DEFINE_string('dataset', None, 'As of train.main.', required=True)
    flags.DEFINE_string('data_dir', None, 'Where TFDS keeps prepared datasets.')
    flags.DEFINE_integer('resolution', None, "Side of the input in pixels; else the config's.")
    flags.DEFINE_string(
        'seed_run', '', 'NetAdapt: a run that has trained the seed; else it is now.'
    )
    flags.DEFINE_bool('retrain', True, 'Train what is found from scratch, by --config.')
    flags.DEFINE_integer('processes', 1, 'Networks that are trained at once.')
    flags.DEFINE_enum('runner', 'local', ['local', 'ray'], 'Processes here, or workers on Ray.')
    flags.DEFINE_string('ray_address', '', "A Ray cluster that runs; '' starts a local one.")
    flags.DEFINE_string('workdir', None, 'Folder of the search; made or continued.', required=True)
    config_flags.DEFINE_config_file(
        'config',
        os.path.join(_HERE, '..', 'configs', 'base.py'),
        'Recipe of training; any value of it can be set by --config.a.b=VALUE.',
    )
    config_flags.DEFINE_config_file(
        'search',
        os.path.join(_HERE, 'settings.py'),
        'How to search; any value of it can be set by --search.a.b=VALUE.',
    )
    define_device_flags()
    define_protocol_flags()
    flags.adopt_module_key_flags(measuring_flags)  # so that --help shows them


def main() -> None:
    """Flags to one call."""
    config = FLAGS.config
    config.model.name, config.data.dataset = FLAGS.seed_model, FLAGS.dataset
    if FLAGS.resolution is not None:
        config.model.resolution = (FLAGS.resolution, FLAGS.resolution)
    if FLAGS.data_dir is not None:
        config.data.data_dir = FLAGS.data_dir
    check_config(config)
    _check_flags()
    protocol, workdir = read_protocol(), Path(FLAGS.workdir)
    cli.import_tensorflow()
    from search import stage
    from search.latency.form import FileForm
    from train.prepare import prepare

    run = prepare(config, None).run
    form = FileForm(config.model.resolution[0], len(run.labels), FLAGS.scheme)
    with contextlib.ExitStack() as stack:
        device = None
        if FLAGS.latency in MEASURED:
            FLAGS.device = FLAGS.latency
            device = stack.enter_context(contextlib.closing(open_device()))
        runner = _open_runner()
        if isinstance(runner, OnRay):
            stack.enter_context(contextlib.closing(runner))
        latency = open_latency(
            FLAGS.latency,
            form,
            run.spec,
            device,
            protocol,
            workdir / 'latency',
            FLAGS.table_device,
        )
        words = {name: FLAGS[name].value for name in ('latency', 'scheme', 'target', 'seed_run')}
        plan = stage.Plan(
            FLAGS.algorithm, run, FLAGS.search, latency, words, workdir, runner, FLAGS.retrain
        )
        print(stage.search(plan))


def _check_flags() -> None:
    """Refuses what would be passed over in silence."""
    if FLAGS.seed_run and FLAGS.algorithm != 'netadapt':
        raise ValueError('--seed_run goes with --algorithm=netadapt; others train every network')
    if FLAGS.ray_address and FLAGS.runner != 'ray':
        raise ValueError('--ray_address goes with --runner=ray')
    if FLAGS.ray_address and FLAGS['processes'].present:
        raise ValueError('--processes is of workers here; on --ray_address the cluster counts')
    if FLAGS.table_device is not None and not FLAGS.latency.startswith('table:'):
        raise ValueError('--table_device goes with --latency=table:FILE')
    if FLAGS.latency == 'madds' and FLAGS['scheme'].present:
        raise ValueError('--scheme goes with latencies of files; --latency=madds has none')
    if FLAGS['device'].present:
        raise ValueError('--device is what --latency says; expected --latency=host or adb')
    for flag in FLAGS.get_key_flags_for_module(measuring_flags):
        if flag.present and FLAGS.latency not in MEASURED:
            raise ValueError(f'--{flag.name} goes with --latency=host or adb, which measure')


def _open_runner() -> Runner:
    if FLAGS.runner == 'ray':
        return OnRay(FLAGS.processes, FLAGS.ray_address)
    return OneByOne() if FLAGS.processes == 1 else Processes(FLAGS.processes)


if __name__ == '__main__':
    cli.run(main, define_flags, continues=True)
