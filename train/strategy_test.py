import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tf_keras

from train.metrics_file import read_metrics
from train.strategy import is_chief, make_strategy, synchronize_batch_norm
from train.testing import free_ports, variables

# Runs a config under a strategy and prints how many examples every evaluation saw.
RUN = """
import json
import sys
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict
from train import loop, strategy
from train.evaluator import Evaluator

with open('config.json') as file:
    config = ConfigDict(json.load(file))
if sys.argv[1] == 'mirrored':
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
else:
    devices = strategy.make_strategy()

evaluated, statistics = [], Evaluator.statistics

def spy_statistics(self, model):
    kept = statistics(self, model)
    evaluated.append(len(next(iter(kept.values()))))
    return kept

Evaluator.statistics = spy_statistics
metrics = loop.run(config, 'run', devices)
print(json.dumps({
    'replicas': devices.num_replicas_in_sync,
    'chief': strategy.is_chief(devices),
    'evaluated': evaluated,
    'metrics': metrics,
}))
"""


def write_config(folder, config):
    (folder / 'config.json').write_text(config.to_json())


def four_steps(config, **train):
    """A run of four steps, in which replicas see what one device sees."""
    config.train.epochs = 1.6
    config.train.weight_decay = 10.0  # so that it is most of the gradient
    config.train.sync_batch_norm = True
    config.train.update(train)
    config.model.dropout = 0.0  # whose masks are each replica's own
    config.log_every_steps = 1
    return config


def losses(workdir):
    return [line['train/loss'] for line in read_metrics(str(workdir)) if 'train/loss' in line]


@pytest.fixture(scope='module')
def one_device(tiny_config, tmp_path_factory):
    """The metrics and the folder of a run on one device."""
    from train import loop

    workdir = tmp_path_factory.mktemp('one') / 'run'
    return loop.run(four_steps(tiny_config()), str(workdir)), workdir


def assert_the_same_run(run, one_device):
    """Asserts that losses, metrics, weights, statistics and averages are those of one device."""
    (metrics, workdir), (expected, one) = run, one_device
    assert len(losses(one)) == 4
    assert losses(workdir) == pytest.approx(losses(one), rel=1e-4)
    for weights in ('raw', 'averaged'):
        assert metrics[weights] == pytest.approx(expected[weights], rel=1e-3)
    ours, theirs = variables(workdir), variables(one)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-3, atol=2e-4, err_msg=name)


# ------------------------------------------------------------------------ several devices


@pytest.fixture(scope='module')
def mirrored(run_python, tiny_config, tmp_path_factory):
    """A run on two virtual CPUs, in a process of its own."""
    folder = tmp_path_factory.mktemp('mirrored')
    write_config(folder, four_steps(tiny_config()))
    result = run_python('-c', RUN, 'mirrored', cwd=folder)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1]), folder / 'run'


@pytest.mark.slow
def test_replicas_run_save_and_write_results(mirrored):
    printed, workdir = mirrored
    assert printed['replicas'] == 2
    assert json.loads((workdir / 'results.json').read_text())['step'] == 4
    assert (workdir / 'checkpoints' / 'step_00000004').is_dir()


@pytest.mark.slow
def test_replicas_do_what_one_device_does(mirrored, one_device):
    # Gradients, weight decay and statistics are those of one batch, not of one batch a replica.
    assert_the_same_run((mirrored[0]['metrics'], mirrored[1]), one_device)


@pytest.mark.slow
@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_replicas_of_other_tasks_do_what_one_device_does(
    task, run_python, tiny_detection_config, tiny_segmentation_config, tmp_path
):
    from train import loop

    made = {'detection': tiny_detection_config, 'segmentation': tiny_segmentation_config}
    config = four_steps(made[task](), weight_decay=1e-5)
    config.segmentation.dropout = 0.0
    metrics = loop.run(config, str(tmp_path / 'one'))
    write_config(tmp_path, config)
    result = run_python('-c', RUN, 'mirrored', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout.splitlines()[-1])
    examples = json.loads((tmp_path / 'one' / 'results.json').read_text())['examples']
    assert printed['evaluated'] == [examples] * len(printed['evaluated'])
    assert losses(tmp_path / 'run') == pytest.approx(losses(tmp_path / 'one'), rel=1e-3)
    loss, expected = printed['metrics']['averaged']['loss'], metrics['averaged']['loss']
    assert loss == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_replicas_that_take_their_batches_in_parts_move_as_one_device(
    run_python, tiny_config, tmp_path
):
    from train import loop

    config = four_steps(tiny_config(), sync_batch_norm=False)
    config.finetune.freeze_batch_norm = True  # its statistics are those of a part otherwise
    loop.run(config, str(tmp_path / 'one'))
    config.train.parts = 2
    write_config(tmp_path, config)
    result = run_python('-c', RUN, 'mirrored', cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert losses(tmp_path / 'run') == pytest.approx(losses(tmp_path / 'one'), rel=1e-4)


# Takes a step in two parts on two virtual CPUs and prints of each sum over replicas: of how many
# tensors, and in how many loops, of which the outer is over steps and the inner over parts.
SUMS = """
import json
import tensorflow as tf
from ml_collections import ConfigDict
from train.data import pipeline
from train.data.source import open_source
from train.run import Run, resolve_spec
from train.trainer import Trainer

with open('config.json') as file:
    config = ConfigDict(json.load(file))
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
source = open_source(config.data)
with strategy.scope():
    task = Run(config, resolve_spec(config), source.labels).make_task()
    trainer = Trainer(task, strategy, 10.0, 100)
batches = strategy.distribute_datasets_from_function(
    lambda context: pipeline.train_batches(
        source.train, task, batch_size=2, seed=0, start_step=0, context=context
    )
)
sums, reduce = [], type(strategy.extended)._batch_reduce_to

def spy(self, operation, pairs, *options):
    graph, loops = tf.compat.v1.get_default_graph(), 0
    while graph is not None:
        loops += 'while_body' in getattr(graph, 'name', '')
        graph = getattr(graph, 'outer_graph', None)
    sums.append([len(pairs), loops])
    return reduce(self, operation, pairs, *options)

type(strategy.extended)._batch_reduce_to = spy
trainer.train(iter(batches), 1)
print(json.dumps([len(trainer.model.trainable_variables), sums]))
"""


@pytest.mark.slow
def test_gradients_of_all_parts_are_summed_over_replicas_once_a_step(
    run_python, tiny_config, tmp_path
):
    config = tiny_config()
    config.train.parts = 2
    write_config(tmp_path, config)
    result = run_python('-c', SUMS, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    count, sums = json.loads(result.stdout.splitlines()[-1])
    assert sums == [[count, 1]]


# Losses that go by the number of objects or pixels, of a batch on one device and on two, one of which
# has nearly all that count.
BY_COUNT = """
import tensorflow as tf
from train.replicas import images_by_counted

cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
summed, counted = [3.0, 5.0, 7.0, 11.0], [90.0, 8.0, 0.0, 0.0]
loss = lambda summed, counted: tf.reduce_sum(
    summed * images_by_counted(tf.cast(tf.shape(summed)[0], tf.float32), tf.reduce_sum(counted))
) / 4
one = loss(tf.constant(summed), tf.constant(counted))
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
share = lambda values: strategy.experimental_distribute_values_from_function(
    lambda context: tf.constant(values[2 * context.replica_id_in_sync_group :][:2])
)
shares = tf.function(lambda *given: strategy.run(loss, given))(share(summed), share(counted))
print(float(one), float(strategy.reduce('SUM', shares, axis=None)))
"""


@pytest.mark.slow
def test_losses_by_what_counts_go_by_that_of_all_replicas(run_python, tmp_path):
    result = run_python('-c', BY_COUNT, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    one, two = map(float, result.stdout.split())
    assert one == pytest.approx(26 / 98)
    assert two == pytest.approx(one)


@pytest.mark.slow
def test_replicas_evaluate_every_example_once(mirrored):
    printed, _ = mirrored
    assert printed['evaluated'] == [7, 7]  # raw and averaged


def test_a_network_without_batch_norm_has_nothing_to_synchronize():
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(2,))])
    with pytest.raises(
        ValueError, match=r'config\.train\.sync_batch_norm is set, and the network has'
    ):
        synchronize_batch_norm(model)


@pytest.mark.slow
def test_a_run_of_replicas_is_loaded_on_one_device(mirrored):
    from train.run import load_trained

    _, model, state = load_trained(str(mirrored[1]))
    assert state['step'] == 4
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def run_workers(folder, ports, python_environment):
    """Both workers' (exit code, standard output, standard error)."""
    cluster = {'worker': [f'127.0.0.1:{port}' for port in ports]}
    workers = []
    for index in range(len(ports)):
        task = {'cluster': cluster, 'task': {'type': 'worker', 'index': index}}
        workers.append(
            subprocess.Popen(
                [sys.executable, '-c', RUN, 'workers'],
                cwd=folder,
                env={**python_environment, 'TF_CONFIG': json.dumps(task)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        outputs = [worker.communicate(timeout=280) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [(worker.returncode, *output) for worker, output in zip(workers, outputs, strict=True)]


@pytest.fixture(scope='module')
def two_workers(tiny_config, python_environment, tmp_path_factory):
    """A run of two workers on loopback."""
    folder = tmp_path_factory.mktemp('workers')
    write_config(folder, four_steps(tiny_config()))
    results = run_workers(folder, free_ports(2), python_environment)
    for code, _, errors in results:
        assert code == 0, errors
    return [json.loads(output.splitlines()[-1]) for _, output, _ in results], folder / 'run'


@pytest.mark.slow
def test_workers_agree_and_the_chief_writes(two_workers):
    (chief, other), workdir = two_workers
    assert [chief['chief'], other['chief']] == [True, False]
    assert chief['replicas'] == other['replicas'] == 2
    assert chief['metrics'] == other['metrics']
    assert json.loads((workdir / 'results.json').read_text())['step'] == 4
    assert (workdir / 'checkpoints' / 'step_00000004').is_dir()
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 2, 3, 4, 4]  # evaluated once


@pytest.mark.slow
def test_workers_do_what_one_device_does(two_workers, one_device):
    assert_the_same_run((two_workers[0][0]['metrics'], two_workers[1]), one_device)


@pytest.mark.slow
def test_workers_evaluate_every_example_once(two_workers):
    assert [worker['evaluated'] for worker in two_workers[0]] == [[7, 7], [7, 7]]


# ------------------------------------------------------------------------------ TF_CONFIG


WORKER = '"cluster": {"worker": ["127.0.0.1:1"]}'


@pytest.mark.parametrize(
    'value',
    [
        'garbage',
        '[]',
        '7',
        '{}',
        f'{{{WORKER}}}',
        f'{{{WORKER}, "task": {{"type": "worker"}}}}',
        '{"cluster": {"ps": []}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}',
        f'{{{WORKER}, "task": {{"type": "worker", "index": 3}}}}',
        f'{{{WORKER}, "task": {{"type": "wroker", "index": 0}}}}',
        f'{{{WORKER}, "task": {{"type": "worker", "index": "a"}}}}',
        '{"cluster": {"worker": "127.0.0.1:1"}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_cluster_that_is_none_is_shown_with_an_example(monkeypatch, value):
    monkeypatch.setenv('TF_CONFIG', value)
    with pytest.raises(ValueError, match=r'TF_CONFIG is .*; expected .*"cluster": \{"worker": \['):
        make_strategy()


def test_without_a_cluster_there_is_one_device(monkeypatch):
    monkeypatch.delenv('TF_CONFIG', raising=False)
    assert make_strategy().num_replicas_in_sync == 1
    assert is_chief(make_strategy())


@pytest.mark.parametrize(
    ('kind', 'index', 'jobs', 'chief'),
    [
        ('worker', 0, ['worker'], True),
        ('worker', 1, ['worker'], False),
        ('chief', 0, ['chief', 'worker'], True),
        ('worker', 0, ['chief', 'worker'], False),
        (None, None, [], True),
    ],
)
def test_one_worker_is_the_chief(kind, index, jobs, chief):
    resolver = SimpleNamespace(
        task_type=kind, task_id=index, cluster_spec=lambda: SimpleNamespace(jobs=jobs)
    )
    assert is_chief(SimpleNamespace(cluster_resolver=resolver)) is chief


# ------------------------------------------------------------------------------------ TPU


@pytest.mark.parametrize(
    'address',
    ['grpc://', 'grpc://host', 'grpc://:8470', 'grpc://host:x', 'grpc://host:99999', 'grpc://[::1'],
)
def test_a_malformed_address_is_refused(address):
    with pytest.raises(ValueError, match=r"cannot use TPU 'grpc://.*; expected .*grpc://HOST:PORT"):
        make_strategy(address)


def test_an_address_where_nothing_listens_is_refused_at_once():
    port = free_ports(1)[0]
    with pytest.raises(
        ValueError, match=f"cannot reach TPU 'grpc://127.0.0.1:{port}': .*refused; e"
    ):
        make_strategy(f'grpc://127.0.0.1:{port}')


@pytest.mark.slow
def test_a_local_tpu_that_is_not_there_is_one_line(run_python, tmp_path):
    result = run_python('-m', 'train.main', '--tpu=local', '--workdir=w', cwd=tmp_path)
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: cannot use TPU 'local': ")
    assert line.endswith('or grpc://HOST:PORT')
    assert 'Traceback' not in result.stderr
