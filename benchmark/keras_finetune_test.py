import json
import re

import numpy as np
import pytest

from benchmark import keras_finetune
from mobilenet_v3 import build_model
from train.testing import released_arrays

FLAGS = (
    *('workdir', 'init', 'dataset', 'resolution', 'seconds', 'frozen_share', 'batch_size', 'seed'),
    'output',
)
# Command lines and what the last line of the error says.
BAD = {
    'nothing': ([], 'expected --init, or --workdir of a run to take it from'),
    'no seconds': (['--init=a', '--dataset=b'], 'expected --seconds, or --workdir of a run'),
    'both': (['--workdir=run', '--init=a'], '--init goes without --workdir; a run knows its own'),
    'no such run': (['--workdir=gone'], 'gone has no checkpoint; expected the --workdir of a run'),
    'other network': (
        ['--workdir=tiny'],
        'input channels; expected small at 1 with 3, which Keras',
    ),
    'no such source': (
        ['--init=gone.h5', '--dataset=folder:images', '--seconds=1'],
        '--init=gone.h5: there is no such file',
    ),
    'no such dataset': (['--init=a', '--dataset=folder:gone', '--seconds=1'], "no folder 'gone'"),
    'too small': (['--resolution=16'], '--resolution'),
    'folder for a file': (['--workdir=tiny', '--output=tiny'], 'is a directory'),
    'share': (['--frozen_share=1.5'], '--frozen_share'),
}


@pytest.fixture(scope='module')
def folder(tiny_run, image_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp('keras_finetune')
    (folder / 'tiny').symlink_to(tiny_run)
    (folder / 'images').symlink_to(image_folder)
    return folder


@pytest.fixture(scope='module')
def results(folder, run_commands):
    """(exit code, standard output, standard error) of command lines."""
    cases = {name: arguments for name, (arguments, _) in BAD.items()}
    cases['help'] = ['--help']
    return run_commands('benchmark.keras_finetune', cases, folder, imports='tensorflow_datasets')


@pytest.mark.parametrize('name', BAD)
def test_a_bad_command_line_is_a_clear_line_and_exit_code_2(results, assert_refused, name):
    assert_refused(results[name], BAD[name][1])


def test_help_tells_the_flags(results):
    for flag in FLAGS:
        assert re.search(rf'^ *--{flag}:', results['help'][1], re.MULTILINE), flag


def test_help_needs_no_tensorflow(run_python, tmp_path):
    slow = "{'tensorflow', 'tf_keras'}"
    code = f'import sys, benchmark.keras_finetune; print(sys.modules.keys() & {slow})'
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'


@pytest.fixture(scope='module')
def small_run(tiny_config, tmp_path_factory):
    """A run of V3-Small of 2 steps that started from random weights laid out as released ones."""
    from train import loop

    folder = tmp_path_factory.mktemp('small_run')
    model = build_model('small_1024', resolution=32, num_classes=3)
    np.savez(folder / 'released.npz', **released_arrays(model))
    config = tiny_config()
    config.model.name, config.train.epochs = 'small', 0.8
    config.init.source = str(folder / 'released.npz')
    loop.run(config, str(folder / 'run'))
    return folder / 'run'


@pytest.mark.slow
def test_the_recipe_of_keras_stands_beside_a_run(small_run, image_folder, run_python, tmp_path):
    ours = keras_finetune.read_run(str(small_run))
    assert ours.images_seen == 8
    assert ours.seconds > 0
    done = run_python(
        *('-m', 'benchmark.keras_finetune', f'--workdir={small_run}', '--seconds=2'),
        *('--batch_size=5', '--frozen_share=0.5', '--output=new/results.json'),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'new' / 'results.json').read_text())
    assert results.pop('ours') == ours.to_json()
    assert results.pop('feature_difference') < 1e-4
    assert results.pop('sha256') == ours.config.init.sha256
    # Each phase takes a step at least, however slow the machine is.
    phases, seen = results.pop('phases'), results.pop('images_seen')
    assert list(phases) == ['frozen', 'unfrozen']
    assert all(phase['images'] % 5 == 0 and phase['images'] >= 5 for phase in phases.values())
    assert seen == sum(phase['images'] for phase in phases.values())
    assert results.pop('seconds') >= 2
    assert results.pop('loss') > 0
    top1 = results.pop('top1')
    assert top1 == phases['unfrozen']['top1']
    assert results == {
        'model': 'tf_keras.applications.MobileNetV3Small',
        'init': ours.config.init.source,
        'dataset': f'folder:{image_folder}',
        'resolution': [32, 32],
        'batch_size': 5,
        'seed': 0,
        'frozen_share': 0.5,
        'examples': 7,
    }
    line, written = done.stdout.splitlines()[-2:]
    assert line.startswith(f'Keras top-1 {top1:.4f} after ')
    assert f'; {small_run} top-1 {ours.top1:.4f} after ' in line
    assert line.endswith(' and 8 images')
    assert written == 'written to new/results.json'


@pytest.mark.slow
def test_a_run_that_is_no_counterpart_is_refused(small_run, tiny_config, tmp_path):
    from train import loop

    (small_run / 'results.json').rename(tmp_path / 'results.json')
    try:
        with pytest.raises(ValueError, match=r'has not ended; give the command of train\.main'):
            keras_finetune.read_run(str(small_run))
    finally:
        (tmp_path / 'results.json').rename(small_run / 'results.json')
    config = tiny_config()
    config.model.name, config.train.epochs = 'small', 0.4
    loop.run(config, str(tmp_path / 'scratch'))
    with pytest.raises(ValueError, match='expected a run with --init'):
        keras_finetune.read_run(str(tmp_path / 'scratch'))
