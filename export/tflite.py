"""Exports a run to .tflite files with cards.

python -m export.tflite --workdir=runs/photos --output=exported --quantize
"""

from absl import flags

from train import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('workdir', None, 'Folder of a run of train.main.', required=True)
    flags.DEFINE_string('output', None, 'Folder for the files.', required=True)
    flags.DEFINE_bool('quantize', False, 'Write the int8 file, too.')
    flags.DEFINE_string('data_dir', '', "Where TFDS keeps prepared datasets; '' as the run had it.")


def main() -> None:
    """Flags to one call."""
    cli.import_tensorflow()
    from export.card import read_card
    from export.stage import export_run

    for path in export_run(
        FLAGS.workdir, FLAGS.output, quantize=FLAGS.quantize, data_dir=FLAGS.data_dir
    ):
        card = read_card(path) or {}
        evaluation = card['evaluation']
        print(
            f'{path}: {card["size_bytes"] / 1e6:.2f} MB, {card["partitions"]} XNNPACK partitions, '
            f'top-1 {evaluation["file"]["top1"]:.4f} (Keras {evaluation["keras"]["top1"]:.4f}), '
            f'agreement {evaluation["agreement"]:.4f}'
        )


if __name__ == '__main__':
    cli.run(main, define_flags)
