import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.strategy import is_chief, make_strategy
from train.testing import free_ports, write_records

# Runs a config under a strategy and prints what every evaluation and every step saw.
RUN = """
import json
import sys
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict
from train import loop, strategy
from train.evaluator import Evaluator
from train.trainer import Trainer

with open('config.json') as file:
    config = ConfigDict(json.load(file))
if sys.argv[1] == 'mirrored':
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    devices = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
else:
    devices = strategy.make_strategy()

evaluated, losses = [], []
statistics, train = Evaluator.statistics, Trainer.train

def spy_statistics(self, model):
    kept = statistics(self, model)
    evaluated.append(len(kept['top1']))
    return kept

def spy_train(self, iterator, count):
    losses.append(train(self, iterator, count))
    return losses[-1]

Evaluator.statistics, Trainer.train = spy_statistics, spy_train
metrics = loop.run(config, 'run', devices)
print(json.dumps({
    'replicas': devices.num_replicas_in_sync,
    'chief': strategy.is_chief(devices),
    'evaluated': evaluated,
    'losses': losses,
    'metrics': metrics,
}))
"""


def write_config(folder, config):
    (folder / 'config.json').write_text(config.to_json())


@pytest.fixture(scope='module')
def one_device(tiny_config):
    """The task, losses and weights, at the start and after, of two steps on one device."""
    from train import loop
    from train.data.source import open_source
    from train.run import Run, resolve_spec
    from train.trainer import Trainer

    config = two_steps(tiny_config())
    source = open_source(config.data)
    tf_keras.utils.set_random_seed(config.seed)
    task = Run(config, resolve_spec(config), source.labels).make_task()
    trainer = Trainer(task, tf.distribute.get_strategy(), 2.5, 2)
    start = trainer.model.get_weights()
    batches = loop.pipeline.train_batches(source.train, task, batch_size=4, seed=config.seed)
    iterator = iter(batches)
    losses = [trainer.train(iterator, 1) for _ in range(2)]
    return SimpleNamespace(task=task, losses=losses, start=start, end=trainer.model.get_weights())


def two_steps(config):
    config.train.epochs = 0.8
    config.model.dropout = 0.0
    config.train.weight_decay = 10.0  # so that it is most of the gradient
    return config


# ------------------------------------------------------------------------ several devices


@pytest.fixture(scope='module')
def mirrored(run_python, tiny_config, tmp_path_factory):
    """Two steps of a run on two virtual CPUs, in a process of its own."""
    folder = tmp_path_factory.mktemp('mirrored')
    write_config(folder, two_steps(tiny_config()))
    result = run_python('-c', RUN, 'mirrored', cwd=folder)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1]), folder / 'run'


@pytest.mark.slow
def test_replicas_run_save_and_write_results(mirrored):
    printed, workdir = mirrored
    assert printed['replicas'] == 2
    assert json.loads((workdir / 'results.json').read_text())['step'] == 2
    assert [path.name for path in (workdir / 'checkpoints').iterdir()] == ['step_00000002']
    assert np.isfinite(printed['metrics']['averaged']['loss'])


@pytest.mark.slow
def test_replicas_share_one_batch(mirrored, one_device):
    # BN sees half of the batch each, so the losses are near each other, not equal.
    printed, _ = mirrored
    assert printed['losses'] == pytest.approx(one_device.losses, rel=0.1)


@pytest.mark.slow
def test_replicas_move_the_weights_as_one_device_does(mirrored, one_device):
    # Gradients and weight decay are those of one batch, not of one batch a replica.
    from train import checkpoint

    model = one_device.task.build()
    saved = checkpoint.latest(str(mirrored[1] / 'checkpoints'))
    tf.train.Checkpoint(model=model).read(saved.variables).expect_partial()
    kernels = [i for i, weight in enumerate(model.weights) if weight.name.endswith('/kernel:0')]
    ours, theirs = (
        np.concatenate([(end[i] - one_device.start[i]).ravel() for i in kernels])
        for end in (model.get_weights(), one_device.end)
    )
    assert np.linalg.norm(ours - theirs) < 0.4 * np.linalg.norm(theirs)


@pytest.mark.slow
def test_replicas_that_take_their_batches_in_parts_move_as_one_device(
    run_python, tiny_config, tmp_path
):
    config = two_steps(tiny_config())
    config.finetune.freeze_batch_norm = True  # its statistics are those of a part otherwise
    losses = []
    for devices, parts in (('one', 1), ('mirrored', 2)):
        config.train.parts = parts
        folder = tmp_path / devices
        folder.mkdir()
        write_config(folder, config)
        result = run_python('-c', RUN, devices, cwd=folder)
        assert result.returncode == 0, result.stderr
        losses.append(json.loads(result.stdout.splitlines()[-1])['losses'])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.slow
def test_replicas_evaluate_every_example_once(mirrored):
    printed, _ = mirrored
    assert printed['evaluated'] == [7, 7]  # raw and averaged


@pytest.mark.slow
def test_a_run_of_replicas_is_loaded_on_one_device(mirrored):
    from train.run import load_trained

    _, model, state = load_trained(str(mirrored[1]))
    assert state['step'] == 2
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
def two_workers(tiny_config, image_folder, python_environment, tmp_path_factory):
    """Two steps of a run of two workers on loopback, from TFRecords in several files."""
    folder = tmp_path_factory.mktemp('workers')
    write_records(folder / 'records', image_folder)
    config = two_steps(tiny_config())
    config.data.dataset = f'tfrecord:{folder}/records'
    write_config(folder, config)
    results = run_workers(folder, free_ports(2), python_environment)
    for code, _, errors in results:
        assert code == 0, errors
    return [json.loads(output.splitlines()[-1]) for _, output, _ in results], folder / 'run'


@pytest.mark.slow
def test_workers_agree_and_the_chief_writes(two_workers):
    (chief, other), workdir = two_workers
    assert [chief['chief'], other['chief']] == [True, False]
    assert chief['replicas'] == other['replicas'] == 2
    assert chief['losses'] == other['losses']
    assert chief['metrics'] == other['metrics']
    assert json.loads((workdir / 'results.json').read_text())['step'] == 2
    assert [path.name for path in (workdir / 'checkpoints').iterdir()] == ['step_00000002']
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [2, 2]  # loss and evaluation, once each


@pytest.mark.slow
def test_workers_share_one_batch(two_workers, one_device):
    assert two_workers[0][0]['losses'] == pytest.approx(one_device.losses, rel=0.1)


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
