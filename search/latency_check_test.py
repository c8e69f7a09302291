import pytest

from benchmark.device import DeviceError
from benchmark.session import Protocol
from mobilenet_v3.spec_file import load_model_spec
from search import latency_check
from search.latency.correction import correction_of
from search.latency.form import FileForm
from search.latency.testing import PaperDevice, by_work, make_table
from search.latency_grid import grid_parts
from search.widths import drawn

FORM = FileForm(32, 3)
PROTOCOL = Protocol(rounds=2, runs_per_round=2, warmup_runs=1)


@pytest.fixture(scope='module')
def seed(tiny_spec):
    return load_model_spec(str(tiny_spec))


@pytest.fixture(scope='module')
def table(seed, tmp_path_factory):
    parts = grid_parts([seed], FORM, networks=40, lowest=0.3)
    return make_table(tmp_path_factory.mktemp('table') / 'table.csv', parts)


@pytest.fixture(scope='module')
def networks(seed):
    return drawn(seed, 5, 0.3, seed=1), drawn(seed, 3, 0.3, seed=2)


def device_of(networks, lasts=1000):
    """A device on which a network takes a quarter more than its parts."""
    takes_ms = {
        FORM.network(spec).key: 1.25 * sum(map(by_work, FORM.parts(spec)))
        for some in networks
        for spec in some
    }

    def take(case):
        if device.turns > lasts:
            raise DeviceError('unplugged')
        return takes_ms[case.name]

    device = PaperDevice(take)
    return device


def test_the_grid_holds_the_seed_and_shares_equal_parts(seed):
    parts = grid_parts([seed, seed], FORM, networks=2, lowest=0.3)
    assert set(FORM.parts(seed)) <= set(parts)
    assert len(parts) == len(set(parts)) <= 4 * len(FORM.parts(seed))


@pytest.mark.slow
def test_the_check_goes_on_after_a_fault_and_corrects_the_table(table, networks):
    with pytest.raises(DeviceError, match='unplugged'):
        latency_check.run(device_of(networks, lasts=5), table, FORM, PROTOCOL, *networks)
    device = device_of(networks)
    said = latency_check.run(device, table, FORM, PROTOCOL, *networks)
    assert device.turns == 2 * 8 - 5
    assert '3 networks: error median' in said
    assert 'rank correlation 1.000' in said
    assert correction_of(table, FORM).networks == 5
    # Too few for a correction of their own: that which is there counts, and stays.
    few = latency_check.run(device_of(networks), table, FORM, PROTOCOL, [], networks[1])
    assert 'no correction' not in few
    assert correction_of(table, FORM).networks == 5
    folder = table.path.parent
    assert {'check.md', 'check.png'} <= {path.name for path in folder.iterdir()}


def test_a_table_of_another_device_way_is_refused(table, networks):
    with pytest.raises(ValueError, match='whose latencies cannot be added up'):
        latency_check.run(
            device_of(networks), table, FORM, Protocol(threads=2, rounds=1), *networks
        )
