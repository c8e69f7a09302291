import shutil

import numpy as np
import pytest
from PIL import Image

from export.start import from_run, from_weights
from mobilenet_v3 import build_model
from mobilenet_v3.spec_file import load_model_spec
from train import checkpoint
from train.run import load_trained
from train.testing import released_arrays, rewrite_states


def save_weights(path, spec, num_classes, **changes):
    """An archive of random weights for a network, as released ones come."""
    model = build_model(load_model_spec(str(spec)), resolution=32, num_classes=num_classes)
    arrays = released_arrays(model)
    np.savez(path, **(arrays | changes))
    return str(path)


def with_init(config, path):
    config.init.source = str(path)
    return config


def labels_of(split):
    return [int(example['label']) for example in split.examples()]


# -------------------------------------------------------------------------------- from_run


def test_a_run_gives_its_averaged_weights_and_its_data(tiny_run):
    trained = from_run(str(tiny_run))
    _, model, _ = load_trained(str(tiny_run))
    assert trained.step == 8
    assert trained.run.labels == trained.source.labels == ('blue', 'green', 'red')
    for ours, averaged in zip(trained.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, averaged)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match='has no checkpoint; expected the --workdir of a run'):
        from_run(str(tmp_path))


@pytest.fixture
def moved(tiny_run, image_folder, tmp_path):
    """The run beside a copy of its data that can be changed: the folders of both."""
    data = shutil.copytree(image_folder, tmp_path / 'data')
    workdir = shutil.copytree(tiny_run, tmp_path / 'run')
    rewrite_states(workdir, lambda state: state['config']['data'].update(dataset=f'folder:{data}'))
    return workdir, data


def test_a_dataset_with_another_class_is_refused(moved):
    workdir, data = moved
    for split in ('train', 'val'):
        (data / split / 'grey').mkdir()
        Image.new('RGB', (40, 40)).save(data / split / 'grey' / '0.png')
    message = (
        r'has 4 classes, other than the 3 that the run was trained on \(3 there, 4 here: class 2 is '
        r"'red' there, 'grey' here\); export beside the data of the run"
    )
    with pytest.raises(ValueError, match=message):
        from_run(str(workdir))


def test_a_dataset_with_a_renamed_class_is_refused(moved):
    workdir, data = moved
    for split in ('train', 'val'):
        (data / split / 'red').rename(data / split / 'rose')
    with pytest.raises(ValueError, match=r"\(class 2 is 'red' there, 'rose' here\)"):
        from_run(str(workdir))


def test_a_dataset_that_is_gone_is_refused(moved):
    workdir, data = moved
    shutil.rmtree(data)
    with pytest.raises(ValueError, match=r"there is no folder '.*data' for the dataset"):
        from_run(str(workdir))


def test_a_run_of_before_quantization_is_read(moved):
    workdir, _ = moved

    def forget(state):
        del state['config']['distill'], state['config']['quantize']
        del state['config']['data']['background']

    rewrite_states(workdir, forget)
    trained = from_run(str(workdir))
    assert trained.run.config.data.background is False
    assert trained.run.config.quantize.source == ''
    assert trained.step == 8


def test_the_folder_of_prepared_datasets_may_have_moved(tiny_run):
    trained = from_run(str(tiny_run), data_dir='/elsewhere')
    assert trained.run.config.data.data_dir == '/elsewhere'
    assert from_run(str(tiny_run)).run.config.data.data_dir == ''


# ---------------------------------------------------------------------------- from_weights


@pytest.fixture(scope='module')
def weights(tiny_spec, tmp_path_factory):
    """Archives for 3 and 4 classes."""
    folder = tmp_path_factory.mktemp('weights')
    return {n: save_weights(folder / f'{n}.npz', tiny_spec, n) for n in (3, 4)}


@pytest.mark.parametrize('num_classes', [None, 3])
def test_weights_of_the_datasets_classes(weights, tiny_config, num_classes):
    trained = from_weights(with_init(tiny_config(), weights[3]), num_classes)
    assert trained.run.labels == ('blue', 'green', 'red')
    assert trained.step == 0
    assert trained.run.config.data.background is False
    assert labels_of(trained.source.val) == [0, 0, 0, 1, 1, 2, 2]
    with np.load(weights[3]) as archive:
        kernel = archive['00_CONV_2D_w'].transpose(1, 2, 3, 0)
    np.testing.assert_array_equal(trained.model.get_layer('stem/conv').kernel, kernel)


def test_one_class_more_is_a_background_before_the_others(weights, tiny_config):
    config = tiny_config()
    trained = from_weights(with_init(config, weights[4]), 4)
    assert trained.run.labels == ('background', 'blue', 'green', 'red')
    assert trained.source.labels == trained.run.labels
    assert labels_of(trained.source.val) == [1, 1, 1, 2, 2, 3, 3]
    shuffled = trained.source.train.shuffled(0, 0).take(10)
    assert sorted(int(e['label']) for e in shuffled) == [1] * 4 + [2] * 3 + [3] * 3
    assert trained.model.output_shape == (None, 4)
    assert config.data.background is False  # the caller's


@pytest.mark.parametrize('num_classes', [1, 2, 5, 1001])
def test_another_number_of_classes_is_refused(weights, tiny_config, num_classes):
    message = (
        rf'--num_classes={num_classes}, but folder:.* has 3 classes; expected 3, or 4 with a '
        'background class first'
    )
    with pytest.raises(ValueError, match=message):
        from_weights(with_init(tiny_config(), weights[3]), num_classes)


@pytest.mark.parametrize(('file', 'num_classes'), [(4, None), (3, 4)])
def test_weights_of_another_number_of_classes_are_refused(weights, tiny_config, file, num_classes):
    message = (
        r'config.init.head=keep, but \d classes there, \d here; give the dataset of the source'
    )
    with pytest.raises(ValueError, match=message):
        from_weights(with_init(tiny_config(), weights[file]), num_classes)


def test_a_missing_file_is_refused(tiny_config, tmp_path):
    message = r'gone.npz: there is no such file or folder; expected keras:imagenet, a file'
    with pytest.raises(ValueError, match=message):
        from_weights(with_init(tiny_config(), tmp_path / 'gone.npz'), None)


@pytest.mark.parametrize('content', [b'', b'hello', b'PK\x03\x04 no archive'])
def test_what_is_no_archive_is_refused(tiny_config, tmp_path, content):
    (tmp_path / 'no.npz').write_bytes(content)
    with pytest.raises(ValueError, match=r'no.npz cannot be read as released weights') as raised:
        from_weights(with_init(tiny_config(), tmp_path / 'no.npz'), None)
    assert '\n' not in str(raised.value)


def test_weights_that_are_not_finite_are_refused(tiny_config, tiny_spec, tmp_path):
    bad = np.full([8], np.nan, np.float32)
    path = save_weights(tmp_path / 'bad.npz', tiny_spec, 3, **{'00_CONV_2D_b': bad})
    message = 'the weights cannot be carried: stem/bn has values that are not finite'
    with pytest.raises(ValueError, match=message):
        from_weights(with_init(tiny_config(), path), None)


def test_the_checkpoint_is_the_newest(moved):
    workdir, _ = moved
    shutil.rmtree(workdir / 'checkpoints' / 'step_00000008')
    assert from_run(str(workdir)).step == 6
    assert checkpoint.latest(str(workdir / 'checkpoints')).state['step'] == 6
