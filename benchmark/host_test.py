import hashlib
import importlib.metadata

import numpy as np
import pytest

from benchmark import host
from benchmark.device import DeviceError
from benchmark.latency import turn_order
from benchmark.session import cases_of


@pytest.fixture(scope='module')
def conv_tflite(tmp_path_factory):
    """A 3×3 convolution as a real .tflite file, float, its batch dimension unknown."""
    import tensorflow as tf

    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 1, 2)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1])])
    def conv(images):  # [N, 8, 8, 1] -> [N, 8, 8, 2]
        return tf.nn.conv2d(images, kernel, 1, 'SAME')

    converter = tf.lite.TFLiteConverter.from_concrete_functions([conv.get_concrete_function()])
    file = tmp_path_factory.mktemp('models') / 'conv.tflite'
    file.write_bytes(converter.convert())
    return file


class FakeInterpreter:
    """Records what is set; one input as LiteRT describes it."""

    def __init__(self, shape_signature, dtype):
        shape = np.array([1 if size == -1 else size for size in shape_signature], np.int32)
        self.detail = {
            'name': 'images',
            'index': 7,
            'shape': shape,
            'shape_signature': np.array(shape_signature, np.int32),
            'dtype': dtype,
        }
        self.values = None
        self.allocated = False

    def get_input_details(self):
        return [self.detail]

    def resize_tensor_input(self, index, shape):
        assert index == 7
        self.detail['shape'] = np.array(shape, np.int32)

    def allocate_tensors(self):
        self.allocated = True

    def set_tensor(self, index, values):
        assert self.allocated
        assert index == 7
        self.values = values


# Timing


def test_timing_by_turns_with_a_false_clock():
    now_ns, calls = 0, []

    def loader(name, durations_ms):
        durations_ms = iter(durations_ms)

        def run():
            nonlocal now_ns
            calls.append(name)
            now_ns += int(next(durations_ms) * 1e6)

        def load():
            calls.append(name.upper())
            return run

        return load

    a_ms, b_ms = [90, 91, 1, 2, 3, 92, 93, 4, 5, 6], [80, 81, 10, 20, 30, 82, 83, 40, 50, 60]
    a, b = host.time_by_turns(
        [loader('a', a_ms), loader('b', b_ms)],
        warmup_runs=2,
        rounds=2,
        runs_per_round=3,
        clock_ns=lambda: now_ns,
    )
    # Two untimed warm-up runs open every turn: 9x and 8x ms are in no result.
    np.testing.assert_array_equal(a, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(b, [[10, 20, 30], [40, 50, 60]])
    turns = {name: name.upper() + 5 * name for name in 'ab'}
    order = [turns['ab'[index]] for r in range(2) for index in turn_order(r, 2)]
    assert ''.join(calls) == ''.join(order)


# Inputs


@pytest.mark.parametrize(
    ('dtype', 'low', 'high'),
    [
        (np.float32, -1, 1),
        (np.uint8, 0, 255),
        (np.int8, -128, 127),
        (np.int16, -32768, 32767),
    ],
)
def test_inputs_fill_the_range_of_their_dtype_from_a_fixed_seed(dtype, low, high):
    first, second = (FakeInterpreter([1, 64, 64, 3], dtype) for _ in range(2))
    host.set_inputs(first)
    host.set_inputs(second)
    np.testing.assert_array_equal(first.values, second.values)
    assert first.values.dtype == dtype
    # Of 2^16 values of int16 the extremes lie some steps within its range.
    assert first.values.min() == pytest.approx(low, abs=1e-3, rel=1e-3)
    assert first.values.max() == pytest.approx(high, abs=1e-3, rel=1e-3)


def test_unknown_dimensions_become_one():
    interpreter = FakeInterpreter([-1, 8, 8, 3], np.float32)
    interpreter.detail['shape'] = np.array([5, 8, 8, 3])
    host.set_inputs(interpreter)
    assert interpreter.values.shape == (1, 8, 8, 3)


@pytest.mark.parametrize('dtype', [np.int32, np.int64, np.uint32, np.bool_])
def test_places_are_zero(dtype):
    interpreter = FakeInterpreter([1, 4], dtype)
    host.set_inputs(interpreter)
    assert interpreter.values.dtype == dtype
    np.testing.assert_array_equal(interpreter.values, [[0] * 4])


def test_input_of_unknown_range_is_refused():
    message = "input 'images' is complex64, whose valid range is unknown"
    with pytest.raises(ValueError, match=message):
        host.set_inputs(FakeInterpreter([1, 4], np.complex64))


def test_host_facts_are_known():
    facts = host.HostDevice().facts()
    assert facts['cpu']
    assert facts['cores'] >= 1
    assert facts['runtime'].startswith('ai-edge-litert ')


# Files


def test_a_real_file_with_a_dynamic_batch_is_measured(conv_tflite):
    first, again = host.measure(
        [conv_tflite, str(conv_tflite)], warmup_runs=1, rounds=2, runs_per_round=3
    )
    assert (first.model, again.model) == ('conv.tflite', 'conv.tflite (2)')
    assert first.sha256 == hashlib.sha256(conv_tflite.read_bytes()).hexdigest()
    assert first.size_bytes == conv_tflite.stat().st_size
    assert (first.threads, first.runs, len(first.round_medians_ms)) == (1, 6, 2)
    assert 0 < first.min_ms <= first.p5_ms <= first.median_ms <= first.p95_ms


def test_files_of_one_name_are_told_apart_by_their_paths(conv_tflite, tmp_path):
    copy = tmp_path / conv_tflite.name
    copy.write_bytes(conv_tflite.read_bytes())
    result = host.measure([conv_tflite, copy], warmup_runs=1, rounds=1, runs_per_round=1)
    assert [latency.model for latency in result] == [str(conv_tflite), str(copy)]


@pytest.mark.parametrize('name', ['threads', 'warmup_runs', 'rounds', 'runs_per_round'])
def test_counts_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f'{name} is 0, expected at least 1; pass 1 or more'):
        host.measure(['any.tflite'], **{name: 0})


def test_no_file_is_refused():
    with pytest.raises(ValueError, match=r'no model given, expected at least one .tflite file'):
        host.measure([])


@pytest.mark.parametrize('is_directory', [False, True])
def test_a_missing_file_or_a_directory_is_refused(tmp_path, is_directory):
    path = tmp_path / 'a.tflite'
    if is_directory:
        path.mkdir()
    with pytest.raises(ValueError, match=r'a.tflite is not a file, expected a .tflite file; check'):
        host.measure([path])


@pytest.mark.parametrize('content', [b'', b'TFL3', b'\x89PNG\r\n\x1a\n and more'])
def test_a_file_that_is_not_tflite_is_refused(tmp_path, content):
    path = tmp_path / 'a.tflite'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.tflite is not a TFLite file: .* expected b'TFL3'; g"):
        host.measure([path])


@pytest.mark.parametrize('share', [0.0, 0.5, 0.9])
def test_a_truncated_file_is_refused(conv_tflite, tmp_path, share):
    content = conv_tflite.read_bytes()
    path = tmp_path / 'cut.tflite'
    path.write_bytes(content[: max(8, int(share * len(content)))])
    with pytest.raises(ValueError, match=r'cut.tflite cannot be run: .*; export or copy it again'):
        host.measure([path])


def test_a_broken_file_is_found_before_anything_is_measured(conv_tflite, tmp_path):
    cut = tmp_path / 'cut.tflite'
    cut.write_bytes(conv_tflite.read_bytes()[:500])
    with pytest.raises(ValueError, match=r'cut.tflite cannot be run'):
        host.HostDevice().prepare(cases_of([conv_tflite, cut]))


def test_with_and_without_xnnpack_are_two_cases(conv_tflite):
    cases = cases_of([conv_tflite], 'both')
    device = host.HostDevice()
    turns = [device.turn(case, threads=1, warmup_runs=1, runs=2) for case in cases]
    assert [case.xnnpack for case in cases] == [True, False]
    assert all(turn.runs == 2 and turn.min_ms > 0 for turn in turns)


def test_a_file_that_changes_meanwhile_is_refused(conv_tflite, tmp_path):
    copy = tmp_path / 'a.tflite'
    copy.write_bytes(conv_tflite.read_bytes())
    (case,) = cases_of([copy])
    copy.write_bytes(conv_tflite.read_bytes() + b'!')
    with pytest.raises(DeviceError, match=r'a.tflite has changed since the start, expected sha256'):
        host.HostDevice().turn(case, threads=1, warmup_runs=1, runs=1)


def test_figures_of_another_runtime_are_not_mixed_in(monkeypatch):
    before = host.HostDevice().settings()
    assert before == host.HostDevice().settings()
    monkeypatch.setattr(importlib.metadata, 'version', lambda name: '0.0.1')
    after = host.HostDevice().settings()
    assert (after.pop('runtime'), before.pop('runtime') != '') == ('ai-edge-litert 0.0.1', True)
    assert after == before
