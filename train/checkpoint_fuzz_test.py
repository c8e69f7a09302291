"""Damaged folders of checkpoints: an untouched one is found, or one clear line; nothing is changed."""

import json
import shutil

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from train import checkpoint
from train.run import Run

BUDGET = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
STEPS = (1, 2, 3)
ODD_NAMES = ('step_', 'step_99999999', 'step_00000004.tmp-host-1', 'notes.txt', 'step_00000009')

numbers = st.integers(-(2**70), 2**70) | st.floats()
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Three whole checkpoints, whose variable holds their step."""
    folder = tmp_path_factory.mktemp('whole') / 'checkpoints'
    variable = tf.Variable(0.0)
    for step in STEPS:
        variable.assign(float(step))
        checkpoint.save(str(folder), tf.train.Checkpoint(v=variable), {'step': step}, keep=3)
    return folder


def contents(folder):
    """Every file and folder and what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob('*'))
    }


@st.composite
def damages(draw):
    """What happens to one checkpoint: (step, which of its files, what, where, with what)."""
    return (
        draw(st.sampled_from(STEPS)),
        draw(st.integers(0, 9)),
        draw(st.sampled_from(['flip', 'cut', 'remove', 'replace', 'folder', 'state'])),
        draw(st.floats(0, 1)),
        draw(st.binary(max_size=20)),
        draw(anything),
    )


def damage(folder, harm):
    step, number, what, share, junk, values = harm
    path = folder / f'step_{step:08d}'
    files = sorted(path.iterdir())
    file = path / 'state.json' if what == 'state' else files[number % len(files)]
    if not file.is_file():
        return
    content = file.read_bytes()
    place = int(share * max(0, len(content) - 1))
    if what == 'flip' and content:
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif what == 'cut':
        file.write_bytes(content[:place])
    elif what == 'replace':
        file.write_bytes(junk)
    elif what == 'state':
        file.write_text(json.dumps(values))
    elif what in ('remove', 'folder'):
        file.unlink()
        if what == 'folder':
            file.mkdir()


@BUDGET
@given(st.lists(damages(), min_size=1, max_size=4), st.sampled_from(ODD_NAMES), st.booleans())
def test_a_damaged_folder_gives_an_untouched_checkpoint_or_a_clear_line(
    whole, tmp_path_factory, harms, odd, odd_is_folder
):
    folder = tmp_path_factory.getbasetemp() / 'fuzzed'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    for harm in harms:
        damage(folder, harm)
    if odd_is_folder:
        (folder / odd).mkdir()
    else:
        (folder / odd).write_bytes(b'x')
    before = contents(folder)
    names = [f'step_{step:08d}' for step in STEPS]
    untouched = [name for name in names if contents(folder / name) == contents(whole / name)]
    if not untouched:
        with pytest.raises(ValueError, match='checkpoints in'):
            checkpoint.latest(str(folder))
    else:
        saved = checkpoint.latest(str(folder))
        variable = tf.Variable(0.0)
        tf.train.Checkpoint(v=variable).read(saved.variables).assert_consumed()
        assert float(variable) == saved.state['step'] == int(untouched[-1][5:])
    assert contents(folder) == before


@BUDGET
@given(anything | st.fixed_dictionaries({'config': anything, 'spec': anything, 'labels': anything}))
def test_any_state_is_a_run_or_refused(state):
    with pytest.raises((ValueError, KeyError, TypeError)):  # of which load_trained makes one line
        Run.from_state(state)
