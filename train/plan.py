"""What a recipe needs of devices, before it is started: memory, steps a second, hours.

    python -m train.plan --model=large --devices=host,8xv100,32xtpu_v2
    python -m train.plan --model=large --devices=4x24gb@900 --check_batch=48
    python -m train.plan --task=segmentation --resolution=256 --devices=host --format=json

Measured here, by a few training steps in processes of their own at two batch sizes: what an image
takes of memory, and how long a step takes. Counted: the variables. Assumed, for other devices: that
they are faster by the ratio of memory bandwidths times --efficiency, that an image takes as much
memory there as here (half of it with mixed_bfloat16, which is not measured), and that gradients
travel at --link_gb_s while nothing is computed. A device that somebody has measured is told by its
memory and its images a second: 4x24gb@900. A share of the batch that does not fit is taken in parts
(--config.train.parts), whose gradients are added up. Hours are those of the training steps: without
evaluation, and with an input pipeline that keeps pace.
"""

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

from absl import flags

from train import cli
from train import main as train_main
from train.capacity import DEVICES, GB, Assumptions, Needs, Row, parse_fleets, plan

if TYPE_CHECKING:
    from ml_collections import ConfigDict

FLAGS = flags.FLAGS
# Training images and classes of the recipes' datasets: planning should not download them.
KNOWN = {'imagenet2012': (1_281_167, 1000), 'coco/2017': (118_287, 80), 'cityscapes': (2_975, 19)}
HEAD = ('devices', 'images each', 'parts', 'needs GB', 'has GB', 'steps/s', 'images/s', 'hours')


def define_flags() -> None:
    """Defines the flags."""
    train_main.define_recipe_flags()
    flags.DEFINE_list(
        'devices',
        ['host'],
        f'[COUNTx]KIND, …: host, {", ".join(DEVICES)}, or MEMORYgb@IMAGES_PER_SECOND as measured.',
    )
    flags.DEFINE_float(
        'efficiency',
        0.5,
        'Share of the ratio of memory bandwidths by which another device is faster; assumed.',
        lower_bound=0.01,
        upper_bound=10.0,
    )
    flags.DEFINE_float(
        'link_gb_s', 10.0, 'Between devices, 10⁹ bytes a second; assumed.', lower_bound=0.01
    )
    flags.DEFINE_integer(
        'check_batch', 0, 'Batch at which the predicted memory is measured, too.', lower_bound=0
    )
    flags.DEFINE_enum('format', 'table', ['table', 'markdown', 'json'], 'What is printed.')


def main() -> None:
    """Reads the flags, measures and prints."""
    fleets = parse_fleets(FLAGS.devices, _memory_gb())
    config = train_main.recipe()
    if config.distill.weight:
        raise ValueError('config.distill.weight is not 0; what a teacher takes is not counted')
    if config.task != 'classification' and any('tpu' in fleet.name for fleet in fleets):
        raise ValueError(f'--devices names TPUs, and --tpu trains classifiers, not {config.task}')
    cli.import_tensorflow()
    from train.run import resolve_spec
    from train.step_probe import measure_needs, probe

    resolve_spec(config)  # before the minute of measuring
    examples, num_classes = _dataset(config)
    needs = measure_needs(config, num_classes)
    assumptions = Assumptions(FLAGS.efficiency, FLAGS.link_gb_s)
    rows = [
        plan(
            fleet,
            needs,
            assumptions,
            batch_size=config.train.batch_size,
            images=config.train.epochs * examples,
            half=config.train.precision != 'float32' and not fleet.is_host,
            least=2 if config.augment.mixup else 1,
        )
        for fleet in fleets
    ]
    check = None
    if FLAGS.check_batch:
        measured = probe(config, num_classes, FLAGS.check_batch).peak_bytes
        check = {
            'batch_size': FLAGS.check_batch,
            'predicted_gb': needs.process_bytes(FLAGS.check_batch) / GB,
            'measured_gb': measured / GB,
        }
    _print(config, examples, needs, assumptions, rows, check)


def _memory_gb() -> float:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GB


def _dataset(config: 'ConfigDict') -> tuple[int, int]:
    """Training images and classes of the dataset that a config names."""
    if config.data.dataset in KNOWN and not config.data.data_dir:
        examples, num_classes = KNOWN[config.data.dataset]
        return examples, num_classes + bool(config.data.background)
    from train.data.source import open_source

    source = open_source(config.data, config.task)
    return source.train.num_examples, len(source.labels)


def _print(
    config: 'ConfigDict',
    examples: int,
    needs: Needs,
    assumptions: Assumptions,
    rows: list[Row],
    check: dict[str, float] | None,
) -> None:
    if FLAGS.format == 'json':
        document: dict[str, Any] = {
            'needs': dataclasses.asdict(needs),
            'assumptions': dataclasses.asdict(assumptions),
            'rows': [dataclasses.asdict(row) for row in rows],
        }
        print(json.dumps({**document, 'check': check} if check else document, indent=1))
        return
    print(
        f'{config.model.name} at {"×".join(map(str, config.model.resolution))}: state '
        f'{needs.state_bytes / GB:.3f} GB, gradients {needs.gradient_bytes / GB:.3f} GB, an image '
        f'{needs.activation_bytes / 1e6:.1f} MB; {needs.images_per_second:.4g} images/s here'
    )
    print(
        f'{config.train.epochs:g} epochs of {examples} images, batch {config.train.batch_size}; assumed '
        f'efficiency {assumptions.efficiency:g} of the ratio to {needs.bandwidth_gb_s:.1f} GB/s here, '
        f'links of {assumptions.link_gb_s:g} GB/s\n'
    )
    print(table(rows, markdown=FLAGS.format == 'markdown'))
    if check:
        off = check['predicted_gb'] / check['measured_gb'] - 1.0
        print(
            f'\nthe process with {check["batch_size"]} images: predicted {check["predicted_gb"]:.3f} '
            f'GB, measured {check["measured_gb"]:.3f} GB ({off:+.1%})'
        )


def table(rows: list[Row], *, markdown: bool = False) -> str:
    """The rows in words; parts 0 is 'none'."""
    from train.markdown import markdown_table

    lines = [
        (
            row.devices,
            str(row.images_each),
            str(row.parts or 'none'),
            f'{row.memory_gb:.2f}',
            f'{row.device_memory_gb:.4g}',
            f'{row.steps_per_second:.3g}',
            f'{row.images_per_second:.4g}',
            f'{row.hours:,.1f}',
        )
        for row in rows
    ]
    if markdown:
        return markdown_table(HEAD, lines)
    widths = [max(map(len, column)) for column in zip(HEAD, *lines, strict=True)]
    return '\n'.join(
        '  '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in [HEAD, *lines]
    )


if __name__ == '__main__':
    cli.run(main, define_flags)
