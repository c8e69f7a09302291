"""Which devices a run is spread over."""

import os
import socket
import threading
from urllib.parse import urlsplit

import tensorflow as tf
import tf_keras

from train.reasons import reason
from train.workers import make_workers

TPU_TIMEOUT_SECONDS = 50  # so that an unreachable TPU fails within a minute
WORKERS_TIMEOUT_SECONDS = 300  # machines of a cluster start at different times


def make_strategy(
    tpu: str = '', workers_timeout: float = WORKERS_TIMEOUT_SECONDS
) -> tf.distribute.Strategy:
    """Chooses the strategy: a TPU, several workers (TF_CONFIG), several GPUs, or one device.

    Args:
      tpu: '' for none, 'local' on a TPU VM, a TPU's name, or 'grpc://HOST:PORT'.
      workers_timeout: seconds to wait for the other workers.

    Raises:
      ValueError: the TPU cannot be reached, or TF_CONFIG is no cluster.
      OSError: a worker did not come.
    """
    if tpu:
        return _tpu(tpu)
    if os.environ.get('TF_CONFIG'):
        return make_workers(os.environ['TF_CONFIG'], workers_timeout)
    if len(tf.config.list_logical_devices('GPU')) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes logs and checkpoints."""
    resolver = strategy.cluster_resolver
    if resolver is None or isinstance(strategy, tf.distribute.TPUStrategy):
        return True
    return resolver.task_type in (None, 'chief') or (
        resolver.task_type == 'worker'
        and resolver.task_id == 0
        and 'chief' not in resolver.cluster_spec().jobs
    )


def synchronize_batch_norm(model: tf_keras.Model) -> None:
    """Makes BN of a training model take its statistics over all replicas.

    On one device, too, its layers are no longer fused, whose moving variance is n / (n - 1) of this
    one: a run has the same statistics on whatever it is spread over.

    Raises:
      ValueError: the model has no BN.
    """
    norms = [x for x in model.layers if isinstance(x, tf_keras.layers.BatchNormalization)]
    if not norms:
        raise ValueError(
            'config.train.sync_batch_norm is set, and the network has no batch normalisation, as none '
            'has that is trained with its rounding; leave it unset'
        )
    for layer in norms:
        layer.synchronized, layer.fused = True, False


def _tpu(name: str) -> tf.distribute.Strategy:
    hint = (
        'expected --tpu=local on a TPU VM with tensorflow-tpu installed, the name of a TPU in this '
        'project, or grpc://HOST:PORT'
    )
    if name.startswith('grpc://'):
        _check_port_answers(name, hint)
    result: list[tf.distribute.Strategy | Exception] = []

    def connect() -> None:
        try:
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
            tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
            result.append(tf.distribute.TPUStrategy(resolver))
        except Exception as e:  # every layer under the resolver raises its own kind
            result.append(e)

    # A thread, because the connection to a host that does not answer cannot be given up.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(TPU_TIMEOUT_SECONDS)
    if not result:
        raise ValueError(f'TPU {name!r} did not answer in {TPU_TIMEOUT_SECONDS} s; {hint}')
    outcome = result[0]
    if isinstance(outcome, Exception):
        raise ValueError(f'cannot use TPU {name!r}: {reason(outcome)}; {hint}') from outcome
    return outcome


def _check_port_answers(name: str, hint: str) -> None:
    try:
        address = urlsplit(name)
        host, port = address.hostname, address.port
    except ValueError:  # no number for a port, or half an IPv6 address
        host = port = None
    if not host or port is None:
        raise ValueError(f'cannot use TPU {name!r}: no host and port; {hint}')
    try:
        socket.create_connection((host, port), timeout=TPU_TIMEOUT_SECONDS).close()
    except OSError as e:
        raise ValueError(f'cannot reach TPU {name!r}: {e}; {hint}') from e
