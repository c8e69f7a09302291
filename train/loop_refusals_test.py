"""What a run refuses before its first step, and what it leaves as it was."""

import shutil

import pytest
import tensorflow as tf

from train import loop
from train.metrics_file import read_metrics
from train.testing import assert_same_variables, variables


def test_parts_that_do_not_fill_the_batch_are_refused(tmp_path, tiny_config):
    config = tiny_config()
    config.train.parts = 3
    message = r'batch_size is 4; expected a multiple of the 1 replicas times config.train.parts, 3'
    with pytest.raises(ValueError, match=message):
        loop.run(config, str(tmp_path / 'run'))


def test_a_batch_larger_than_the_dataset_is_refused(tiny_config, tmp_path):
    config = tiny_config()
    config.train.batch_size = 11
    message = (
        r'config\.train\.batch_size is 11, more than the 10 training examples of folder:.*finetune'
    )
    with pytest.raises(ValueError, match=message):
        loop.run(config, str(tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()


def test_tasks_that_a_tpu_cannot_evaluate_are_refused(
    tiny_segmentation_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(tf.distribute, 'TPUStrategy', type(tf.distribute.get_strategy()))
    with pytest.raises(
        ValueError, match='--tpu trains classifiers; the evaluation of segmentation'
    ):
        loop.run(tiny_segmentation_config(), str(tmp_path))


def test_a_teacher_on_a_tpu_is_refused(tiny_config, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(tf.distribute, 'TPUStrategy', type(tf.distribute.get_strategy()))
    config = tiny_config()
    config.distill.weight, config.distill.teacher = 0.5, str(tiny_run)
    with pytest.raises(ValueError, match='--tpu trains without a teacher, whose weights'):
        loop.run(config, str(tmp_path))
    config.distill.teacher = ''  # as the quantized form of a network is taught
    assert loop._check_for_tpu(config) is None


def test_a_folder_that_cannot_be_made_is_refused(tiny_config, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='cannot make --workdir='):
        loop.run(tiny_config(), str(tmp_path / 'file' / 'run'))


def test_a_remote_folder_is_not_mistaken_for_a_local_one(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match='gs://'):
        loop.run(tiny_config(), 'gs://bucket/run')
    assert not (tmp_path / 'gs:').exists()


@pytest.mark.parametrize(
    ('field', 'values'),
    [('augment', {'mixup': 0.2}), ('distill', {'weight': 0.5, 'on': 'features'})],
)
def test_a_part_of_one_image_has_none_to_be_blended_with(
    tiny_config, tiny_run, tmp_path, field, values
):
    config = tiny_config()
    config.train.parts = 4
    config[field].update(values)
    if config.distill.weight:
        config.distill.teacher = str(tiny_run)
    with pytest.raises(
        ValueError, match='of 4 / 1 replicas / 4 parts there is one; expected at le'
    ):
        loop.run(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('values', [{'weight': 0.5}, {'teacher': 'runs/teacher'}])
def test_a_teacher_without_a_weight_is_refused(tiny_config, tmp_path, values):
    config = tiny_config()
    config.distill.update(values)
    with pytest.raises(
        ValueError, match=r'config.distill has weight .*; expected both, or neither'
    ):
        loop.run(config, str(tmp_path / 'run'))


def test_a_run_does_not_go_on_with_more_images(tiny_config, tiny_run, image_folder, tmp_path):
    workdir, photos = tmp_path / 'run', tmp_path / 'photos'
    shutil.copytree(image_folder, photos)
    config = tiny_config()
    config.data.dataset = f'folder:{photos}'
    config.train.epochs = 0.8
    loop.run(config, str(workdir))
    before, lines = variables(workdir), read_metrics(str(workdir))
    new = photos / 'train' / 'red'
    shutil.copy(next(new.iterdir()), new / 'another.jpg')
    message = (
        r'has 11 training images, and the run in .* began with 10; expected the same ones, or an'
    )
    with pytest.raises(ValueError, match=message):
        loop.run(config, str(workdir))
    next(path for path in new.iterdir() if path.stem != 'another').unlink()
    with pytest.raises(ValueError, match='has other training images, and the run in'):
        loop.run(config, str(workdir))
    assert_same_variables(workdir, before)
    assert read_metrics(str(workdir)) == lines


def test_what_killed_saves_left_is_removed(tiny_config, tmp_path):
    left = [tmp_path / name / 'step_00000002.tmp-elsewhere-1' for name in ('checkpoints', 'best')]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / 'variables.data-00000-of-00001').write_bytes(b'half')
    config = tiny_config()
    config.train.epochs = 0.4
    loop.run(config, str(tmp_path))
    assert not any(folder.exists() for folder in left)
