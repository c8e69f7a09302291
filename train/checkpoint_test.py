import errno
import json
import os
import shutil

import pytest
import tensorflow as tf

from train import checkpoint


def save(folder, step, value=None, keep=3, **options):
    variable = tf.Variable(float(step) if value is None else value)
    objects = tf.train.Checkpoint(value=variable)
    checkpoint.save(str(folder), objects, {'step': step, 'note': 'x'}, keep=keep, **options)


def value_of(saved):
    variable = tf.Variable(0.0)
    checkpoint.read(saved, tf.train.Checkpoint(value=variable)).assert_consumed()
    return float(variable)


def names(folder):
    return sorted(os.listdir(folder))


def data_file(folder, step):
    path = folder / f'step_{step:08d}'
    return next(path / name for name in os.listdir(path) if '.data-' in name)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def remove(path):
    path.unlink()


# ------------------------------------------------------------------------ save and latest


def test_the_newest_comes_back_with_its_state(tmp_path):
    save(tmp_path, 9)
    save(tmp_path, 10)
    saved = checkpoint.latest(str(tmp_path))
    assert saved.path == str(tmp_path / 'step_00000010')
    assert saved.state['step'] == 10
    assert saved.state['note'] == 'x'
    assert value_of(saved) == 10.0


def test_files_are_of_this_machine_where_the_variables_are_a_tpus(tmp_path, monkeypatch):
    devices = tf.config.list_logical_devices
    monkeypatch.setattr(tf.config, 'list_logical_devices', lambda kind=None: devices('CPU'))
    assert checkpoint._options().experimental_io_device == '/job:localhost'
    save(tmp_path, 1)
    assert value_of(checkpoint.latest(str(tmp_path))) == 1.0


def test_variables_that_were_written_elsewhere_are_no_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1)
    monkeypatch.setattr(tf.train.Checkpoint, 'write', lambda self, path, options: None)
    with pytest.raises(OSError, match='wrote the variables on another machine'):
        save(tmp_path, 2)
    assert names(tmp_path) == ['step_00000001']


@pytest.mark.parametrize('folder', ['.', 'not/there'])
def test_no_checkpoint_is_none(tmp_path, folder):
    assert checkpoint.latest(str(tmp_path / folder)) is None


def test_the_newest_few_are_kept(tmp_path):
    for step in (1, 2, 3, 10):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ['step_00000003', 'step_00000010']


def test_a_step_that_is_to_stay_stays(tmp_path):
    for step in (1, 2, 3, 10):
        save(tmp_path, step, keep=1, spare=2)
    assert names(tmp_path) == ['step_00000002', 'step_00000010']


@pytest.mark.parametrize(('up_to', 'found'), [(10, 10), (9, 2), (2, 2), (1, None)])
def test_the_newest_up_to_a_step(tmp_path, up_to, found):
    for step in (2, 10):
        save(tmp_path, step)
    saved = checkpoint.latest(str(tmp_path), up_to)
    assert (saved and saved.state['step']) == found


def test_a_worker_that_does_not_write_leaves_nothing(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2, keep=1, write=False)
    assert names(tmp_path) == ['step_00000001']


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 1, value=5.0)
    save(tmp_path, 1, value=6.0)
    assert value_of(checkpoint.latest(str(tmp_path))) == 6.0
    assert names(tmp_path) == ['step_00000001']


# -------------------------------------------------------------------------------- damage


@pytest.mark.parametrize('damage', [truncate, flip_byte, remove])
@pytest.mark.parametrize('file', ['data', 'index', 'state.json'])
def test_a_damaged_file_falls_back_to_the_checkpoint_before(tmp_path, capsys, damage, file):
    for step in (1, 2):
        save(tmp_path, step)
    newest = tmp_path / 'step_00000002'
    files = {
        'data': data_file(tmp_path, 2),
        'index': newest / 'variables.index',
        'state.json': newest / 'state.json',
    }
    damage(files[file])
    assert value_of(checkpoint.latest(str(tmp_path))) == 1.0
    warning = capsys.readouterr().err
    assert warning.startswith(f'warning: checkpoint {newest} is damaged')
    assert file == 'state.json' or files[file].name in warning
    assert warning.count('\n') == 1


def test_each_damaged_checkpoint_is_named(tmp_path, capsys):
    for step in (1, 2, 3):
        save(tmp_path, step)
    for step in (2, 3):
        truncate(data_file(tmp_path, step))
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    warnings = capsys.readouterr().err
    assert 'step_00000003' in warnings
    assert 'step_00000002' in warnings


def test_a_step_that_its_folder_contradicts_is_damage(tmp_path, capsys):
    for step in (1, 2):
        save(tmp_path, step)
    state = tmp_path / 'step_00000002' / 'state.json'
    state.write_text(state.read_text().replace('"step": 2', '"step": 3'))
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert 'step_00000002' in capsys.readouterr().err


@pytest.mark.parametrize(
    'content', ['', '[]', '7', '{}', '{"step": 2}', '{"step": "2", "format": 1, "sha256": {}}']
)
def test_a_foreign_state_is_passed_over(tmp_path, capsys, content):
    for step in (1, 2):
        save(tmp_path, step)
    (tmp_path / 'step_00000002' / 'state.json').write_text(content)
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert 'step_00000002 is damaged' in capsys.readouterr().err


def test_a_state_of_another_format_is_passed_over(tmp_path, capsys):
    save(tmp_path, 1)
    path = tmp_path / 'step_00000001' / 'state.json'
    shutil.copytree(tmp_path / 'step_00000001', tmp_path / 'step_00000002')
    state = json.loads(path.read_text())
    (tmp_path / 'step_00000002' / 'state.json').write_text(
        json.dumps({**state, 'step': 2, 'format': 99})
    )
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert 'of another program or version' in capsys.readouterr().err


def test_foreign_files_and_folders_are_not_looked_at(tmp_path, capsys):
    save(tmp_path, 1)
    (tmp_path / 'step_2').mkdir()
    (tmp_path / 'keras').mkdir()
    (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "x"')
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert capsys.readouterr().err == ''


def test_an_empty_folder_of_a_step_is_passed_over(tmp_path, capsys):
    save(tmp_path, 1)
    (tmp_path / 'step_00000002').mkdir()
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert 'no readable state.json' in capsys.readouterr().err


def test_a_number_that_was_changed_in_the_state_is_damage(tmp_path, capsys):
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / 'step_00000002' / checkpoint.STATE_FILE
    path.write_text(path.read_text().replace('"note": "x"', '"note": "y"'))
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert 'state.json was changed' in capsys.readouterr().err


def test_a_file_that_the_disk_does_not_give_is_damage(tmp_path, capsys, monkeypatch):
    save(tmp_path, 1)
    save(tmp_path, 2)
    read = checkpoint.sha256_of

    def fail(path):
        if 'step_00000002' in path:
            raise OSError(errno.EIO, 'Input/output error')
        return read(path)

    monkeypatch.setattr(checkpoint, 'sha256_of', fail)
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert 'cannot be read: [Errno 5]' in capsys.readouterr().err


def test_nothing_but_damage_is_an_error(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
        truncate(data_file(tmp_path, step))
    with pytest.raises(ValueError, match=r'all 2 checkpoints in .* are damaged; remove the folder'):
        checkpoint.latest(str(tmp_path))


def test_a_save_never_removes_what_it_saved(tmp_path):
    # After a fall-back, damaged checkpoints of later steps are still there.
    for step in (10, 20, 30):
        save(tmp_path, step)
    for step in (20, 30):
        truncate(data_file(tmp_path, step))
    for step in (11, 12):
        save(tmp_path, step, keep=2)
    assert checkpoint.latest(str(tmp_path)).state['step'] == 12


# --------------------------------------------------------------------------- interrupted


def test_what_a_killed_save_left_behind_is_not_a_checkpoint(tmp_path, capsys):
    save(tmp_path, 1)
    os.rename(tmp_path / 'step_00000001', tmp_path / 'step_00000002.tmp-123')
    save(tmp_path, 1)
    assert checkpoint.latest(str(tmp_path)).state['step'] == 1
    assert capsys.readouterr().err == ''


def resource_exhausted(*unused, **options):
    raise tf.errors.ResourceExhaustedError(None, None, 'variables.data; No space left on device\nx')


def no_space(*unused, **options):
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize(
    ('owner', 'function', 'failure'),
    [
        (tf.train.Checkpoint, 'write', resource_exhausted),
        (checkpoint.json, 'dump', no_space),
        (checkpoint.os, 'fsync', no_space),
        (checkpoint.os, 'rename', no_space),
    ],
)
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, owner, function, failure):
    save(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, failure)
        with pytest.raises(OSError, match='No space left on device') as raised:
            save(tmp_path, 2, keep=1)
    assert '\n' not in str(raised.value)
    assert names(tmp_path) == ['step_00000001']
    assert value_of(checkpoint.latest(str(tmp_path))) == 1.0


@pytest.mark.parametrize(
    ('owner', 'function', 'failure'),
    [
        (tf.train.Checkpoint, 'write', resource_exhausted),
        (checkpoint.json, 'dump', no_space),
    ],
)
def test_a_full_disk_is_told_with_step_and_folder(tmp_path, monkeypatch, owner, function, failure):
    monkeypatch.setattr(owner, function, failure)
    with pytest.raises(OSError, match=f'cannot save step 2 to {tmp_path}: .*are untouched'):
        save(tmp_path, 2)
