import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train import predict
from train.data.images import find_images, read_image
from train.data.source import open_source
from train.evaluator import Evaluator
from train.predictor import open_predictor
from train.run import load_trained
from train.testing import write_tflite

SLOW_MODULES = {'tensorflow', 'numpy', 'PIL', 'matplotlib'}

# Command lines and what the last line of the error says.
BAD = {
    'no model': (['a.jpg'], 'Flag --model must have a value other than None'),
    'no images': (['--model=run'], 'expected images or folders beside the flags (see --help)'),
    'no such model': (['--model=gone', 'a.jpg'], 'there is no gone; expected a .tflite file or'),
    'no run': (['--model=empty', 'a.jpg'], 'empty has no checkpoint; expected the --workdir'),
    'no such format': (['--model=run', '--format=xml', 'a.jpg'], '--format=xml'),
    'top 0': (['--model=run', '--top=0', 'a.jpg'], '--top=0'),
    'sheet of another kind': (['--model=run', '--sheet=x.jpg', 'a.jpg'], 'expected a .png file'),
    'sheet nowhere': (['--model=run', '--sheet=gone/x.png', 'a.jpg'], 'in a folder that is there'),
    'empty folder': (['--model=run', 'empty'], 'empty holds no image'),
    'pictures over images': (
        ['--model=run', '--output_dir=png', 'png'],
        '--output_dir is png, where the picture png/a.png would be written over an image; expected',
    ),
    'no labels': (['--model=run', '--labels=gone.txt', 'a.jpg'], 'gone.txt'),
    'nothing decodes': (['--model=run', 'bad.jpg', 'gone.jpg'], 'none of 2 images can be decoded'),
}


@pytest.fixture(scope='module')
def folder(tiny_run, image_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp('predict')
    (folder / 'run').symlink_to(tiny_run)
    (folder / 'val').symlink_to(image_folder / 'val')
    (folder / 'empty').mkdir()
    (folder / 'png').mkdir()
    Image.new('RGB', (9, 9)).save(folder / 'png' / 'a.png')
    (folder / 'bad.jpg').write_text('hello')
    return folder


@pytest.fixture(scope='module')
def results(folder, run_commands):
    """(exit code, standard output, standard error) of command lines."""
    cases = {name: arguments for name, (arguments, _) in BAD.items()}
    cases['table'] = ['val/red', '--model=run', '--top=2', '--sheet=x.png']
    cases['pictures'] = ['val', 'val/red/0.jpg', '--model=run', '--output_dir=drawn']
    cases['json'] = ['bad.jpg', 'val', '--model=run', '--format=json', '--top=1']
    return run_commands('train.predict', cases, folder, imports='tensorflow_datasets')


@pytest.mark.parametrize('name', BAD)
def test_a_bad_command_line_is_a_clear_line_and_exit_code_2(results, assert_refused, name):
    assert_refused(results[name], BAD[name][1])


def test_a_table_holds_a_line_a_prediction(results, folder):
    code, out, err = results['table']
    assert code == 0
    head, *lines = [line.split() for line in out.splitlines()]
    assert head == ['file', 'label', 'score']
    assert [len(line) for line in lines] == [3, 2, 3, 2]
    assert [line[0] for line in lines[::2]] == ['val/red/0.jpg', 'val/red/1.jpg']
    scores = [float(line[-1].rstrip('%')) for line in lines]
    assert scores[0] >= scores[1]
    assert err == 'sheet: x.png\n'
    assert Image.open(folder / 'x.png').size[0] > 600


def test_pictures_of_images_lie_in_folders_as_these(results, folder):
    code, _, err = results['pictures']
    assert code == 0, err
    assert err == 'pictures: 7 in drawn\n'
    drawn = sorted(str(path.relative_to(folder)) for path in (folder / 'drawn').rglob('*.png'))
    images = (folder / 'val').rglob('*.jpg')
    expected = [f'drawn/{path.relative_to(folder / "val").with_suffix(".png")}' for path in images]
    assert drawn == sorted(expected)  # one of an image that is given twice
    _, photo = read_image(str(folder / 'val/red/0.jpg'))
    height, width, _ = photo.shape
    picture = np.asarray(Image.open(folder / 'drawn/red/0.png'))
    np.testing.assert_array_equal(picture[:height, :width], photo)


def test_json_holds_every_image_that_can_be_decoded(results):
    code, out, err = results['json']
    assert code == 0
    found = json.loads(out)
    assert [image['file'] for image in found] == [
        f'val/{color}/{i}.jpg'
        for color, count in (('blue', 3), ('green', 2), ('red', 2))
        for i in range(count)
    ]
    for image in found:
        (best,) = image['predictions']
        assert best['label'] in ('blue', 'green', 'red')
        assert 1 / 3 <= best['score'] <= 1
    assert err == 'warning: bad.jpg is left out: damaged or no image\n'


def test_help_tells_how_without_the_slow_modules(run_python, tmp_path):
    out = run_python('-m', 'train.predict', '--help', cwd=tmp_path).stdout
    assert 'python -m train.predict --model=runs/photos photo.jpg' in out
    assert '--sheet' in out
    for module in ('predict', 'evaluate'):
        code = f'import sys, train.{module}; print(sys.modules.keys() & {SLOW_MODULES})'
        assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'


@pytest.mark.parametrize('kind', ['run', 'float', 'int8'])
def test_the_answers_are_those_of_evaluation(
    tiny_run, image_folder, soft_images, tmp_path, kind, monkeypatch
):
    monkeypatch.setattr(predict, 'BATCH_SIZE', 3)  # 7 images: the last batch is not full
    run, model, _ = load_trained(str(tiny_run))
    task, split = run.make_task(), open_source(run.config.data).val
    if kind == 'run':
        predictor, network = open_predictor(str(tiny_run)), model
    else:
        ranges = soft_images(32) if kind == 'int8' else None
        path = write_tflite(tmp_path / 'x.tflite', model, run, images=ranges)
        predictor = open_predictor(str(path))

        def network(images, training):
            answer = tf.numpy_function(predictor.outputs, [images], tf.float32)
            return tf.ensure_shape(answer, [None, 3])

    expected = Evaluator(task, split, tf.distribute.get_strategy(), 4).statistics(network)
    files = find_images([str(image_folder / 'val')])
    found = [best for _, _, (best, *_), _ in predict.predict(predictor, files, top=3)]
    assert [run.labels.index(best['label']) for best in found] == expected['prediction'].tolist()
    hits = expected['top1'] > 0
    np.testing.assert_allclose(
        np.array([best['score'] for best in found])[hits],
        np.exp(-expected['loss'][hits]),
        rtol=1e-4,
    )
