"""Labels of images, boxes of what is in them, or classes of their pixels, by a run or a .tflite file.

    python -m train.predict --model=runs/photos photo.jpg
    python -m train.predict --model=exported/small_int8.tflite --top=5 --format=json PHOTOS
    python -m train.predict --model=runs/photos --sheet=contact.png PHOTOS more/*.png
    python -m train.predict --model=runs/boxes --output_dir=drawn PHOTOS

An argument is a file or a folder, which is walked. What cannot be decoded is named and left out.
Boxes are ymin, xmin, ymax, xmax in fractions of the image; --sheet draws them. Of pixels the share of
each class is told, --sheet lays colours over them, and --format=json holds the region of each class at
the network's resolution, run lengths as COCO writes them (pycocotools.mask.decode). --output_dir draws
the same into each image at its own size: DIR/a/x.png of PHOTOS/a/x.jpg.
Images are prepared as in evaluation; an EXIF orientation is not followed, there or here.
"""

import json
import operator
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from train import cli

if TYPE_CHECKING:
    import numpy as np

    from train.predictor import Predictor

FLAGS = flags.FLAGS
BATCH_SIZE = 32  # images; decoded ones wait in memory


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string('model', None, 'A .tflite file or the folder of a run.', required=True)
    flags.DEFINE_integer(
        'top',
        None,
        'How many answers an image gets: 3 labels, 100 boxes, 255 classes.',
        lower_bound=1,
    )
    flags.DEFINE_float(
        'score',
        None,
        'Least score of an answer, or share of the pixels: 0 for labels and classes, 0.3 for boxes.',
        lower_bound=0.0,
        upper_bound=1.0,
    )
    flags.DEFINE_enum('format', 'table', ['table', 'json'], 'What is printed.')
    flags.DEFINE_string(
        'sheet', None, 'PNG file for the images with their answers; many take more pages.'
    )
    flags.DEFINE_string(
        'output_dir',
        None,
        'Folder for each image at its own size with its answers, a PNG file each.',
    )
    flags.DEFINE_string('labels', None, 'File with the name of each class, a line each.')


def main(arguments: list[str]) -> None:
    """Flags to one call."""
    if FLAGS.sheet is not None:
        _check_sheet(Path(FLAGS.sheet))
    cli.import_tensorflow()
    from train.answers import ANSWERS
    from train.answers.pictures import save_picture, where_to_save
    from train.answers.sheet import Sheet
    from train.classes import read_labels
    from train.data.images import find_images
    from train.predictor import open_predictor

    files = find_images(arguments)
    pictures = where_to_save(arguments, Path(FLAGS.output_dir)) if FLAGS.output_dir else {}
    predictor = open_predictor(FLAGS.model, read_labels(FLAGS.labels) if FLAGS.labels else None)
    for note in predictor.notes:
        print(f'note: {note}', file=sys.stderr)
    shown = ANSWERS[predictor.config.task]
    sheet = None
    if FLAGS.sheet:
        sheet = Sheet(FLAGS.sheet, f'What {predictor.name} answers', shown.LAYOUT)
    found = []
    for file, pixels, predictions, output in predict(predictor, files, FLAGS.top, FLAGS.score):
        found.append({'file': file, 'predictions': predictions})
        about = pixels, Path(file).name, predictions, predictor.task.labels
        if sheet:
            sheet.add(shown.tile(*about))
        if pictures:
            save_picture(pictures[file], shown.whole(*about, output))
    if not found:
        raise ValueError(f'none of {len(files)} images can be decoded')
    if sheet:
        sheet.close()
        print('\n'.join(f'sheet: {path}' for path in sheet.paths), file=sys.stderr)
    if pictures:
        count = len({image['file'] for image in found})
        print(f'pictures: {count} in {FLAGS.output_dir}', file=sys.stderr)
    if FLAGS.format == 'json':
        print(json.dumps(found, indent=1))
    else:
        print(_table(found, shown))


def _check_sheet(path: Path) -> None:
    """Refuses at the start what could not be written at the end."""
    if path.suffix.lower() != '.png' or not path.parent.is_dir():
        raise ValueError(f'--sheet is {path}; expected a .png file in a folder that is there')


def predict(
    predictor: 'Predictor', files: list[str], top: int | None = None, score: float | None = None
) -> Iterator[tuple[str, 'np.ndarray', list, Any]]:
    """Asks a model of images; those that cannot be decoded are named on standard error.

    Args:
      predictor: the model.
      files: of images.
      top: how many predictions each gets; None is as the task has it.
      score: the least one of a prediction, as well.

    Yields:
      A file, its pixels [H, W, 3] uint8, its predictions and the network's output for it, in the order
      of the files.
    """
    import tensorflow as tf
    from tqdm import tqdm

    from train.answers import ANSWERS
    from train.data.images import read_image
    from train.data.pipeline import images_at_once

    shown, task = ANSWERS[predictor.config.task], predictor.task
    top = shown.TOP if top is None else top
    least = shown.LEAST_SCORE if score is None else score
    # Traced here: threads that meet it untraced would each do that.
    prepare = tf.function(task.eval_image).get_concrete_function(tf.TensorSpec([], tf.string))

    def read(file: str) -> Any:
        try:
            content, pixels = read_image(file)
            return file, pixels.numpy(), prepare(tf.constant(content))
        except (ValueError, tf.errors.OpError) as e:
            return file, None, e

    size = images_at_once(BATCH_SIZE, task.resolution)
    batches = [files[i : i + size] for i in range(0, len(files), size)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in tqdm(batches, desc='predict', disable=None):
            came = list(pool.map(read, batch))
            for file, pixels, fault in came:
                if pixels is None:
                    print(f'warning: {file} is left out: {fault}', file=sys.stderr)
            good = [(file, pixels, image) for file, pixels, image in came if pixels is not None]
            if not good:
                continue
            images = task.eval_batch({'image': tf.stack([image for _, _, image in good])})['image']
            outputs = predictor.outputs(images.numpy())
            answers = shown.predictions(outputs, predictor.answers(outputs), task.labels, top)
            for n, ((file, pixels, _), predictions) in enumerate(zip(good, answers, strict=True)):
                output = tf.nest.map_structure(operator.itemgetter(n), outputs)
                yield file, pixels, [p for p in predictions if p[shown.SCORE] >= least], output


def _table(found: list[dict], shown: Any) -> str:
    """A line a prediction, the file in the first of an image's."""
    lines = [('file', *shown.HEAD)]
    nothing = ('nothing', *[''] * len(shown.HEAD[1:]))
    for image in found:
        for number, cells in enumerate(shown.rows(image['predictions']) or [nothing]):
            lines.append((image['file'] if number == 0 else '', *cells))
    cells = [[_printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False))
        + '  '
        + line[-1].rjust(widths[-1])
        for line in cells
    )


def _printable(text: str) -> str:
    """Text of unknown origin on one line of a terminal."""
    return ''.join(sign if sign.isprintable() else '�' for sign in text)


if __name__ == '__main__':
    cli.run(main, define_flags, positional='images or folders')
