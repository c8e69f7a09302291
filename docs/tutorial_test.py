"""Runs every block of tutorial.md in order, with few pictures, a tiny network and short trainings."""

import ctypes
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TUTORIAL = Path(__file__).with_name('tutorial.md')
EXIF_ORIENTATION = 0x0112
TEXT = TUTORIAL.read_text(encoding='utf-8')
# In the place of what the first block sets. The network is named as the real one, and so are files.
SHORT = {
    'WEIGHTS': 'weights.tflite',
    'MODEL': 'small.json',
    'RESOLUTION': '32',
    'EPOCHS': '3',
    'INT8_EPOCHS': '1',
    'DRAWINGS': '48',
}
ASSIGNMENT = re.compile(r'^([A-Z_0-9]+)=(\S+)', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: the number of its first line, what it is of, its content."""

    line: int
    kind: str
    content: str


def read_blocks():
    found = re.finditer(r'^```(.*)\n((?:.*\n)*?)```$', TEXT, re.MULTILINE)
    return [Block(TEXT[: m.start()].count('\n') + 1, m[1], m[2]) for m in found]


BLOCKS = read_blocks()


def script_name(block):
    """The file that a Python block is saved as: its first line says so."""
    return re.fullmatch(r'# (\w+\.py)', block.content.splitlines()[0])[1]


# The text


def test_every_block_is_of_a_kind_that_is_run():
    assert len(BLOCKS) == TEXT.count('```') // 2 > 10
    assert {block.kind for block in BLOCKS} == {'sh', 'sh phone', 'python'}


def test_every_script_is_given_to_python_after_it_was_shown():
    for number, block in enumerate(BLOCKS):
        if block.kind == 'python':
            later = [b.content for b in BLOCKS[number:] if b.kind == 'sh']
            assert any(f'python {script_name(block)} ' in content for content in later)


def test_the_first_block_sets_what_is_changed_here_and_no_other_does():
    first, *others = (block for block in BLOCKS if block.kind != 'python')
    names = dict(ASSIGNMENT.findall(first.content))
    assert len(names) == len(first.content.splitlines())
    assert set(SHORT) < set(names)
    assert not any(set(dict(ASSIGNMENT.findall(b.content))) & set(names) for b in others)


def test_the_trainings_are_as_long_as_their_recipes_say():
    from configs import finetune, quantize

    names = dict(ASSIGNMENT.findall(BLOCKS[0].content))
    recipe = finetune.get_config()
    assert float(names['EPOCHS']) == recipe.train.epochs
    assert (int(names['RESOLUTION']),) * 2 == tuple(recipe.model.resolution)
    assert float(names['INT8_EPOCHS']) == quantize.get_config().train.epochs


def test_fields_that_the_text_names_are_there():
    from configs import base

    for name in re.findall(r'--config\.([\w.]+)', TEXT):
        value = base.get_config()
        for part in name.split('.'):
            assert part in value, name
            value = value[part]


def test_flags_that_the_text_names_are_there():
    files = ('train/main.py', 'train/predict.py', 'train/evaluate.py', 'export/tflite.py')
    source = ''.join((TUTORIAL.parent.parent / file).read_text() for file in files)
    source += (TUTORIAL.parent.parent / 'benchmark/measuring_flags.py').read_text()
    for name in set(re.findall(r'--([a-z_]+)', TEXT)) - {'logdir'}:  # of TensorBoard
        assert f"'{name}'" in source, name


def test_links_into_the_repository_lead_somewhere():
    for target in re.findall(r'\]\(([^)]+)\)', TEXT):
        if not target.startswith('https://'):
            assert (TUTORIAL.parent / target.partition('#')[0]).exists(), target


# The commands


@pytest.fixture(scope='module')
def folder(tiny_spec, tiny_model, tmp_path_factory):
    """Where the commands run: the recipes, a tiny network and its weights, a `python`."""
    from train.testing import write_tflite

    folder = tmp_path_factory.mktemp('tutorial')
    (folder / 'configs').symlink_to(TUTORIAL.parent.parent / 'configs')
    python = folder / 'bin' / 'python'  # which need not be the first of the PATH
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    spec = json.loads(tiny_spec.read_text())
    (folder / SHORT['MODEL']).write_text(json.dumps({**spec, 'name': 'small'}))
    write_tflite(folder / SHORT['WEIGHTS'], tiny_model)
    return folder


@pytest.fixture(scope='module')
def run_block(folder, python_environment):
    """Runs a shell block with what blocks before it have set."""
    environment = {
        **python_environment,
        'PATH': f'{folder / "bin"}{os.pathsep}{os.environ["PATH"]}',
    }
    settings = []

    def run(block):
        script = ''.join([*settings, block.content])
        settings.extend(f'{name}={value}\n' for name, value in ASSIGNMENT.findall(block.content))
        if block is BLOCKS[0]:
            settings.extend(f'{name}={value}\n' for name, value in SHORT.items())
        return subprocess.run(
            ['sh', '-eu', '-c', script],
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            check=False,
            timeout=600,
        )

    return run


@pytest.fixture
def mediapipe():
    """Skips where MediaPipe cannot be used; its wheel does not say which libraries it needs."""
    from export import metadata

    if not metadata.available():
        pytest.skip(f'mediapipe is not installed: {metadata.INSTALL}')
    for library in ('libEGL.so.1', 'libGLESv2.so.2') if sys.platform.startswith('linux') else ():
        try:
            ctypes.CDLL(library)
        except OSError:
            pytest.skip(f'mediapipe needs {library}: apt install libegl1 libgles2')


def spoil(album):
    """What albums have: a picture twice, a file that is none, a photo that was stored on its side."""
    shutil.copy(album / 'circle' / '0.jpg', album / 'square' / 'copy.jpg')
    (album / 'star' / 'notes.jpg').write_text('no picture')
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # to be turned by 90 degrees
    Image.new('RGB', (60, 40), 'red').save(album / 'ring' / 'lying.jpg', exif=exif)


@pytest.mark.slow
def test_every_block_does_what_the_text_says(run_block, folder, mediapipe):
    printed = {}
    for block in BLOCKS:
        if block.kind == 'python':
            (folder / script_name(block)).write_text(block.content)
            continue
        done = run_block(block)
        said = f'tutorial.md:{block.line}\n{done.stdout}\n{done.stderr}'
        if block.kind == 'sh phone':  # without a phone or a tool for it; but its flags are right
            assert done.returncode == 2, said
            assert done.stderr.splitlines()[-1].startswith('error: --benchmark_model='), said
            continue
        assert done.returncode == 0, said
        printed[block.content] = done.stdout
        if 'draw_album.py' in block.content:
            spoil(folder / 'album')

    def output_of(command):
        (found,) = (text for content, text in printed.items() if command in content)
        return found

    prepared = output_of('prepare_photos.py')
    assert 'left out: album/square/copy.jpg is the same picture as album/circle/0.jpg\n' in prepared
    assert 'left out: album/star/notes.jpg: cannot identify' in prepared
    # 48 drawings of 8 classes, and the photo that was turned.
    assert prepared.count(': 5 to train, 1 aside\n') == 7
    assert 'ring: 6 to train, 1 aside\n' in prepared
    (turned,) = (folder / 'photos').glob('*/ring/lying.jpg.jpg')
    assert Image.open(turned).size == (40, 60)
    assert ' layers carried; fresh: logits/conv; ' in output_of('train.main')
    for path in set(re.findall(r'`(runs/photos/\S+?)`', TEXT)) | {'answers.txt'}:
        assert (folder / path).exists(), path
    # What it answers is compared in export/metadata_test.py.
    *lines, last = output_of('ask.py').splitlines()
    assert re.fullmatch(r'top-1 [\d.]+% on 8 photos', last)
    assert len(lines) == 8
    classes = '|'.join(path.name for path in (folder / 'photos' / 'val').iterdir())
    assert all(re.fullmatch(rf'photos/val/.+\.jpg: ({classes}) [\d.]+%', line) for line in lines)
