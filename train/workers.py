"""Several workers that train one run together, each a process with its own TF_CONFIG."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from train.reasons import reason

CONNECT_SECONDS = 60  # that TensorFlow gets to connect workers which have met
# What a worker that is gone does to the others' steps.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
# Run beside a process whose threads cannot run, and ends it unless its standard input closes first.
_WATCHDOG = """
import os, select, signal, sys
pid, seconds, message = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
if not select.select([sys.stdin], [], [], seconds)[0]:
    print('error: ' + message, file=sys.stderr, flush=True)
    os.kill(pid, signal.SIGKILL)
"""


def make_workers(tf_config: str, timeout: float) -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy of a cluster, when all of its workers are there.

    TensorFlow would wait for a missing one without an end, deaf to signals and to its own threads:
    so the workers meet first, on the ports that they will use.

    Args:
      tf_config: JSON, as TensorFlow defines the variable TF_CONFIG.
      timeout: seconds to wait for the other workers.

    Raises:
      ValueError: it is no cluster.
      OSError: a worker did not come, or this one's port is taken.
    """
    try:
        config = json.loads(tf_config)
        cluster, me = config['cluster'], config['task']
        chiefs = [str(address) for address in cluster.get('chief', [])]
        workers = [str(address) for address in cluster.get('worker', [])]
        place = {'chief': 0, 'worker': len(chiefs)}[me['type']] + int(me['index'])
        _meet([*chiefs, *workers], place, timeout)
        message = f'the workers of TF_CONFIG met, but did not connect in {CONNECT_SECONDS} s'
        with _watchdog(CONNECT_SECONDS, message):
            return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as e:
        raise ValueError(
            f'TF_CONFIG is {tf_config!r} ({e}); expected JSON such as {{"cluster": {{"worker": '
            '["host1:1234", "host2:1234"]}, "task": {"type": "worker", "index": 0}}'
        ) from e


class Agreement:
    """What the workers of a strategy decide together.

    Args:
      strategy: of the run.

    Attributes:
      is_alone: this process has no other workers.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.is_alone = not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)

        @tf.function
        def count(mine: tf.Tensor) -> tf.Tensor:
            return strategy.reduce('SUM', strategy.run(lambda: mine), axis=None)

        self._count, self._replicas = count, strategy.num_replicas_in_sync

    def anyone(self, mine: bool) -> bool:
        """Whether this process or another worker says yes; all of them ask at the same time."""
        return mine if self.is_alone else bool(self._sum(np.array(mine)) > 0)

    def check_same(self, values: Mapping[str, object], expected: str) -> None:
        """Sees that values are the same in all workers; all of them ask at the same time, for as many.

        Args:
          values: of this worker by their names, each something that JSON holds.
          expected: what makes them the same.

        Raises:
          ValueError: one is not.
        """
        if self.is_alone:
            return
        mine = np.array([_digest(value) for value in values.values()])
        differs = self._sum(mine) != mine * self._replicas
        # This worker's may be the mean of the others': what one of them sees, all are told.
        told = self._sum(differs) > 0
        for (name, value), is_told in zip(values.items(), told, strict=True):
            if is_told:
                raise ValueError(
                    f'{name} is {value!r:.60} here and another in other workers; expected {expected}'
                )

    def _sum(self, mine: np.ndarray) -> np.ndarray:
        return self._count(tf.constant(mine, tf.float64)).numpy()


def _digest(value: object) -> int:
    """A whole number of 32 bits, whose sums over any workers are exact in float64."""
    text = json.dumps(value, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'big')


@contextlib.contextmanager
def together(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says in a ConnectionError that another worker of a strategy is gone, where one is."""
    try:
        yield
    except (*LOST, tf.errors.InternalError) as e:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        raise ConnectionError(
            f'another worker of TF_CONFIG is gone ({reason(e)}); start all of them again with '
            'the same commands, and the run continues'
        ) from e


def _meet(workers: list[str], index: int, timeout: float) -> None:
    """Returns when each other worker listens, too; meanwhile they find this one's port open."""
    deadline = time.monotonic() + timeout
    missing = {number: address for number, address in enumerate(workers) if number != index}
    _, port = _parse(workers[index])
    with socket.create_server(('', port)) as server:
        server.settimeout(0.1)
        while missing:
            with contextlib.suppress(TimeoutError):
                server.accept()[0].close()
            missing = {k: address for k, address in missing.items() if not _answers(address)}
            if missing and time.monotonic() > deadline:
                number, address = next(iter(missing.items()))
                raise ConnectionError(
                    f'worker {number} of TF_CONFIG at {address} did not come in {timeout:g} s; '
                    'start every worker, each with its own index'
                )


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(':')
    return host, int(port)


def _answers(address: str) -> bool:
    try:
        socket.create_connection(_parse(address), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _watchdog(seconds: float, message: str) -> Iterator[None]:
    command = [sys.executable, '-c', _WATCHDOG, str(os.getpid()), str(seconds), message]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            assert process.stdin
            process.stdin.close()
