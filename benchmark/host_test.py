import dataclasses
import hashlib
import itertools
import json

import numpy as np
import pytest

from benchmark import host


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


def latency(model, round_medians_ms, p95_ms=3.25):
    return host.Latency(
        model=model,
        sha256='0' * 64,
        size_bytes=1_500_000,
        threads=1,
        runs=10 * len(round_medians_ms),
        median_ms=2.0,
        p5_ms=1.5,
        p95_ms=p95_ms,
        min_ms=1.0,
        mean_ms=2.125,
        round_medians_ms=tuple(round_medians_ms),
    )


# Order and timing


def test_two_files_run_ab_ba_ba_ab():
    order = [host.turn_order(round_index, 2) for round_index in range(5)]
    assert order == [[0, 1], [1, 0], [1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize('count', [1, 2, 3, 5])
def test_every_file_stands_in_every_place_twice_in_two_cycles(count):
    orders = np.array([host.turn_order(round_index, count) for round_index in range(2 * count)])
    for place in range(count):
        np.testing.assert_array_equal(np.bincount(orders[:, place]), [2] * count)


def test_three_files_follow_each_other_in_both_directions():
    orders = [host.turn_order(round_index, 3) for round_index in range(6)]
    neighbours = {pair for order in orders for pair in itertools.pairwise(order)}
    assert neighbours == set(itertools.permutations(range(3), 2))


def test_timing_by_turns_with_a_false_clock():
    now_ns, calls, seen = 0, [], []

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
        progress=lambda done, rounds: seen.append((done, rounds)),
        clock_ns=lambda: now_ns,
    )
    # Two untimed warm-up runs open every turn: 9x and 8x ms are in no result.
    np.testing.assert_array_equal(a, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(b, [[10, 20, 30], [40, 50, 60]])
    assert ''.join(calls) == 'Aaaaaa' + 'Bbbbbb' + 'Bbbbbb' + 'Aaaaaa'
    assert seen == [(1, 2), (2, 2)]


# Statistics


def test_summary_of_hand_computed_runs():
    samples_ms = np.arange(1.0, 22.0)[::-1].reshape(3, 7)  # 21..1: percentile p is 1 + p / 5
    result = host.summarize(samples_ms, model='a.tflite', sha256='ab', size_bytes=9, threads=2)
    assert result == host.Latency(
        model='a.tflite',
        sha256='ab',
        size_bytes=9,
        threads=2,
        runs=21,
        median_ms=11.0,
        p5_ms=2.0,
        p95_ms=20.0,
        min_ms=1.0,
        mean_ms=11.0,
        round_medians_ms=(18.0, 11.0, 4.0),
    )


def test_ratio_is_formed_inside_each_round_so_drift_cancels():
    drift = np.array([1, 1.1, 1.5, 3, 2, 1.7, 1, 1])
    a, b, c = latency('a', 4 * drift), latency('b', 2 * drift), latency('c', 8 * drift)
    first, second = host.ratios([a, b, c])
    assert (first.model, first.baseline, second.model, second.baseline) == ('b', 'a', 'c', 'a')
    assert [first.median, first.low, first.high] == pytest.approx([0.5] * 3)
    assert [second.median, second.low, second.high] == pytest.approx([2.0] * 3)


def test_ratio_interval_covers_the_noise_and_is_the_same_each_time():
    per_round = np.random.default_rng(1).normal(1.2, 0.1, 40)
    pair = [latency('a', np.ones(40)), latency('b', per_round)]
    (ratio,) = host.ratios(pair)
    assert per_round.min() < ratio.low < ratio.median < ratio.high < per_round.max()
    assert ratio.high - ratio.low < 0.1  # 2 · 1.96 · 1.25 · 0.1 / √40 = 0.078
    assert [ratio] == host.ratios(pair)


def test_few_rounds_give_no_interval():
    (five,) = host.ratios([latency('a', [1] * 5), latency('b', [2, 3, 4, 5, 6])])
    assert five == host.Ratio('b', 'a', 4.0, None, None)
    (six,) = host.ratios([latency('a', [1] * 6), latency('b', [2, 3, 4, 5, 6, 7])])
    assert six.low is not None


def test_ratio_of_files_measured_apart_is_refused():
    with pytest.raises(ValueError, match='b has 3 rounds, expected the 2 of a; measure them tog'):
        host.ratios([latency('a', [1, 1]), latency('b', [1, 1, 1])])


# Inputs


@pytest.mark.parametrize(
    ('dtype', 'low', 'high'), [(np.float32, -1, 1), (np.uint8, 0, 255), (np.int8, -128, 127)]
)
def test_inputs_fill_the_range_of_their_dtype_from_a_fixed_seed(dtype, low, high):
    first, second = (FakeInterpreter([1, 64, 64, 3], dtype) for _ in range(2))
    host.set_inputs(first)
    host.set_inputs(second)
    np.testing.assert_array_equal(first.values, second.values)
    assert first.values.dtype == dtype
    assert first.values.min() == pytest.approx(low, abs=1e-3)
    assert first.values.max() == pytest.approx(high, abs=1e-3)


def test_unknown_dimensions_become_one():
    interpreter = FakeInterpreter([-1, 8, 8, 3], np.float32)
    interpreter.detail['shape'] = np.array([5, 8, 8, 3])
    host.set_inputs(interpreter)
    assert interpreter.values.shape == (1, 8, 8, 3)


def test_input_of_unknown_range_is_refused():
    message = "input 'images' is int32, whose valid range is unknown"
    with pytest.raises(ValueError, match=message):
        host.set_inputs(FakeInterpreter([1, 4], np.int32))


# Output


def test_table_is_aligned_markdown():
    table = host.table(
        [latency('float.tflite', [2.0] * 8), latency('i8.tflite', [1.0] * 8, p95_ms=9.5)]
    )
    assert table.splitlines() == [
        '| model        | size MB | median ms |   p5–p95 ms | ratio to first [95 %] |',
        '| ------------ | ------: | --------: | ----------: | --------------------: |',
        '| float.tflite |    1.50 |     2.000 | 1.500–3.250 |                     1 |',
        '| i8.tflite    |    1.50 |     2.000 | 1.500–9.500 |  0.500 [0.500, 0.500] |',
    ]


def test_table_leaves_out_an_interval_that_is_not_known():
    table = host.table([latency('a', [2.0]), latency('b', [1.0])])
    assert table.splitlines()[-1].endswith('  0.500 |')


def test_json_holds_every_field():
    pair = [latency('a', [2.0] * 8), latency('b', [1.0] * 8)]
    values = json.loads(json.dumps(host.to_json(pair)))
    assert values['models'][1] == {**dataclasses.asdict(pair[1]), 'round_medians_ms': [1.0] * 8}
    assert values['ratios'] == [
        {'model': 'b', 'baseline': 'a', 'median': 0.5, 'low': 0.5, 'high': 0.5}
    ]


def test_host_facts_are_known():
    facts = host.host_facts()
    assert facts['cpu']
    assert facts['cores'] >= 1
    assert facts['runtime'].startswith('ai-edge-litert ')


# Files


def test_a_real_file_with_a_dynamic_batch_is_measured(conv_tflite):
    first, again = host.measure(
        [conv_tflite, str(conv_tflite)], warmup_runs=1, rounds=2, runs_per_round=3
    )
    assert first.model == again.model == 'conv.tflite'
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
    def never(done, rounds):
        raise AssertionError

    with pytest.raises(ValueError, match=r'missing.tflite is not a file'):
        host.measure([conv_tflite, tmp_path / 'missing.tflite'], progress=never)
