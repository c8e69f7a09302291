"""Runs that start from weights of elsewhere: read once, recorded, continued without them."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from mobilenet_v3 import build_model
from mobilenet_v3.spec_file import load_model_spec
from train import loop
from train.init_source import read_source
from train.initial import read_initial
from train.run import load_trained, resolve_spec
from train.testing import assert_same_variables, at_step, variables
from train.weights.imported import slots

STATS = {'gamma': 'weight', 'beta': 'bias', 'mean': 'running_mean', 'variance': 'running_var'}
TIMM_BLOCK = {  # by whether the block expands
    True: {'expand/conv': 'conv_pw', 'expand/bn': 'bn1', 'depthwise/conv': 'conv_dw',
           'depthwise/bn': 'bn2', 'project/conv': 'conv_pwl', 'project/bn': 'bn3'},
    False: {'depthwise/conv': 'conv_dw', 'depthwise/bn': 'bn1', 'project/conv': 'conv_pw',
            'project/bn': 'bn2'},
}  # fmt: skip
GATES = {'se/squeeze': 'se.conv_reduce', 'se/excite': 'se.conv_expand'}


def timm_module(layer, expands, last):
    """timm's module for one of our layers."""
    outer = {
        'stem/conv': 'conv_stem', 'stem/bn': 'bn1', 'last/conv': f'blocks.{last}.0.conv',
        'last/bn': f'blocks.{last}.0.bn1', 'features/conv': 'conv_head', 'logits/conv': 'classifier',
    }  # fmt: skip
    if layer in outer:
        return outer[layer]
    block, _, part = layer.partition('/')
    number = int(block.removeprefix('bneck_')) - 1
    return f'blocks.{number}.0.{(TIMM_BLOCK[block in expands] | GATES)[part]}'


def write_timm(path, spec, num_classes):
    """Random weights of a network as timm's code names and lays them out."""
    rng = np.random.default_rng(0)
    model = build_model(spec, resolution=32, num_classes=num_classes)
    expands = {name.partition('/')[0] for name, _ in slots(spec) if '/expand/' in name}
    header, data = {}, b''
    for layer, kind in slots(spec):
        roles = list(STATS.values()) if kind == 'norm' else ['weight', 'bias']
        for role, weight in zip(roles, model.get_layer(layer).weights, strict=False):
            values = rng.normal(1 if kind == 'norm' else 0, 0.1, weight.shape).astype(np.float32)
            if values.ndim == 4:
                values = values.transpose((2, 3, 0, 1) if kind == 'depthwise' else (3, 2, 0, 1))
            if layer == 'logits/conv' and role == 'weight':
                values = values[:, :, 0, 0]
            name = f'{timm_module(layer, expands, len(spec.blocks))}.{role}'
            header[name] = {
                'dtype': 'F32',
                'shape': list(values.shape),
                'data_offsets': [len(data), len(data) + values.nbytes],
            }
            data += np.ascontiguousarray(values).tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data)


TIMM_CONFIG = {
    'architecture': 'mobilenetv3_small_100',
    'pretrained_cfg': {
        'mean': [0.485, 0.456, 0.406],
        'std': [0.229, 0.224, 0.225],
        'crop_pct': 0.95,
        'interpolation': 'bicubic',
    },
}


@pytest.fixture(scope='module')
def timm_file(tiny_spec, tmp_path_factory):
    """Weights of the tiny network for three classes, with timm's config beside them."""
    folder = tmp_path_factory.mktemp('timm')
    write_timm(folder / 'model.safetensors', load_model_spec(str(tiny_spec)), 3)
    (folder / 'config.json').write_text(json.dumps(TIMM_CONFIG))
    return folder / 'model.safetensors'


@pytest.fixture
def config(tiny_config, timm_file):
    c = tiny_config()
    c.init.source = str(timm_file)
    return c


@pytest.fixture(scope='module')
def undisturbed(tiny_config, timm_file, tmp_path_factory):
    c = tiny_config()
    c.init.source = str(timm_file)
    workdir = tmp_path_factory.mktemp('undisturbed')
    loop.run(c, str(workdir))
    return workdir


def test_what_was_read_is_recorded_and_used(undisturbed, timm_file):
    run, model, _ = load_trained(str(undisturbed))
    assert run.config.init.source == str(timm_file)
    assert len(run.config.init.sha256) == 64
    assert run.config.augment.eval_crop == 0.95
    assert (run.spec.padding, run.spec.batch_norm_epsilon) == ('symmetric', 1e-5)
    assert run.spec.normalize.mean == (0.485, 0.456, 0.406)
    # The constants of the images are not trained.
    scale = model.get_layer('normalize/conv').depthwise_kernel.numpy().reshape(-1)
    np.testing.assert_array_equal(scale, (0.5 / np.array([0.229, 0.224, 0.225])).astype(np.float32))


def test_a_run_starts_from_the_weights(config, tmp_path, capsys, monkeypatch):
    at_step(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    config.schedule.learning_rate = 1e-12
    config.ema.decay = 0.0
    assert loop.run(config, str(tmp_path)) is None
    _, model, _ = load_trained(str(tmp_path))
    kernel = read_source(config).layers['bneck_2/expand/conv']['kernel']
    np.testing.assert_allclose(model.get_layer('bneck_2/expand/conv').kernel, kernel, atol=1e-6)
    said = capsys.readouterr().out
    assert 'weights of timm state dict model.safetensors, sha256 ' in said
    assert '32 layers carried; fresh: nothing; the 3 classes of the source' in said
    assert 'padding symmetric, ε 1e-05, images normalised by mean [0.485, 0.456, 0.406]' in said
    assert 'evaluated there with bicubic resizing, here bilinear' in said


def test_a_continued_run_needs_no_source_and_ends_bit_for_bit(
    undisturbed, config, timm_file, tmp_path, monkeypatch
):
    copy = shutil.copytree(timm_file.parent, tmp_path / 'weights') / timm_file.name
    config.init.source = str(copy)
    workdir = tmp_path / 'run'
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert loop.run(config, str(workdir)) is None
    shutil.rmtree(copy.parent)
    assert loop.run(config, str(workdir)) is not None
    assert_same_variables(workdir, variables(undisturbed))


def test_another_source_is_another_run(undisturbed, config, tiny_spec, tmp_path):
    write_timm(tmp_path / 'other.safetensors', load_model_spec(str(tiny_spec)), 3)
    config.init.source = str(tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match=r'holds another run; .*config.init.source: .*other'):
        loop.run(config, str(undisturbed))
    config.init.source = ''
    with pytest.raises(ValueError, match=r'holds another run; .*config.init.source'):
        loop.run(config, str(undisturbed))


def test_another_network_than_was_asked_for_is_another_run(undisturbed, config, tmp_path):
    values = json.loads(Path(config.model.name).read_text())
    values['blocks'][1]['activation'] = 'relu'
    (tmp_path / 'tiny.json').write_text(json.dumps(values))
    config.model.name = str(tmp_path / 'tiny.json')
    with pytest.raises(ValueError, match=r'holds another run; .*config.init.network'):
        loop.run(config, str(undisturbed))


def test_a_run_is_a_source(undisturbed, tiny_config):
    c = tiny_config()
    c.init.source = str(undisturbed)
    initial = read_initial(c, resolve_spec(c))
    run, averaged, _ = load_trained(str(undisturbed))
    assert initial.spec == run.spec
    model = build_model(initial.spec, resolution=32, num_classes=3)
    assert initial.carry(model).fresh == ()
    for ours, theirs in zip(model.get_weights(), averaged.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_mean_and_std_can_be_told(config):
    config.init.mean, config.init.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    assert read_initial(config, resolve_spec(config)).spec.normalize.std == (1.0, 1.0, 1.0)
    config.init.mean = config.init.std = (0.5, 0.5, 0.5)
    assert read_initial(config, resolve_spec(config)).spec.normalize is None


def test_a_crop_of_ones_own_stays(config):
    config.augment.eval_crop = 1.0
    assert read_initial(config, resolve_spec(config)).config.augment.eval_crop == 1.0


def set_init(**values):
    return lambda c: c.init.update(values)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            set_init(source='gone.pth'),
            '--init=gone.pth: there is no such file or folder; expected k',
        ),
        (set_init(source='keras:jft'), '--init=keras:jft is unknown; expected keras:imagenet or a'),
        (set_init(source='keras:imagenet'), 'Keras has no weights of tiny; expected one of large'),
        (set_init(source=__file__), 'is no source of weights; expected keras:imagenet, a file .h5'),
        (set_init(head='kept'), "config.init.head is 'kept'; expected one of auto, keep, drop"),
        (set_init(weights='ema'), "config.init.weights is 'ema'; expected 'averaged' or 'raw'"),
        (
            set_init(definition='d-li14'),
            'names in .* are those of timm; expected auto or one of ti',
        ),
        (set_init(mean=(0.5,)), r'std is \(\); expected as many numbers as mean'),
    ],
)
def test_impossible_values_are_refused(config, change, message):
    change(config)
    with pytest.raises(ValueError, match=message):
        read_initial(config, resolve_spec(config))


def test_timms_definition_has_to_be_told(config, timm_file, tmp_path):
    copy = shutil.copy(timm_file, tmp_path)
    config.init.source = str(copy)
    message = r"may be of timm's mobilenetv3_\* .* say --config.init.definition=timm or timm_tf"
    with pytest.raises(ValueError, match=message):
        read_source(config)
    config.init.definition = 'timm_tf'
    assert read_source(config).definition.padding == 'same'
    config.init.definition = 'auto'
    for values, message in (
        ('[]', 'is no config of timm'),
        (json.dumps({**TIMM_CONFIG, 'model_args': {'a': 1}}), 'model_args .* change the network'),
    ):
        (tmp_path / 'config.json').write_text(values)
        with pytest.raises(ValueError, match=message):
            read_source(config)


def test_a_download_that_fails_is_one_line(config, monkeypatch):
    import tf_keras

    def offline(**options):
        raise Exception('URL fetch failure on https://…: None -- \n no route')  # as Keras does

    monkeypatch.setattr(tf_keras.applications, 'MobileNetV3Small', offline)
    config.model.name, config.init.source = 'small', 'keras:imagenet'
    message = r'no weights of MobileNetV3Small at multiplier 1 .* no route\. Offline, give a file'
    with pytest.raises(ValueError, match=message) as raised:
        read_source(config)
    assert '\n' not in str(raised.value)
