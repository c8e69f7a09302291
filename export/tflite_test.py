import json
import shutil

import numpy as np
import pytest
from PIL import Image

RUN = ['--workdir=run', '--output=out']
INIT = ['--init=weights.npz', '--output=out', '--model=tiny.json', '--resolution=32']

# Command lines and what the one line of the error says.
BAD = {
    'no output': (['--workdir=run'], 'flag --output=None: Flag --output must have a value other'),
    'neither': (['--output=out'], 'expected either --workdir, a run of train.main, or --init'),
    'both': ([*RUN, '--init=x.npz'], 'expected either --workdir, a run of train.main, or --init'),
    'unknown scheme': (
        [*RUN, '--quantize', '--scheme=int8,int4'],
        "unknown scheme 'int4'; expected some of int8, int16x8, dynamic, float16",
    ),
    'scheme alone': ([*RUN, '--scheme=float16'], '--scheme goes with --quantize'),
    'io alone': ([*RUN, '--io=int8'], '--io goes with --quantize'),
    'a network of its own': ([*RUN, '--resolution=96'], '--resolution goes with --init; a run kn'),
    'unknown method': ([*RUN, '--method=qta'], '--method=qta: value should be one of <qat|ptq>'),
    'no dataset': (INIT, '--init needs --dataset, for calibration and evaluation'),
    'no run': (['--workdir=gone', '--output=out'], 'gone has no checkpoint; expected the --work'),
    'no weights': (
        ['--init=gone.npz', '--output=out', '--dataset=folder:data'],
        '--init=gone.npz: there is no such file or folder; expected keras:imagenet',
    ),
    'two labels': ([*RUN, '--labels=two.txt'], '--labels names 2 classes, the network has 3'),
    'no labels': ([*RUN, '--labels=gone.txt'], "No such file or directory: 'gone.txt'"),
    'output is a file': (['--workdir=run', '--output=two.txt'], 'cannot make --output=two.txt: '),
    "the run's": (
        [*RUN, '--quantize', '--config.detection.score_threshold=0.3'],
        '--config.detection.score_threshold goes with train.main; a run knows its own',
    ),
    'balanced': ([*RUN, '--config.train.balanced=true'], '--config.train.balanced goes with train'),
    'flag': (
        [*INIT, '--dataset=folder:photos', '--config.model.name=large'],
        '--config.model.name is what --model says; give that',
    ),
    'unknown field': ([*RUN, '--config.quantise.x=1'], 'Did you mean "quantize"'),
    'no images': (
        [*RUN, '--quantize', '--config.quantize.calibration_images=0'],
        'config.quantize.calibration_images is 0; expected 1 or more',
    ),
    'flat images': (
        ['--workdir=flat_run', '--output=out_flat', '--quantize', '--method=ptq'],
        'all calibration images are the constant',
    ),
}


@pytest.fixture(scope='module')
def folder(tiny_run, tiny_spec, tmp_path_factory):
    """A run, the same on images of one flat colour, and some files."""
    root = tmp_path_factory.mktemp('commands')
    (root / 'two.txt').write_text('a\nb\n')
    (root / 'three.txt').write_text('un\n\ndeux\ntrois\n')
    shutil.copy(tiny_spec, root / 'tiny.json')
    shutil.copytree(tiny_run, root / 'run')
    shutil.copytree(tiny_run, root / 'flat_run')
    for split in ('train', 'val'):
        for color in ('blue', 'green', 'red'):
            (root / 'flat' / split / color).mkdir(parents=True)
            image = Image.fromarray(np.full((40, 40, 3), 90, np.uint8))
            for number in range(2):
                image.save(root / 'flat' / split / color / f'{number}.png')
    from train.testing import rewrite_states

    dataset = f'folder:{root / "flat"}'
    rewrite_states(root / 'flat_run', lambda state: state['config']['data'].update(dataset=dataset))
    return root


@pytest.fixture(scope='module')
def refused(run_commands, folder):
    cases = {name: arguments for name, (arguments, _) in BAD.items()}
    return run_commands('export.tflite', cases, folder, imports='export.stage, export.start')


@pytest.mark.slow
@pytest.mark.parametrize('name', BAD)
def test_a_mistake_is_answered_with_one_line(refused, name):
    code, _, errors = refused[name]
    lines = [line for line in errors.splitlines() if 'error: ' in line]
    assert code == 2, errors[-2000:]
    assert 'Traceback' not in errors
    assert len(lines) == 1
    assert BAD[name][1] in lines[0]
    assert errors.splitlines()[-1] == lines[0]


@pytest.mark.slow
def test_a_run_becomes_files_and_a_line_each(run_python, folder):
    arguments = [
        '--workdir=run', '--output=good', '--quantize', '--scheme=int8,float16', '--method=ptq',
        '--labels=three.txt', '--outputs=probabilities', '--io=int8',
        '--config.quantize.calibration_images=8', '--config.quantize.search_images=0',
    ]  # fmt: skip
    result = run_python('-m', 'export.tflite', *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    files = ['tiny_float32.tflite', 'tiny_int8.tflite', 'tiny_float16.tflite']
    assert [line.partition(':')[0] for line in lines] == [f'good/{name}' for name in files]
    card = json.loads((folder / 'good' / 'tiny_int8.json').read_text())
    assert card['labels'] == ['un', 'deux', 'trois']
    assert (card['method'], card['input']['dtype']) == ('ptq', 'int8')
    assert card['output']['activation'] == 'softmax'
