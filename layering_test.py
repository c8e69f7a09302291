"""Files import only from rooms above them (README, "The house")."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# Each room may import from itself and from those before it.
ROOMS = ('mobilenet_v3', 'configs', 'train', 'export', 'benchmark', 'search')
# Siblings that must not know each other.
SIBLINGS = ('train/tasks',)


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f'{path}: a relative import hides its room'
            names.add(node.module)
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
    return names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob('*.py'))


@pytest.mark.parametrize('room', [room for room in ROOMS if (ROOT / room).is_dir()])
def test_no_import_runs_upwards(room):
    below = ROOMS[ROOMS.index(room) + 1 :]
    for path in sources(room):
        upward = {name for name in imports(path) if name.split('.')[0] in below}
        assert not upward, f'{path.relative_to(ROOT)} imports {sorted(upward)}'


@pytest.mark.parametrize('folder', SIBLINGS)
def test_siblings_do_not_import_each_other(folder):
    package = folder.replace('/', '.')
    names = {path.stem for path in sources(folder)} - {'__init__'}
    for path in sources(folder):
        if path.stem == '__init__':
            continue
        others = {f'{package}.{name}' for name in names - {path.stem.removesuffix('_test')}}
        assert not imports(path) & others, path.relative_to(ROOT)


PURE = ['spec', 'transforms', 'tables', 'cost', 'heads', 'head_cost', 'head_tables', 'spec_file']


@pytest.mark.parametrize('module', PURE)
def test_the_specs_and_costs_need_no_tensorflow(module):
    names = {name.split('.')[0] for name in imports(ROOT / f'mobilenet_v3/{module}.py')}
    assert not names & {'tensorflow', 'tf_keras', 'numpy'}


def test_every_folder_with_code_is_a_room_or_a_tool():
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob('*/*.py')}
    assert folders <= {*ROOMS, 'docs', 'tools'}
