import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmark import int8_peers
from benchmark.int8_peers import Pair
from benchmark.latency import Latency
from train.tflite_file import Anatomy, dissect


def latency(name, round_medians_ms):
    median = float(np.median(round_medians_ms))
    return Latency(name, 'ab', 10**6, 1, True, 6, median, 1.0, 9.0, 1.0, 2.0, round_medians_ms)


# Rows


def test_a_ratio_is_our_time_over_the_others_inside_each_round():
    latencies = {'a': latency('a', (1.0, 2.0, 4.0)), 'b': latency('b', (4.0, 4.0, 8.0))}
    row = int8_peers.make_versus(Pair('a', 'b', 0.5), latencies)
    assert (row.what, row.ours_ms, row.other_ms, row.ratio) == ('a / b', 2.0, 4.0, 0.5)
    assert (row.low_95, row.high_95, row.met) == (None, None, True)


@pytest.mark.parametrize(('target', 'met'), [(None, None), (0.49, False), (0.5, True)])
def test_a_target_may_be_reached_but_not_exceeded(target, met):
    latencies = {'a': latency('a', (1.0,)), 'b': latency('b', (2.0,))}
    assert int8_peers.make_versus(Pair('a', 'b', target), latencies).met is met


def test_a_target_inside_the_interval_is_missed():
    ours = latency('a', (1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0))
    latencies = {'a': ours, 'b': latency('b', (2.0,) * 7)}
    row = int8_peers.make_versus(Pair('a', 'b', 0.9), latencies)
    assert row.ratio == 0.5 < 0.9 < row.high_95
    assert row.met is False


@pytest.mark.parametrize(
    ('target', 'met', 'end'),
    [(None, None, '0.600]'), (0.5, False, '≤ 0.50: missed'), (0.6, True, '≤ 0.60: met')],
)
def test_a_line_holds_times_ratio_interval_and_verdict(target, met, end):
    row = int8_peers.Versus('a / b', 1.0, 2.0, 0.5, 0.4, 0.6, target, met)
    line = ' '.join(str(row).split())
    assert line.startswith('a / b 1.000 / 2.000 ms ratio 0.500 95 % [0.400, 0.600]')
    assert line.endswith(end)


def test_a_file_is_a_line_with_what_xnnpack_leaves_out():
    row = int8_peers.FileRow('V2 int8', 1.5, 3.5, 2, {'HARD_SWISH': 1, 'QUANTIZE': 2})
    line = ' '.join(str(row).split())
    assert line == 'V2 int8 1.500 ms 3.50 MB 2 partitions outside: 1 HARD_SWISH, 2 QUANTIZE'
    assert str(dataclasses.replace(row, outside={})).endswith('outside: –')


# Groups


@pytest.mark.parametrize(
    ('pairs', 'targets'),
    [
        (int8_peers.LARGE_PAIRS, [0.37, 0.55, 1.0, 1.0, None]),
        (int8_peers.SMALL_PAIRS, [None]),
        (int8_peers.RELEASED_PAIRS, [0.24, None, None]),
    ],
)
def test_targets(pairs, targets):
    assert [pair.target for pair in pairs] == targets


def test_a_group_measures_its_files_together_and_gives_pairs_then_files(monkeypatch):
    files = {'a': Path('1.tflite'), 'b': Path('2.tflite'), 'c': Path('3.tflite')}

    def measure(paths, *, rounds, runs_per_round):
        assert (list(paths), rounds, runs_per_round) == (list(files.values()), 1, 20)
        return [latency(path.name, (float(path.stem),)) for path in paths]

    anatomy = Anatomy(ops={}, float_ops={}, partitions=1, outside={'QUANTIZE': 2})
    monkeypatch.setattr(int8_peers.host, 'measure', measure)
    monkeypatch.setattr(int8_peers, 'dissect', lambda _: anatomy)
    rows = int8_peers.compare(files, [Pair('a', 'c', 0.3), Pair('a', 'b')], rounds=1, runs=20)
    lines = [' '.join(str(row).split()) for row in rows]
    assert lines == [
        'a / c 1.000 / 3.000 ms ratio 0.333 target ≤ 0.30: missed',
        'a / b 1.000 / 2.000 ms ratio 0.500',
        'a 1.000 ms 1.00 MB 1 partitions outside: 2 QUANTIZE',
        'b 2.000 ms 1.00 MB 1 partitions outside: 2 QUANTIZE',
        'c 3.000 ms 1.00 MB 1 partitions outside: 2 QUANTIZE',
    ]


@pytest.fixture
def named_models(monkeypatch):
    """Networks and conversions are their own names, so that a file tells what it was made of."""

    def conversion(name):
        return lambda model, **options: f'{name} {model} {options or ""}'.strip().encode()

    monkeypatch.setattr(
        int8_peers, 'both_networks', lambda peer, model, size: (f'{peer} {size}', f'{model} {size}')
    )
    for name in ('our_int8', 'our_float', 'plain_float', 'plain_int8'):
        monkeypatch.setattr(int8_peers, name, conversion(name))


def test_each_pair_compares_what_it_says(named_models, tmp_path):
    files = {**int8_peers.large_files(tmp_path, 64), **int8_peers.small_files(tmp_path, 64)}
    made = [
        (files[pair.ours].read_text(), files[pair.other].read_text())
        for pair in (*int8_peers.LARGE_PAIRS, *int8_peers.SMALL_PAIRS)
    ]
    assert made == [
        ('our_int8 large 64', 'plain_int8 MobileNetV3Large 64'),
        ('our_int8 large 64', 'our_float large 64'),
        ('our_int8 large 64', 'our_int8 v2 64'),
        ('our_int8 large 64', 'plain_int8 MobileNetV2 64'),
        ('our_float large 64', 'plain_float large 64'),
        ('our_float small_1024 64', 'plain_float small_1024 64'),
    ]


def test_the_release_is_left_out_with_a_line_where_it_is_not(monkeypatch, tmp_path, capsys):
    measured = []
    monkeypatch.setattr(int8_peers, 'large_files', lambda *_: {'large': Path('large')})
    monkeypatch.setattr(int8_peers, 'small_files', lambda *_: {'small': Path('small')})
    monkeypatch.setattr(int8_peers, 'released_files', lambda *_: {'released': Path('released')})
    monkeypatch.setattr(int8_peers, 'compare', lambda files, *_, **__: measured.extend(files) or ())

    def run():
        measured.clear()
        rows = int8_peers.compare_int8(
            'folder', released=str(tmp_path), resolution=32, rounds=1, runs=1
        )
        assert list(rows) == []
        return measured

    (tmp_path / int8_peers.RELEASED_FILE).touch()
    assert run() == ['large', 'small']
    line = f'no {int8_peers.RELEASED_WEIGHTS} in --released={tmp_path}: left out\n'
    assert capsys.readouterr().out == line
    (tmp_path / int8_peers.RELEASED_WEIGHTS).touch()
    assert run() == ['large', 'small', 'released']
    assert capsys.readouterr().out == ''


@pytest.mark.slow
def test_the_files_are_of_the_kinds_that_they_are_named_after(tiny_spec, tmp_path):
    import mobilenet_v3
    from mobilenet_v3.spec_file import load_model_spec

    model = mobilenet_v3.build_model(load_model_spec(str(tiny_spec)), resolution=32, num_classes=4)
    int8_peers.settle_statistics(model)
    contents = {
        'Ours int8': int8_peers.our_int8(model),
        'Ours int8, fused': int8_peers.our_int8(model, hard_swish='fused'),
        'Plain int8': int8_peers.plain_int8(model),
        'Ours float': int8_peers.our_float(model),
        'Plain float': int8_peers.plain_float(model),
    }
    files = int8_peers.write_files(f'{tmp_path}/new', contents)
    assert files['Ours int8, fused'].name == 'ours_int8_fused.tflite'
    pairs = [Pair('Ours int8', 'Plain int8', 1e9), Pair('Ours float', 'Plain float')]
    rows = list(int8_peers.compare(files, pairs, rounds=1, runs=1))
    assert [row.what for row in rows[:2]] == [
        'Ours int8 / Plain int8',
        'Ours float / Plain float',
    ]
    assert rows[0].met is True
    outside = {row.file: row.outside for row in rows[2:]}
    # XNNPACK has no int8 HARD_SWISH, and none of the converter's own int8 files is without it.
    assert 'HARD_SWISH' not in outside['Ours int8']
    assert {'HARD_SWISH'} <= outside['Ours int8, fused'].keys() & outside['Plain int8'].keys()
    assert outside['Ours float'] == outside['Plain float'] == {}
    multiplications = [dissect(files[f'{side} float']).ops['MUL'] for side in ('Ours', 'Plain')]
    assert multiplications[0] == 2  # one a gate
    assert multiplications[1] >= 2


# Networks


@pytest.mark.slow
def test_both_networks_are_one_function_on_activations_of_ordinary_size():
    theirs, ours = int8_peers.both_networks('MobileNetV2', 'v2', 32, num_classes=10)
    images = int8_peers.noise_images(ours)[:2]
    answers = ours(images).numpy()
    np.testing.assert_allclose(answers, theirs(images).numpy(), atol=1e-4)
    assert 1e-3 < np.abs(answers).max() < 1e3
