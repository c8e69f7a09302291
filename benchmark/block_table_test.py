import re

import pytest

from benchmark import block_table
from benchmark.blocks.latency_table import read_table
from benchmark.blocks.parts import overhead
from benchmark.device import DeviceError
from benchmark.latency import turn_of
from benchmark.session import Protocol

PROTOCOL = Protocol(rounds=2, runs_per_round=2, warmup_runs=1)


class FakeDevice:
    """A device on which a file of n bytes takes n ns; gone after `lasts` turns."""

    def __init__(self, lasts=1000):
        self.name, self.lasts, self.turns, self.warnings = 'fake', lasts, 0, ['ran hot']

    def facts(self):
        return {'cpu': 'of paper'}

    def settings(self):
        return {'mask': '1'}

    def prepare(self, cases):
        pass

    def turn(self, case, *, threads, warmup_runs, runs):
        if self.turns == self.lasts:
            raise DeviceError('unplugged')
        self.turns += 1
        return turn_of([case.size_bytes / 1e6] * runs)

    def close(self):
        pass


def networks_of(*models, multipliers=('1',), schemes=('float32',), forms=('fused',), **options):
    options = {'resolution': 32, 'num_classes': 3, **options}
    resolution = options.pop('resolution')
    return block_table.networks_of(
        models, multipliers, resolution, schemes=schemes, forms=forms, **options
    )


@pytest.fixture(scope='module')
def tiny_networks(tiny_spec):
    return networks_of(str(tiny_spec), forms=('fused', 'decomposed'))


@pytest.fixture(scope='module')
def built(tiny_networks, tmp_path_factory):
    """The folder and the device of a whole run."""
    output, device = tmp_path_factory.mktemp('table'), FakeDevice()
    said = block_table.run(device, tiny_networks, [], PROTOCOL, output)
    return output, device, said


def test_a_run_writes_the_table_the_report_and_the_picture(built, tiny_networks):
    output, _, said = built
    names = {path.name for path in output.iterdir()}
    assert names == {'blocks', 'latency_table.csv', 'blocks.md', 'blocks.png'}
    assert 'latency table:' in said
    assert 'warning: fake: ran hot' in said
    assert 'Error: median' in said
    assert 'tiny' in (output / 'blocks.md').read_text()
    table = read_table(output / 'latency_table.csv')
    for network in tiny_networks:
        assert table.missing(network.parts.values()) == []
        assert table.predict_ms(list(network.parts.values())) > 0


def test_equal_parts_are_measured_once(built, tiny_networks):
    _, device, _ = built
    parts = {part for network in tiny_networks for part in network.parts.values()}
    files = len(parts) + len(tiny_networks) + 1  # and the overhead
    assert device.turns == PROTOCOL.rounds * files
    assert len(parts) < 2 * len(tiny_networks[0].parts)


def test_an_interrupted_run_goes_on(built, tiny_networks):
    output, first, _ = built
    lost = FakeDevice(lasts=5)
    with pytest.raises(DeviceError, match='unplugged'):
        block_table.run(lost, tiny_networks, [], PROTOCOL, output)
    again = FakeDevice()
    block_table.run(again, tiny_networks, [], PROTOCOL, output)
    assert again.turns == first.turns - 5
    assert not (output / 'fake.jsonl').exists()


def test_ctrl_c_tells_where_the_turns_are(built, tiny_networks):
    output, _, _ = built

    class Interrupted(FakeDevice):
        def turn(self, case, **options):
            if self.turns == 2:
                raise KeyboardInterrupt
            return super().turn(case, **options)

    with pytest.raises(
        ValueError, match=r'^interrupted; 2 turns are kept in .*fake.jsonl, the sam'
    ):
        block_table.run(Interrupted(), tiny_networks, [], PROTOCOL, output)
    (output / 'fake.jsonl').unlink()


def test_single_parts_are_added_to_the_table(built, tiny_networks, tiny_spec):
    output, _, _ = built
    before = read_table(output / 'latency_table.csv')
    (other,) = networks_of(str(tiny_spec), resolution=64)
    part = other.parts['bneck_2']
    with pytest.raises(ValueError, match='has no row for block') as error:
        before.latency_ms(part)
    key = re.search(r'--parts=(\S+)', str(error.value))[1]
    said = block_table.run(FakeDevice(), [], [block_table.part_of(key)], PROTOCOL, output)
    after = read_table(output / 'latency_table.csv')
    assert after.rows.keys() == before.rows.keys() | {part}
    assert after.latency_ms(overhead('float32')) > 0
    assert said.startswith(f'latency table: {output / "latency_table.csv"}')
    assert 'report' not in said


def test_rows_that_another_command_adds_meanwhile_stay(built, tiny_networks, tmp_path):
    output, _, _ = built
    (tmp_path / 'blocks').symlink_to(output / 'blocks')  # built once
    stem, last = (tiny_networks[0].parts[name] for name in ('stem', 'last'))

    class Other(FakeDevice):
        """While it measures, another phone's command begins and ends."""

        def turn(self, case, **options):
            if not self.turns:
                other = FakeDevice()
                other.name = 'other'
                block_table.run(other, [], [last], PROTOCOL, tmp_path)
            return super().turn(case, **options)

    block_table.run(Other(), [], [stem], PROTOCOL, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {'blocks', 'latency_table.csv'}
    parts = {
        name: read_table(tmp_path / 'latency_table.csv', name).rows for name in ('fake', 'other')
    }
    assert parts['fake'].keys() == {stem, overhead('float32')}
    assert parts['other'].keys() == {last, overhead('float32')}


def test_rows_of_another_way_that_came_meanwhile_keep_the_journal(built, tiny_networks, tmp_path):
    output, _, _ = built
    (tmp_path / 'blocks').symlink_to(output / 'blocks')
    stem = tiny_networks[0].parts['stem']
    block_table.run(FakeDevice(), [], [stem], PROTOCOL, tmp_path)
    of_one_thread = (tmp_path / 'latency_table.csv').read_bytes()
    (tmp_path / 'latency_table.csv').unlink()

    class Other(FakeDevice):
        def turn(self, case, **options):
            (tmp_path / 'latency_table.csv').write_bytes(of_one_thread)
            return super().turn(case, **options)

    two_threads = Protocol(threads=2, rounds=2, runs_per_round=2, warmup_runs=1)
    with pytest.raises(ValueError, match=r'would hold rows of fake with 1 thread .* 2 threads'):
        block_table.run(Other(), [], [stem], two_threads, tmp_path)
    assert (tmp_path / 'latency_table.csv').read_bytes() == of_one_thread
    assert (tmp_path / 'fake.jsonl').exists()
    assert not (tmp_path / 'latency_table.csv.lock').exists()


def test_a_table_of_another_way_is_refused_before_the_measuring(built, tiny_networks):
    output, _, _ = built
    before, device = (output / 'latency_table.csv').read_bytes(), FakeDevice()
    part = tiny_networks[0].parts['stem']
    two_threads = Protocol(threads=2, rounds=2, runs_per_round=2, warmup_runs=1)
    with pytest.raises(ValueError, match=r'would hold rows of fake with 1 thread .* 2 threads'):
        block_table.run(device, [], [part], two_threads, output)
    device.settings = lambda: {'mask': '2'}
    with pytest.raises(ValueError, match=r'with 1 thread \(mask 1\) and with 1 thread \(mask 2\)'):
        block_table.run(device, [], [part], PROTOCOL, output)
    assert device.turns == 0
    assert (output / 'latency_table.csv').read_bytes() == before


def test_a_broken_table_is_found_before_the_measuring(tmp_path, tiny_networks):
    (tmp_path / 'latency_table.csv').write_text('a,b\n')
    device = FakeDevice()
    with pytest.raises(ValueError, match="line 1: column 1 is 'a', expected 'device'"):
        block_table.run(device, tiny_networks, [], PROTOCOL, tmp_path)
    assert device.turns == 0


def test_networks_come_in_every_width_scheme_and_form():
    networks = networks_of(
        'small',
        multipliers=('1', '0.75'),
        schemes=('float32', 'int8'),
        forms=('fused', 'decomposed'),
    )
    assert [(n.name, n.scheme, n.hard_swish) for n in networks] == [
        (name, scheme, form)
        for name in ('small', 'small 0.75')
        for scheme in ('float32', 'int8')
        for form in ('fused', 'decomposed')
    ]


def test_a_network_without_h_swish_comes_in_one_form():
    networks = networks_of('v2', schemes=('float32', 'int8'), forms=('decomposed', 'fused'))
    assert [(n.scheme, n.hard_swish) for n in networks] == [
        ('float32', 'decomposed'),
        ('int8', 'decomposed'),
    ]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'schemes': ('int4',)}, "--scheme has 'int4', expected some of float32, int8"),
        ({'schemes': ()}, '--scheme is empty, expected some of float32, int8'),
        ({'forms': ('melted',)}, "--hard_swish has 'melted', expected some of fused, decomposed"),
        ({'multipliers': ('wide',)}, "--multiplier has 'wide', expected a number"),
    ],
)
def test_a_wrong_choice_is_said_so(options, message):
    with pytest.raises(ValueError, match=message):
        networks_of('small', **options)


def test_the_command_line_wants_networks_or_parts(run_python, tmp_path):
    done = run_python('-m', 'benchmark.block_table', f'--output={tmp_path}', cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        'error: expected either --model, networks, or --parts; give one of them\n'
    )


@pytest.mark.slow
def test_the_command_measures_on_this_host(run_python, tmp_path, tiny_spec):
    done = run_python(
        '-m',
        'benchmark.block_table',
        f'--model={tiny_spec}',
        '--resolution=32',
        '--num_classes=3',
        '--scheme=float32,int8',
        '--hard_swish=decomposed',
        '--rounds=1',
        '--output=out',
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert 'Error: median' in done.stdout
    table = read_table(tmp_path / 'out/latency_table.csv')
    assert table.device == 'host'
    assert table.latency_ms(overhead('int8')) > 0
