"""Networks of torchvision, timm and d-li14 with random weights, imported: needs PyTorch."""

import json
import re
import sys

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason="PyTorch is not installed: pip install '.[torch]'")

from configs import base  # noqa: E402
from mobilenet_v3 import build_model  # noqa: E402
from train.init_source import read_source  # noqa: E402
from train.initial import read_initial  # noqa: E402
from train.run import resolve_spec  # noqa: E402

CLASSES = 10
SIZES = ((224, 224), (193, 225))
pytestmark = pytest.mark.slow


def import_torchvision():
    """torchvision, which beside a PyTorch of another build lacks its own ops: none is needed here."""
    from torch import library

    fragment = library.Library('torchvision', 'FRAGMENT')
    for _ in range(100):
        try:
            import torchvision
        except RuntimeError as e:
            missing = re.search(r'operator torchvision::(\w+) does not exist', str(e))
            if missing is None:
                raise
            fragment.define(f'{missing[1]}(Tensor x) -> Tensor')
            for name in [name for name in sys.modules if name.startswith('torchvision')]:
                del sys.modules[name]
        else:
            return torchvision.models
    raise RuntimeError('torchvision cannot be imported')


class Gate(torch.nn.Module):
    """Squeeze-and-excite of dense layers, under d-li14's names."""

    def __init__(self, channels, squeezed):
        super().__init__()
        n = torch.nn
        self.fc = n.Sequential(
            n.Linear(channels, squeezed), n.ReLU(), n.Linear(squeezed, channels), n.Hardsigmoid()
        )

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class Residual(torch.nn.Module):
    """A block; the gate stands before the activation where the block expands, after it elsewhere."""

    def __init__(self, block, inputs):
        super().__init__()
        n, wide, out = torch.nn, block.expansion, block.filters
        act = n.Hardswish if block.activation == 'hard_swish' else n.ReLU
        squeezed = block.se.width(inputs, wide) if block.se else 0
        gate = Gate(wide, squeezed) if block.se else n.Identity()
        sides = {'stride': block.stride, 'padding': block.kernel // 2, 'groups': wide}
        layers = [n.Conv2d(wide, wide, block.kernel, bias=False, **sides), n.BatchNorm2d(wide)]
        if wide == inputs:
            layers += [act(), gate]
        else:
            expand = [n.Conv2d(inputs, wide, 1, bias=False), n.BatchNorm2d(wide), act()]
            layers = [*expand, *layers, gate, act()]
        layers += [n.Conv2d(wide, out, 1, bias=False), n.BatchNorm2d(out)]
        self.conv = n.Sequential(*layers)
        self.adds = block.stride == 1 and inputs == out

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class Dli14(torch.nn.Module):
    """A V3 by our own table under the names of d-li14's code, with its order in the blocks."""

    def __init__(self, spec):
        super().__init__()
        n, stem, last = torch.nn, spec.stem.filters, spec.last.filters
        first = n.Conv2d(3, stem, 3, 2, 1, bias=False)
        layers = [n.Sequential(first, n.BatchNorm2d(stem), n.Hardswish())]
        inputs = stem
        for block in spec.blocks:
            layers.append(Residual(block, inputs))
            inputs = block.filters
        self.features = n.Sequential(*layers)
        self.conv = n.Sequential(
            n.Conv2d(inputs, last, 1, bias=False), n.BatchNorm2d(last), n.Hardswish()
        )
        wide = spec.features.filters
        self.classifier = n.Sequential(
            n.Linear(last, wide), n.Hardswish(), n.Dropout(0.2), n.Linear(wide, CLASSES)
        )

    def forward(self, x):
        return self.classifier(self.conv(self.features(x)).mean((2, 3)))


def photos(size):
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (2, 3, 9, 9)).astype(np.float32))
    images = torch.nn.functional.interpolate(coarse, size, mode='bicubic').clamp(0, 255).round()
    return images.permute(0, 2, 3, 1).numpy()


def randomize(model, mean, std):
    """Random weights, and the statistics of a batch."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1, 0.1)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            module.momentum = 1.0
        elif getattr(module, 'bias', None) is not None:
            torch.nn.init.normal_(module.bias, 0, 0.1)
    model.train()
    with torch.no_grad():
        model(normalized(photos(SIZES[0]), mean, std))
    model.eval()


def normalized(pixels, mean, std):
    values = (pixels / 255 - np.asarray(mean)) / np.asarray(std)
    return torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)

# name: (our --model, multiplier, how it is made, mean and std, --config.init.definition)
PEERS = {
    'torchvision large': ('large', 1.0, 'mobilenet_v3_large', IMAGENET, 'auto'),
    'torchvision large 0.75': ('large', 0.75, 'mobilenet_v3_large', IMAGENET, 'auto'),
    'torchvision small': ('small', 1.0, 'mobilenet_v3_small', IMAGENET, 'auto'),
    'torchvision small 0.5': ('small', 0.5, 'mobilenet_v3_small', IMAGENET, 'auto'),
    'torchvision v2': ('v2', 1.0, 'mobilenet_v2', IMAGENET, 'auto'),
    'timm large': ('large', 1.0, 'mobilenetv3_large_100', IMAGENET, 'timm'),
    'timm large 0.75': ('large', 0.75, 'mobilenetv3_large_075', IMAGENET, 'timm'),
    'timm small 0.5': ('small', 0.5, 'mobilenetv3_small_050', IMAGENET, 'timm'),
    'timm small 0.75': ('small', 0.75, 'mobilenetv3_small_075', IMAGENET, 'timm'),
    'timm tf large': ('large', 1.0, 'tf_mobilenetv3_large_100', HALF, 'timm_tf'),
    'timm tf small 0.75': ('small', 0.75, 'tf_mobilenetv3_small_075', HALF, 'timm_tf'),
    'timm tf minimal': (
        'small_minimalistic', 1.0, 'tf_mobilenetv3_small_minimal_100', HALF, 'timm_tf'
    ),
    'timm v2': ('v2', 1.0, 'mobilenetv2_100', IMAGENET, 'timm'),
    'timm v2 0.5': ('v2', 0.5, 'mobilenetv2_050', IMAGENET, 'timm'),
    'timm v1': ('v1', 1.0, 'mobilenetv1_100', HALF, 'timm'),
    'timm mnasnet a1': ('mnasnet_a1', 1.0, 'semnasnet_100', IMAGENET, 'timm'),
    'timm mnasnet small': ('mnasnet_small', 1.0, 'mnasnet_small', IMAGENET, 'timm'),
    'd-li14 large': ('large', 1.0, 'd-li14', IMAGENET, 'auto'),
    'd-li14 small': ('small_1024', 1.0, 'd-li14', IMAGENET, 'auto'),
    'd-li14 small 0.75': ('small_1024', 0.75, 'd-li14', IMAGENET, 'auto'),
}  # fmt: skip


def config_of(name, path):
    model, multiplier, _, (mean, std), definition = PEERS[name]
    c = base.get_config()
    c.model.name, c.model.multiplier = model, multiplier
    c.init.source, c.init.head, c.init.definition = str(path), 'keep', definition
    if definition == 'timm' and mean == HALF[0]:
        c.init.mean, c.init.std = mean, std
    return c


def make_peer(name):
    _, multiplier, peer, normalization, _ = PEERS[name]
    if name.startswith('torchvision'):
        build = getattr(import_torchvision(), peer)
        made = build(num_classes=CLASSES, width_mult=multiplier)
    elif name.startswith('timm'):
        timm = pytest.importorskip('timm')
        made = timm.create_model(peer, num_classes=CLASSES)
    else:
        made = Dli14(resolve_spec(config_of(name, '')))
    randomize(made, *normalization)
    return made


def write_safetensors(path, state, metadata=None):
    """A file of this format, as the package writes it."""
    header, data = {'__metadata__': metadata or {'format': 'pt'}}, b''
    for name, tensor in state.items():
        values = tensor.detach().numpy()
        kind = {'float32': 'F32', 'int64': 'I64'}[str(values.dtype)]
        span = [len(data), len(data) + values.nbytes]
        header[name] = {'dtype': kind, 'shape': list(values.shape), 'data_offsets': span}
        data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data)


@pytest.mark.parametrize('name', PEERS)
def test_peers_of_pytorch(name, tmp_path):
    peer, normalization = make_peer(name), PEERS[name][3]
    path = tmp_path / 'peer.safetensors'
    write_safetensors(path, peer.state_dict())
    config = config_of(name, path)
    initial = read_initial(config, resolve_spec(config))
    for size in SIZES:
        model = build_model(initial.spec, resolution=size, num_classes=CLASSES)
        assert initial.carry(model).fresh == ()
        pixels = photos(size)
        ours = model(pixels / 127.5 - 1, training=False).numpy()
        with torch.no_grad():
            theirs = peer(normalized(pixels, *normalization)).numpy()
        difference = np.abs(ours - theirs).max()
        print(f'{name} {size} differs by {difference:.1e} of {np.abs(theirs).max():.2g}')
        assert theirs.std() > 1e-2
        assert difference < 1e-4 * max(1.0, np.abs(theirs).max())


def test_a_pth_is_read_as_a_safetensors_is(tmp_path):
    peer = make_peer('torchvision small')
    write_safetensors(tmp_path / 'peer.safetensors', peer.state_dict())
    torch.save(peer.state_dict(), tmp_path / 'peer.pth')
    torch.save({'model': peer.state_dict(), 'epoch': 3}, tmp_path / 'checkpoint.pth')
    wrapped = {f'module.{k}': v for k, v in peer.state_dict().items()}
    torch.save({'state_dict': wrapped}, tmp_path / 'parallel.pth.tar')
    expected = read_source(config_of('torchvision small', tmp_path / 'peer.safetensors'))
    for file in ('peer.pth', 'checkpoint.pth', 'parallel.pth.tar'):
        read = read_source(config_of('torchvision small', tmp_path / file))
        assert read.definition == expected.definition
        assert set(read.layers) == set(expected.layers)
        for layer, arrays in expected.layers.items():
            for role, values in arrays.items():
                np.testing.assert_array_equal(read.layers[layer][role], values)


def test_averaged_weights_of_a_training_script_are_taken(tmp_path):
    peer = make_peer('torchvision small')
    raw = {k: v * 0 for k, v in peer.state_dict().items()}
    torch.save({'model': raw, 'model_ema': peer.state_dict()}, tmp_path / 'both.pth')
    config = config_of('torchvision small', tmp_path / 'both.pth')
    assert np.any(read_source(config).layers['stem/conv']['kernel'])
    config.init.weights = 'raw'
    assert not np.any(read_source(config).layers['stem/conv']['kernel'])


class Malicious:
    def __reduce__(self):
        return print, ('executed',)


@pytest.mark.parametrize('legacy', [True, False])
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path, capfd, legacy):
    path = tmp_path / 'bad.pth'
    content = {'features.0.0.weight': Malicious()}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match='holds more than weights, and is not unpickled'):
        read_source(config_of('torchvision small', path))
    assert 'executed' not in capfd.readouterr().out


def test_what_is_no_state_dict_is_refused(tmp_path):
    path = tmp_path / 'odd.pth'
    for content, message in (
        ([1, 2], 'holds a list; expected a state dict'),
        ({'epoch': 3, 'lr': 0.1}, 'is no state dict: epoch, lr are no tensors'),
        ({'fc.weight': torch.zeros(2, 2)}, 'no state dict of torchvision, timm or d-li14: it has'),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            read_source(config_of('torchvision small', path))
    path.write_bytes(b'PK\x03\x04 cut off')
    with pytest.raises(ValueError, match=r'cannot be read as PyTorch weights|holds more than'):
        read_source(config_of('torchvision small', path))
