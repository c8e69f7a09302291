"""Writes a dataset of images and labels as TFRecord files, for training from large or slow disks.

    python -m train.shard --dataset=folder:photos --output=records --shards=64
    python -m train.main --dataset=tfrecord:records …

Examples are written in random order, always the same, into {train,val}-NNNNN-of-NNNNN, labels.txt and
manifest.json with the SHA-256 of each file. Interrupted, the same command goes on: what is finished is
verified and kept. A shard of 100 to 200 MB reads well; --writers of them are written at a time. A
source that is no folder is read once, by one writer, and order is random within its shuffle buffer.
"""

import os
import sys

from absl import flags

from train import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        'dataset', None, 'TFDS name, folder:PATH, tfrecord:PATH or builtin:shapes.', required=True
    )
    flags.DEFINE_string('data_dir', '', 'Where TFDS keeps prepared datasets.')
    flags.DEFINE_string('output', None, 'Folder for the files; made or continued.', required=True)
    flags.DEFINE_integer('shards', 64, 'Files of the training split.', lower_bound=1)
    flags.DEFINE_integer(
        'writers', os.cpu_count() or 1, 'Files written at a time.', lower_bound=1, upper_bound=256
    )


def main() -> None:
    """Flags to one call."""
    cli.import_tensorflow()
    from tqdm import tqdm

    from configs import base
    from train.data.shards import tell_of_stream, write_shards
    from train.data.source import open_source

    config = base.get_config().data
    config.dataset, config.data_dir = FLAGS.dataset, FLAGS.data_dir
    source = open_source(config)
    tell_of_stream(source, config.shuffle_buffer)
    total = source.train.num_examples + source.val.num_examples
    with tqdm(total=total, desc='shard', unit='images', disable=None, file=sys.stderr) as bar:
        written = write_shards(
            source,
            FLAGS.output,
            num_shards=FLAGS.shards,
            writers=FLAGS.writers,
            progress=bar.update,
        )
    print(
        f'{len(written)} files written; {FLAGS.output} holds {total} examples of '
        f'{len(source.labels)} classes: --dataset=tfrecord:{FLAGS.output}'
    )


if __name__ == '__main__':
    cli.run(main, define_flags)
