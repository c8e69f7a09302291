import dataclasses
from pathlib import Path

import pytest

from benchmark.phones import words

SAMPLES = Path(__file__).parents[2].parent / 'shared/benchmark_model'

# V3-Large, float, on one thread, with the tool of TensorFlow 2.9; the notes on memory left out.
FLOAT = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [30]
INFO: Min runs duration (seconds): [0]
INFO: Num threads: [1]
INFO: Graph: [/data/local/tmp/v3-large_float.tflite]
INFO: #threads used for CPU inference: [1]
INFO: Loaded model /data/local/tmp/v3-large_float.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 21.9128
INFO: Initialized session in 23.009ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=76 first=13596 curr=6203 min=5909 max=13596 avg=6563.17 std=1042

INFO: Running benchmark for at least 30 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=30 first=6196 curr=6132 min=5832 max=6399 avg=6135.03 std=159

INFO: Inference timings in us: Init: 23009, First inference: 13596, Warmup (avg): 6563.17, \
Inference (avg): 6135.03
INFO: Memory footprint delta from the start of the tool (MB): init=45.6445 overall=52.1445
"""
MISSING = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [/data/local/tmp/none.tflite]
ERROR: Could not open '/data/local/tmp/none.tflite'.
ERROR: The model allocation is null/empty
ERROR: Failed to load model /data/local/tmp/none.tflite
ERROR: Benchmarking failed.
"""
HEAD = (
    '\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]'
    '\t  [mem KB]\t[times called]\t[Name]'
)
TABLES = f"""\
INFO: Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
{HEAD}
\t                         AllocateTensors\t    0.408\t    0.408\t100.000%\t100.000%\t   256.000\
\t        1\tAllocateTensors/0

Number of nodes executed: 1
============================== Summary by node type ==============================
\t                             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\
\t  [mem KB]\t[times called]
\t                         AllocateTensors\t        1\t     0.408\t   100.000%\t   100.000%\
\t   256.000\t        1

Timings (microseconds): count=1 curr=408
Memory (bytes): count=0
1 nodes observed

INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
{HEAD}
\t                                 CONV_2D\t    1.713\t    1.725\t  5.601%\t  5.601%\t     0.000\
\t        1\t[MobilenetV3/Conv/add_fold]:0
\t                              HARD_SWISH\t    1.550\t    1.582\t  5.136%\t 10.736%\t     0.000\
\t        1\t[MobilenetV3/Conv/hard_swish/mul_1]:1

============================== Top by Computation Time ==============================
{HEAD}
\t                              HARD_SWISH\t    1.550\t    1.582\t  5.136%\t  5.136%\t     0.000\
\t        1\t[MobilenetV3/Conv/hard_swish/mul_1]:1

Number of nodes executed: 2
"""
CSV = """\
Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
TfLiteXNNPackDelegate, 0.604, 0.5953, 98.1%, 98.1%, 0, 1, [a\tb]:24
SOFTMAX, 0.004, 3.5e-03, 1.9%, 100%, 0, 1, [out]:23

Number of nodes executed: 2
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
TfLiteXNNPackDelegate, 1, 0.595, 98.1%, 98.1%, 0, 1

Timings (microseconds): count=20 first=604 curr=600 min=580 max=640 avg=606.5 std=14
Memory (bytes): count=0
2 nodes observed

Delegate internal:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, F32) IGEMM, 0.1, 0.11, 50%, 50%, 0, 1, Convolution (NHWC, F32) IGEMM:0

Number of nodes executed: 1
"""


def test_a_run_is_read():
    report = words.parse(FLOAT)
    assert report.runs == words.Stat(30, 6196, 6132, 5832, 6399, 6135.03, 159)
    assert report.warmup.count == 76
    assert report.init_ms == 23.009
    assert (report.init_memory_mb, report.memory_mb) == (45.6445, 52.1445)
    assert report.parameters['Num threads'] == '1'


def test_its_turn_is_in_milliseconds_and_without_percentiles_where_the_tool_tells_none():
    turn = words.parse(FLOAT).runs.to_turn()
    assert (turn.runs, turn.mean_ms, turn.min_ms, turn.max_ms) == (
        30,
        pytest.approx(6.13503),
        5.832,
        6.399,
    )
    assert turn.median_ms is turn.p5_ms is turn.p95_ms is None
    assert turn.typical_ms == turn.mean_ms


def test_percentiles_of_newer_tools_are_read():
    line = 'count=30 first=6196 curr=6132 min=5832 max=6399 avg=6135.03 std=159'
    newer = FLOAT.replace(line, line + ' p5=5850 median=6130 p95=6390')
    turn = words.parse(newer).runs.to_turn()
    assert (turn.p5_ms, turn.median_ms, turn.p95_ms) == (5.85, 6.13, 6.39)
    assert turn.typical_ms == 6.13


@pytest.mark.parametrize(
    ('line', 'count', 'p95_us'),
    [
        ('count=1 curr=408', 1, None),
        ('count=30 curr=408(all same)', 30, None),
        ('count=30 curr=408 (all same)', 30, None),
        ('count=30 curr=408(all same) p5=408 median=408 p95=408', 30, 408),
    ],
)
def test_equal_values_are_told_by_one_figure(line, count, p95_us):
    stat = words.parse_stat(line)
    assert stat == words.Stat(count, *[408.0] * 5, 0.0, *[p95_us] * 3)


def test_large_means_come_with_an_exponent():
    stat = words.parse_stat('count=2 first=1 curr=3 min=1 max=3 avg=1.2e+06 std=1')
    assert stat.mean_us == 1_200_000


@pytest.mark.parametrize('line', ['count=0', 'count=3 first=1 avg=2', 'count=2 curr=x'])
def test_a_line_of_counts_without_its_figures_is_refused(line):
    with pytest.raises(ValueError, match=f'gave {line!r}, expected count, first, curr'):
        words.parse_stat(line)


def test_the_log_of_an_app_has_no_levels():
    assert words.parse(FLOAT.replace('INFO: ', '')) == words.parse(FLOAT)


def test_standard_error_may_come_after_standard_output():
    log = FLOAT.replace('INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n', '')
    assert words.parse(log + 'INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n')


def test_the_errors_of_the_tool_are_quoted():
    with pytest.raises(ValueError, match=r"gave 0 lines of counts.*ERROR: Could not open '/data"):
        words.parse(MISSING)


def test_an_end_after_the_warm_up_is_refused():
    with pytest.raises(ValueError, match='gave 1 lines of counts, expected one of the warm-up'):
        words.parse(FLOAT[: FLOAT.index('INFO: count=30')] + 'Segmentation fault\n')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'nothing'),
        ('\x7fELF what\nis this\n', r"'\\x7fELF what' / 'is this'"),
        ('INFO: STARTING!\n', "'INFO: STARTING!'"),
        ('INFO: STARTING!\nCould not open it\n', "'Could not open it'"),
        ('x' * 999, "'" + 'x' * 200 + "'"),
    ],
)
def test_garbage_is_quoted(text, said):
    with pytest.raises(ValueError) as error:
        words.parse(text)
    assert str(error.value).endswith('it said ' + said.replace('\\\\', '\\'))


def test_flags_that_were_taken_pass():
    report = words.parse(FLOAT)
    words.check(
        report,
        {
            'graph': '/data/local/tmp/v3-large_float.tflite',
            'num_runs': 30,
            'min_secs': 0.0,
            'num_threads': 1,
        },
    )


@pytest.mark.parametrize(
    ('asked', 'message'),
    [
        ({'use_xnnpack': True}, 'given --use_xnnpack=true and does not echo it'),
        ({'num_runs': 31}, 'given --num_runs=31 and took 30'),
        ({'graph': 'b.tflite'}, 'given --graph=b.tflite and took /data/local'),
    ],
)
def test_a_flag_that_was_ignored_is_an_error(asked, message):
    with pytest.raises(ValueError, match=message):
        words.check(words.parse(FLOAT), asked)


@pytest.mark.parametrize(('value', 'echo'), [(True, '1'), (False, '0'), (True, 'true')])
def test_booleans_are_echoed_as_numbers(value, echo):
    report = words.parse(FLOAT + f'INFO: Use xnnpack: [{echo}]\n')
    words.check(report, {'use_xnnpack': value})
    with pytest.raises(ValueError, match='and took'):
        words.check(report, {'use_xnnpack': not value})


def test_another_number_of_runs_than_asked_is_an_error():
    report = words.parse(FLOAT)
    short = dataclasses.replace(report, runs=dataclasses.replace(report.runs, count=29))
    with pytest.raises(ValueError, match='ran 29 times, expected --num_runs=30'):
        words.check(short, {'num_runs': 30})


def test_flags_are_written_as_the_tool_reads_them():
    assert words.flags({'graph': 'a.tflite', 'num_runs': 2, 'use_xnnpack': False}) == [
        '--graph=a.tflite',
        '--num_runs=2',
        '--use_xnnpack=false',
    ]


def test_tables_of_ops_are_read():
    profile = words.parse_profile(FLOAT + TABLES)
    assert [op.kind for op in profile.init] == ['AllocateTensors']
    assert profile.init[0].memory_kb == 256
    assert profile.ops == (
        words.Op('CONV_2D', 'MobilenetV3/Conv/add_fold', 0, 1.713, 1.725, 0, 1),
        words.Op('HARD_SWISH', 'MobilenetV3/Conv/hard_swish/mul_1', 1, 1.55, 1.582, 0, 1),
    )
    assert profile.delegated == ()


def test_the_tables_do_not_count_as_runs():
    assert words.parse(FLOAT + TABLES) == words.parse(FLOAT)


def test_older_tables_tell_when_an_op_started():
    older = TABLES.replace('\t  [first]', '\t  [start]\t  [first]').replace(
        '\t    1.713', '\t    0.000\t    1.713'
    )
    older = older.replace('\t    1.550', '\t    1.700\t    1.550').replace(
        '\t    0.408', '\t    0.000\t    0.408', 1
    )
    assert words.parse_profile(older) == words.parse_profile(TABLES)


def test_csv_is_read_with_what_is_inside_the_delegate():
    profile = words.parse_profile(CSV)
    assert [op.kind for op in profile.ops] == ['TfLiteXNNPackDelegate', 'SOFTMAX']
    assert [op.mean_ms for op in profile.ops] == [0.5953, 0.0035]
    assert profile.delegated == (
        words.Op(
            'Convolution (NHWC, F32) IGEMM', 'Convolution (NHWC, F32) IGEMM', 0, 0.1, 0.11, 0, 1
        ),
    )


def test_a_table_that_is_cut_off_is_refused():
    cut = TABLES.replace('executed: 2', 'executed: 3')
    with pytest.raises(ValueError, match='profiled 3 ops and its table has 2'):
        words.parse_profile(cut)


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        (FLOAT, 'gave no table of ops; it said'),
        (TABLES.replace('[node type]', '[what]'), 'a table with the head'),
        (TABLES.replace('    1.713\t', ''), 'gave the row .*expected node type, first'),
        (TABLES.replace('1.713', 'x.713'), 'gave the row .*could not convert'),
    ],
)
def test_a_profile_that_is_none_is_refused(broken, message):
    with pytest.raises(ValueError, match=message):
        words.parse_profile(broken)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason='needs the outputs of real runs in ../shared')
def test_outputs_of_real_runs_are_read():
    float_run = words.parse((SAMPLES / 'v3_large_float.txt').read_text())
    assert float_run.runs.mean_us == 6135.03
    text = (SAMPLES / 'v3_small_uint8_ops.txt').read_text()
    profiled = words.parse(text)
    words.check(profiled, {'num_runs': 20, 'use_xnnpack': False, 'enable_op_profiling': True})
    profile = words.parse_profile(text)
    assert len(profile.ops) == 119
    assert sum(op.mean_ms for op in profile.ops) == pytest.approx(30.8, abs=0.1)
    with pytest.raises(ValueError, match='Could not open'):
        words.parse((SAMPLES / 'missing_model.txt').read_text())
