import dataclasses

import numpy as np
import pytest
from PIL import Image

from benchmark.blocks.op_profile import plot_profile, profile_file, profile_of_words, profile_table
from benchmark.device import DeviceError
from benchmark.host import HostDevice
from benchmark.latency import turn_of
from benchmark.phones import words
from benchmark.session import Protocol, cases_of
from train.tflite_file import dissect

PROTOCOL = Protocol(rounds=1, runs_per_round=2, warmup_runs=1)
BLOCKS = ['stem', 'bneck_1', 'bneck_2', 'bneck_3', 'bneck_4', 'last', 'head']
HEAD = '[node type] [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]'.replace(
    '] [', ']\t['
)


@pytest.fixture(scope='module')
def file(tiny_model, tmp_path_factory):
    from benchmark.untrained import our_float

    path = tmp_path_factory.mktemp('exported') / 'tiny.tflite'
    path.write_bytes(our_float(tiny_model))
    return path


class BytesDevice(HostDevice):
    """Takes as many milliseconds as a file has thousands of bytes."""

    def turn(self, case, *, threads, warmup_runs, runs):
        return turn_of([case.size_bytes / 1e3] * runs)


@pytest.fixture(scope='module')
def case(file):
    return cases_of([file])[0]


@pytest.fixture(scope='module')
def profile(case):
    return profile_file(BytesDevice(), case, PROTOCOL)


def printed(*rows):
    """What benchmark_model prints of ops (kind, milliseconds, name)."""
    lines = [f'{kind}\t{ms}\t{ms}\t1%\t1%\t0\t1\t{name}' for kind, ms, name in rows]
    return (
        'Operator-wise Profiling Info for Regular Benchmark Runs:\n'
        '============================== Run Order ==============================\n'
        + '\n'.join([HEAD, *lines])
        + f'\n\nNumber of nodes executed: {len(rows)}\n'
    )


def test_pieces_that_take_int16_or_places_are_measured(tiny_model, tmp_path):
    import tensorflow as tf

    from export.convert import convert_int16
    from export.deploy import deploy_form

    @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 8])])
    def colours(logits):
        return tf.gather(tf.eye(8), tf.argmax(logits, -1, tf.int32))

    concrete = colours.get_concrete_function()
    labels = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    image = np.zeros(tiny_model.input_shape[1:], np.float32)
    int16 = convert_int16(deploy_form(tiny_model, hard_swish='decomposed'), [image])
    kinds = {}
    for name, content in {'labels': labels, 'int16': int16}.items():
        (tmp_path / f'{name}.tflite').write_bytes(content)
        (case,) = cases_of([tmp_path / f'{name}.tflite'])
        kinds[name] = {op.kind for op in profile_file(HostDevice(), case, PROTOCOL).ops}
    assert {'ARG_MAX', 'GATHER'} <= kinds['labels']
    assert 'CONV_2D' in kinds['int16']


def test_every_op_of_a_file_is_measured_and_has_its_block(case, file):
    profile = profile_file(HostDevice(), case, PROTOCOL)
    ops = dissect(file).ops
    assert {kind: sum(op.kind == kind for op in profile.ops) for kind in ops} == ops
    assert all(op.ms > 0 for op in profile.ops)
    assert list(profile.blocks_ms) == BLOCKS
    assert {op.block for op in profile.ops} == set(BLOCKS)


def test_shares_sum_to_one(profile):
    assert sum(profile.shares.values()) == pytest.approx(1)


def test_blocks_and_ops_are_measured_beside_the_whole(profile, file):
    assert profile.whole_ms == file.stat().st_size / 1e3
    assert profile.blocks_ms['bneck_4'] > max(op.ms for op in profile.ops if op.block == 'bneck_4')
    assert (profile.model, profile.device) == ('tiny.tflite', 'host')


def test_pieces_are_measured_as_the_file_is(file):
    seen = []

    class Device(BytesDevice):
        def turn(self, case, **options):
            seen.append(case.xnnpack)
            return super().turn(case, **options)

    (case,) = cases_of([file], 'false')
    assert profile_file(Device(), case, PROTOCOL).model == 'tiny.tflite without XNNPACK'
    assert not any(seen)


def test_a_device_that_fails_is_heard(case):
    class Device(HostDevice):
        def turn(self, case, *, threads, warmup_runs, runs):
            raise DeviceError('unplugged')

    with pytest.raises(DeviceError, match='unplugged'):
        profile_file(Device(), case, PROTOCOL)


def test_the_table_holds_blocks_kinds_and_the_costliest_ops(profile):
    said = profile_table(profile)
    first_cells = [line.split('|')[1].strip() for line in said.splitlines() if '|' in line]
    assert first_cells[2 : 2 + len(BLOCKS)] == BLOCKS
    for name in ('sum', 'whole file', 'CONV_2D', 'HARD_SWISH'):
        assert name in first_cells
    costliest = max(profile.ops, key=lambda op: op.ms)
    after_head = first_cells[first_cells.index('costliest ops') + 2]
    assert after_head == costliest.name.split(';')[0]


def test_names_are_no_formulas(profile, tmp_path):
    plot_profile(tmp_path / 'a.png', dataclasses.replace(profile, model=r'$\frac$ and $'))
    assert (tmp_path / 'a.png').stat().st_size > 1000


def test_the_plot_is_a_picture(profile, tmp_path):
    plot_profile(tmp_path / 'profile.png', profile)
    with Image.open(tmp_path / 'profile.png') as picture:
        assert picture.width > 1000


def test_ops_that_a_phone_printed_are_summed_by_block():
    text = printed(
        ('CONV_2D', 0.5, '[large/stem/conv/BiasAdd]:0'),
        ('HARD_SWISH', 0.25, '[large/stem/act/mul_1;large/stem/act/Relu6]:1'),
        ('CONV_2D', 0.25, '[large/bneck_1/project/conv/BiasAdd]:2'),
    )
    profile = profile_of_words('large', 'pixel', words.parse_profile(text), whole_ms=1.1)
    assert profile.blocks_ms == {'stem': 0.75, 'bneck_1': 0.25}
    assert profile.shares == {'stem': 0.75, 'bneck_1': 0.25}
    assert 'large on pixel' in profile_table(profile)


def test_what_a_delegate_tells_of_its_piece_stands_for_the_piece(tmp_path):
    inner = printed(
        ('Convolution (NHWC, F32) IGEMM', 0.5, 'Delegate/Convolution:0'),
        ('Add (ND)', 0.125, 'Delegate/Add:1'),
    ).replace('Operator-wise Profiling Info for Regular Benchmark Runs', 'Delegate internal')
    text = printed(('DELEGATE', 0.75, '[StatefulPartitionedCall:0]:9')) + '\n' + inner
    parsed = words.parse_profile(text)
    assert len(parsed.delegated) == 2
    profile = profile_of_words('large', 'pixel', parsed, whole_ms=0.8)
    assert [op.kind for op in profile.ops] == ['Convolution (NHWC, F32) IGEMM', 'Add (ND)']
    assert '(not told)' in profile_table(profile)
    plot_profile(tmp_path / 'profile.png', profile)
