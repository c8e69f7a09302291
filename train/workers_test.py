import json
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from train.metrics_file import read_metrics
from train.testing import free_ports, variables, write_records
from train.workers import Agreement, _digest, _meet, make_workers

# A worker of a run that says when it has taken a step, and after one of them waits to go on.
RUN = """
import json, os, sys, time
from ml_collections import ConfigDict
from train import cli

def main():
    cli.import_tensorflow()
    from train import loop, strategy
    from train.trainer import Trainer
    train = Trainer.train

    def and_tell(self, iterator, count):
        loss = train(self, iterator, count)
        step = int(self.optimizer.iterations.numpy())
        print('stepped', step, flush=True)
        while step == int(os.environ['HELD']) and not os.path.exists('go'):
            time.sleep(0.05)
        return loss

    Trainer.train = and_tell
    config = ConfigDict(json.load(open('config.json')))
    loop.run(config, 'run', strategy.make_strategy('', 60))

cli.run(main, lambda: None, continues=True)
"""


class Workers:
    """Two processes of one run on loopback, in one folder or in one each; held after a step."""

    def __init__(self, folder, environment, held=0):
        folders = folder if isinstance(folder, list) else [folder] * 2
        self._held, self._go = held, folders[0] / 'go'
        self._go.unlink(missing_ok=True)
        ports = free_ports(2)
        cluster = {'worker': [f'127.0.0.1:{port}' for port in ports]}
        self.processes = [
            subprocess.Popen(
                [sys.executable, '-c', RUN],
                cwd=folders[index],
                env={
                    **environment,
                    'HELD': str(held),
                    'TF_CONFIG': json.dumps(
                        {'cluster': cluster, 'task': {'type': 'worker', 'index': index}}
                    ),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]

    def signal(self, index, number):
        """To one of them, while it waits; then both may go on."""
        for line in self.processes[index].stdout:
            if line.startswith(f'stepped {self._held}'):
                self.processes[index].send_signal(number)
                return self.end()
        pytest.fail(f'no step {self._held}: {self.end()}')

    def end(self):
        """Both workers' (exit code, standard output, standard error)."""
        self._go.touch()
        try:
            outputs = [process.communicate(timeout=240) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
        codes = [process.returncode for process in self.processes]
        return [(code, *output) for code, output in zip(codes, outputs, strict=True)]


@pytest.fixture(scope='module')
def folder(tiny_config, image_folder, tmp_path_factory):
    """A folder with the config of a run of eight steps."""
    folder = tmp_path_factory.mktemp('workers')
    write_records(folder / 'records', image_folder)
    config = tiny_config()
    config.data.dataset = f'tfrecord:{folder}/records'
    config.log_every_steps = 1
    (folder / 'config.json').write_text(config.to_json())
    return folder


@pytest.fixture(scope='module')
def stopped(folder, python_environment):
    """What the workers end with, where one of them that does not write is told to after a step."""
    return Workers(folder, python_environment, held=1).signal(1, signal.SIGTERM)


@pytest.fixture(scope='module')
def killed(stopped, folder, python_environment):
    """What each is left with, where they go on until the other one is killed: first 1, then 0."""
    return [
        Workers(folder, python_environment, held=step).signal(index, signal.SIGKILL)[1 - index]
        for index, step in ((1, 5), (0, 6))
    ]


@pytest.fixture(scope='module')
def finished(killed, folder, python_environment):
    """What they end with, where they go on to the end."""
    return Workers(folder, python_environment).end()


@pytest.mark.slow
def test_a_signal_to_one_worker_saves_and_ends_both(stopped):
    for code, out, err in stopped:
        assert code == 0, err
        assert ' of 8, saved; the same command continues' in out
    steps = {out[out.index('stopped at') :].split()[3] for _, out, _ in stopped}
    assert len(steps) == 1
    assert int(steps.pop()) < 8


@pytest.mark.slow
@pytest.mark.parametrize('worker', [0, 1])
def test_a_worker_whose_peer_was_killed_says_so_and_ends(killed, worker):
    code, _, err = killed[worker]
    assert code == 2
    last = err.splitlines()[-1]
    assert last.startswith('error: another worker of TF_CONFIG is gone (')
    assert last.endswith('start all of them again with the same commands, and the run continues')
    assert 'Traceback' not in err


@pytest.mark.slow
def test_workers_that_were_started_again_end_the_run_as_if_nothing_had_been(
    finished, folder, tmp_path, python_environment
):
    for code, out, err in finished:
        assert code == 0, err
        assert 'stepped 8' in out
    assert json.loads((folder / 'run' / 'results.json').read_text())['step'] == 8
    losses = [line['step'] for line in read_metrics(str(folder / 'run')) if 'train/loss' in line]
    assert losses == list(range(1, 9))

    shutil.copy(folder / 'config.json', tmp_path)
    assert [code for code, _, _ in Workers(tmp_path, python_environment).end()] == [0, 0]
    found, expected = (variables(where / 'run') for where in (folder, tmp_path))
    assert found.keys() == expected.keys()
    # Statistics of BN are saved as the means of the replicas': equal but for rounding.
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


class Others(Agreement):
    """Of this worker and two others, which have values of their own."""

    def __init__(self, *others):
        self.is_alone, self._replicas, self._others = False, 3, others

    def _sum(self, mine):
        if mine.dtype == bool:  # who sees a difference
            everyone = [*self._digests, self._mine]
            return sum(digests * 3 != sum(everyone) for digests in everyone)
        self._mine = mine
        self._digests = [np.array([_digest(v) for v in other.values()]) for other in self._others]
        return mine + sum(self._digests)


def test_workers_that_differ_are_told_in_what():
    ours = {'config.seed': 5, 'config.data.dataset': 'folder:photos'}
    Others(ours, ours).check_same(ours, 'the same flags')
    message = 'config.seed is 5 here and another in other workers; expected the same flags'
    with pytest.raises(ValueError, match=message):
        Others(ours, {**ours, 'config.seed': 6}).check_same(ours, 'the same flags')


def test_a_worker_that_is_the_mean_of_the_others_is_told_so_too(monkeypatch):
    monkeypatch.setattr('train.workers._digest', lambda value: value)
    monkeypatch.setitem(globals(), '_digest', lambda value: value)
    with pytest.raises(ValueError, match='step is 5 here and another'):
        Others({'step': 4}, {'step': 6}).check_same({'step': 5}, 'one folder')


@pytest.mark.slow
def test_workers_with_different_flags_end_before_their_first_step(folder, python_environment):
    config = json.loads((folder / 'config.json').read_text())
    others = folder / 'others'
    for index, seed in enumerate((0, 1)):
        (others / str(index)).mkdir(parents=True)
        (others / str(index) / 'config.json').write_text(json.dumps({**config, 'seed': seed}))
    workers = Workers([others / '0', others / '1'], python_environment)
    for index, (code, out, err) in enumerate(workers.end()):
        assert code == 2
        assert f'error: config.seed is {index} here and another in other workers; expected' in err
        assert 'stepped' not in out
        assert 'Traceback' not in err


# ------------------------------------------------------------------------------- meeting


def test_a_worker_that_does_not_come_is_named():
    ours, theirs = (f'127.0.0.1:{port}' for port in free_ports(2))
    message = f'worker 1 of TF_CONFIG at {theirs} did not come in 0.2 s; start every worker'
    with pytest.raises(ConnectionError, match=message):
        _meet([ours, theirs], 0, 0.2)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(('', 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError, match=f'{port}'):
            _meet([f'127.0.0.1:{port}', '127.0.0.1:1'], 0, 0.2)


@pytest.mark.parametrize('roles', [{'worker': ['127.0.0.1:99999']}, {'chief': ['127.0.0.1:99999']}])
def test_a_port_that_is_none_is_told(roles):
    task = {'type': next(iter(roles)), 'index': 0}
    with pytest.raises(ValueError, match=r'99999.*must be 0-65535.*; expected JSON such as'):
        make_workers(json.dumps({'cluster': roles, 'task': task}), timeout=0.1)


def test_a_worker_alone_meets_nobody():
    assert _meet([f'127.0.0.1:{free_ports(1)[0]}'], 0, 0.0) is None  # at once, without an error


@pytest.mark.slow
def test_one_worker_of_two_ends_in_one_line(folder, python_environment):
    workers = [f'127.0.0.1:{port}' for port in free_ports(2)]
    task = {'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': 0}}
    result = subprocess.run(
        [sys.executable, '-m', 'train.main', '--workdir=alone', '--workers_timeout=1'],
        cwd=folder,
        env={**python_environment, 'TF_CONFIG': json.dumps(task)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f'error: worker 1 of TF_CONFIG at {workers[1]} did not come in')
    assert result.stderr.count('\n') == 1
