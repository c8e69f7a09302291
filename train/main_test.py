import json
import re

import pytest

SLOW_MODULES = "{'tensorflow', 'tf_keras', 'tensorflow_datasets'}"

# Command lines beside --workdir, and what the one line of the error says.
BAD = {
    'unknown flag': (['--modle=small'], "Unknown command line flag 'modle'. Did you mean: model"),
    'positional argument': (['small'], "unexpected argument 'small'; every option starts with --"),
    'no number': (['--multiplier=wide'], '--multiplier=wide: '),
    'unknown section': (['--config.trian.epochs=3'], 'Did you mean "train" instead of "trian"'),
    'unknown field': (['--config.train.epoch=3'], 'Did you mean "epochs" instead of "epoch"'),
    'field near nothing': (['--config.train.qqq=3'], 'qqq'),
    'value of another type': (['--config.train.epochs=many'], '--config.train.epochs=many: '),
    'missing recipe': (['--config=no_such.py'], 'no_such.py'),
    'recipe with an error': (['--config=broken.py'], 'Did you mean "epochs"'),
    'unknown task': (['--task=detect'], '--task=detect: value should be one of <classification|'),
    'dataset of another task': (
        ['--task=detection', '--dataset=folder:gone'],
        'folder:gone is no dataset for detection; expected a TFDS name, ',
    ),
    'unknown model': (['--model=lrage'], "unknown model 'lrage'; did you mean 'large'?"),
    'missing spec file': (['--model=x.json'], 'there is no spec file x.json'),
    'no spec': (['--model=cases.json'], 'cases.json is not a valid spec: '),
    'multiplier 0': (['--multiplier=0'], 'multiplier is 0.0; expected a width multiplier above 0'),
    'negative multiplier': (['--multiplier=-1'], 'multiplier is -1.0; expected'),
    'resolution 31': (['--resolution=31'], 'resolution is (31, 31); expected one number or'),
    'no resolution': (['--resolution=big'], '--resolution is big; expected 224 or 192,256'),
    'three sides': (['--resolution=32,32,3'], '--resolution is 32,32,3; expected'),
    'unknown dataset': (['--dataset=cifar11'], "unknown dataset 'cifar11'; did you mean 'cifar10"),
    'unknown kind': (['--dataset=foldr:x'], "unknown dataset 'foldr:x'; did you mean folder:x?"),
    'unknown built-in': (['--dataset=builtin:shape'], 'did you mean builtin:shapes?'),
    'missing folder': (['--dataset=folder:gone'], "there is no folder 'gone' for the dataset"),
    'no weights': (['--init=gone.h5'], '--init=gone.h5: there is no such file or folder; expected'),
    'unknown weights': (
        ['--init=keras:x'],
        '--init=keras:x is unknown; expected keras:imagenet or',
    ),
    'empty class folder': (['--dataset=folder:empty'], '/train/b has no images'),
    'no TPU address': (['--tpu=grpc://host'], "cannot use TPU 'grpc://host': no host and port"),
}

BROKEN_RECIPE = """
from configs import base

def get_config():
    c = base.get_config()
    c.train.epoch = 3.0
    return c
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('command_lines')
    for path in ('train/a', 'train/b', 'val/a', 'val/b'):
        (folder / 'empty' / path).mkdir(parents=True)
    (folder / 'empty' / 'train' / 'a' / '0.jpg').touch()
    (folder / 'broken.py').write_text(BROKEN_RECIPE)
    return folder


@pytest.fixture(scope='module')
def results(folder, run_commands):
    """(exit code, standard output, standard error) of each command line of BAD."""
    cases = {name: [*arguments, '--workdir=run'] for name, (arguments, _) in BAD.items()}
    return run_commands('train.main', cases, folder, imports='tensorflow_datasets')


@pytest.mark.parametrize('name', BAD)
def test_a_bad_command_line_is_one_line_and_exit_code_2(results, name):
    code, out, err = results[name]
    assert err.startswith('error: '), err
    assert err.count('\n') == 1
    assert BAD[name][1] in err
    assert code == 2
    assert out == ''


def test_a_bad_command_line_makes_no_run(results, folder):
    assert results
    assert not (folder / 'run').exists()


def test_tensorflow_adds_no_lines_to_an_error(run_python, tmp_path):
    result = run_python('-m', 'train.main', '--model=lrage', '--workdir=run', cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown model 'lrage'")
    assert result.stderr.count('\n') == 1


def test_a_run_needs_a_folder(run_python, tmp_path):
    result = run_python('-m', 'train.main', cwd=tmp_path)
    assert result.returncode == 2
    assert re.match(r'error: .*--workdir.*\n$', result.stderr)


def test_help_names_the_flags(run_python, tmp_path):
    result = run_python('-m', 'train.main', '--help', cwd=tmp_path)
    flags = ('model', 'multiplier', 'resolution', 'dataset', 'data_dir', 'workdir', 'tpu', 'config')
    for flag in flags:
        assert re.search(rf'^ *--{flag}:', result.stdout, re.MULTILINE), flag
    assert 'Traceback' not in result.stderr


def test_import_leaves_the_slow_modules_alone(run_python, tmp_path):
    code = f'import sys, train.main; print(sys.modules.keys() & {SLOW_MODULES})'
    assert run_python('-c', code, cwd=tmp_path).stdout == 'set()\n'


def test_help_leaves_the_slow_modules_alone(run_python, tmp_path):
    code = f"""
import atexit, runpy, sys
atexit.register(lambda: print('imported:', sys.modules.keys() & {SLOW_MODULES}))
sys.argv = ['main', '--help']
runpy.run_module('train.main', run_name='__main__')
"""
    result = run_python('-c', code, cwd=tmp_path)
    assert '--workdir' in result.stdout
    assert result.stdout.endswith('imported: set()\n')


def test_flags_reach_the_run(run_python, image_folder, tiny_spec, tmp_path):
    result = run_python(
        '-m',
        'train.main',
        f'--model={tiny_spec}',
        '--multiplier=2',
        '--resolution=32,48',
        f'--dataset=folder:{image_folder}',
        '--workdir=run',
        '--config.train.batch_size=5',
        '--config.train.epochs=1',
        '--config.eval.batch_size=4',
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert 'step 2/2' in result.stdout
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert config['config']['model']['multiplier'] == 2.0
    assert config['config']['model']['resolution'] == [32, 48]
    assert config['config']['train']['batch_size'] == 5
    assert config['spec']['stem']['filters'] == 16
    assert config['labels'] == ['blue', 'green', 'red']


def test_a_task_has_its_own_recipe(run_python, box_folder, tiny_spec, tmp_path):
    result = run_python(
        '-m',
        'train.main',
        '--task=detection',
        f'--model={tiny_spec}',
        '--resolution=64',
        f'--dataset=voc:{box_folder}',
        '--workdir=run',
        '--config.train.batch_size=10',
        '--config.train.epochs=1',
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert 'step 1/1: raw map ' in result.stdout
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())['config']
    assert config['task'] == 'detection'
    assert config['optimizer']['kind'] == 'momentum'
    assert config['schedule']['learning_rate'] == 0.4
