import dataclasses

import pytest

from benchmark.session import Protocol
from mobilenet_v3.spec_file import load_model_spec
from search.latency import measured as module
from search.latency.form import FileForm
from search.latency.measured import FILE, MeasuredLatency
from search.latency.testing import PaperDevice
from search.widths import shrink, widths

PROTOCOL = Protocol(rounds=2, runs_per_round=2, warmup_runs=1)
FORM = FileForm(32, 3)


@pytest.fixture(scope='module')
def spec(tiny_spec):
    return load_model_spec(str(tiny_spec))


@pytest.fixture(scope='module')
def narrow(spec):
    return shrink(spec, {w.name: w for w in widths(spec)}['expansion_4'], 24)


@pytest.fixture
def device():
    """A byte takes a nanosecond; in the second measurement everything is slower by half."""

    def take(case):
        factor = 1.0 if device.turns <= PROTOCOL.rounds else 1.5
        return factor * case.size_bytes / 1e6

    device = PaperDevice(take)
    return device


@pytest.fixture
def no_building(monkeypatch):
    """Files of as many bytes as the expansions have channels."""

    def write(folder, network):
        path = folder / f'{network.key}.tflite'
        size = sum(block.expansion for block in network.spec.blocks)
        path.write_bytes(b'\0' * 4 + b'TFL3' + b'\0' * (size - 8))
        return path

    monkeypatch.setattr('benchmark.blocks.blocks.write_network', write)


def test_networks_are_measured_beside_the_reference(spec, narrow, device, no_building, tmp_path):
    latency = MeasuredLatency(device, PROTOCOL, FORM, spec, tmp_path)
    expansions = 8 + 16 + 24 + 32
    assert latency.predict(spec) == pytest.approx(expansions / 1e6)
    # The device has become slower, the ratio has not.
    assert latency.predict(narrow) == pytest.approx((expansions - 8) / 1e6)
    assert len(list(tmp_path.glob('*.tflite'))) == 1


def test_what_was_measured_is_not_measured_again(spec, narrow, device, no_building, tmp_path):
    first = MeasuredLatency(device, PROTOCOL, FORM, spec, tmp_path).predict(narrow)
    turns = device.turns
    again = MeasuredLatency(device, PROTOCOL, FORM, spec, tmp_path)
    renamed = dataclasses.replace(narrow, name='another', dropout=0.5)
    assert again.predict(renamed) == first
    assert device.turns == turns == PROTOCOL.rounds * 3


def test_figures_of_another_protocol_or_reference_are_refused(
    spec, narrow, device, no_building, tmp_path
):
    MeasuredLatency(device, PROTOCOL, FORM, spec, tmp_path).predict(spec)
    with pytest.raises(ValueError, match='measured with another protocol; use another --workdir'):
        MeasuredLatency(device, Protocol(rounds=3), FORM, spec, tmp_path)
    with pytest.raises(ValueError, match='measured with another form, reference; use another'):
        MeasuredLatency(device, PROTOCOL, FileForm(64, 3), narrow, tmp_path)


@pytest.mark.parametrize('content', ['{"header": {}, "ms": 1}', '{"header": 1, "ms": {}}'])
def test_a_damaged_file_is_named(spec, device, tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ValueError, match=r'measured.json holds no measured latencies .*remove it'):
        MeasuredLatency(device, PROTOCOL, FORM, spec, tmp_path)


@pytest.mark.slow
def test_a_real_file_is_built_and_measured_here(spec, narrow, tmp_path):
    from benchmark.host import HostDevice

    latency = MeasuredLatency(HostDevice(), PROTOCOL, FORM, spec, tmp_path)
    assert 0 < latency.predict(narrow) < 1000
    assert module.FILE in {path.name for path in tmp_path.iterdir()}
