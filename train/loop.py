"""One training run, read from top to bottom."""

import json
import math
import os
import signal
import time
from collections.abc import Callable

import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from mobilenet_v3.layers import SeededDropout
from train import checkpoint, strategy as strategies
from train.data import pipeline
from train.data.source import Source, open_source
from train.evaluate import Evaluator
from train.log import RunLog
from train.optimizer import MovingAverage, RMSPropTF1, WarmupSchedule
from train.run import Run, checkpoint_folder, differences, resolve_spec
from train.tasks.classification import Classification

RESULTS_FILE = 'results.json'
Metrics = dict[str, dict[str, float]]


def run(
    config: ConfigDict, workdir: str, strategy: tf.distribute.Strategy | None = None
) -> Metrics | None:
    """Trains, or continues the run in `workdir`, and evaluates.

    The same config and seed end with the same weights, bit for bit on CPU, however often the run is
    stopped and started again.

    Args:
      config: as `configs/base.py` declares it.
      workdir: receives checkpoints/, metrics.jsonl, tensorboard/, config.json and results.json.
      strategy: where to run; the default is this machine's one device.

    Returns:
      {'raw': metrics, 'averaged': metrics} on the evaluation set; None if a signal stopped the run,
      which can then be continued.

    Raises:
      ValueError: the config is not valid, `workdir` holds another run, or the loss diverged.
    """
    strategy = strategy or tf.distribute.get_strategy()
    write = strategies.is_chief(strategy)

    # ------------------------------------------------------------------ data
    spec = resolve_spec(config)
    source = open_source(config.data)
    run_ = Run(config, spec, source.labels)
    batch_size = config.train.batch_size
    steps_per_epoch = source.train.num_examples / batch_size
    total_steps = max(1, round(config.train.epochs * steps_per_epoch))
    _check_batches(config, source, strategy)
    saved = _find_checkpoint(run_, workdir)
    if saved is None and write:
        _write_json(os.path.join(workdir, 'config.json'), run_.to_state())

    # ------------------------------------------------------------------ model and optimiser
    tf_keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    tf_keras.mixed_precision.set_global_policy(config.train.precision)
    with strategy.scope():
        task = run_.make_task()
        trainer = Trainer(task, strategy, steps_per_epoch, total_steps)
    start_step = 0
    if saved is not None:
        trainer.checkpoint.read(saved.variables).assert_consumed()
        start_step = saved.state['step']

    # ------------------------------------------------------------------ batches
    train_iterator = iter(
        strategy.distribute_datasets_from_function(
            lambda context: pipeline.train_batches(
                source.train,
                task,
                batch_size=batch_size,
                seed=config.seed,
                start_step=start_step,
                context=context,
            )
        )
    )
    eval_batch = min(config.eval.batch_size, _padded(source.val.num_examples, strategy))
    evaluator = Evaluator(
        task, pipeline.eval_batches(source.val, task, batch_size=eval_batch), strategy
    )

    # ------------------------------------------------------------------ loop
    def every(epochs: float) -> int:
        return max(1, round(epochs * steps_per_epoch))

    log_every, eval_every, save_every = (
        config.log_every_steps,
        every(config.eval.every_epochs),
        every(config.checkpoint.every_epochs),
    )
    log = RunLog(
        workdir, step=start_step, total_steps=total_steps, batch_size=batch_size, write=write
    )
    if start_step:
        log.say(f'continuing {workdir} at step {start_step} of {total_steps}')
    stop = _StopSignal()
    step, last_saved, losses = start_step, start_step, []
    metrics: Metrics = {}
    began = time.monotonic()

    def save() -> None:
        trainer.check_finite(step)
        state = {**run_.to_state(), 'step': step}
        checkpoint.save(
            checkpoint_folder(workdir),
            trainer.checkpoint,
            state,
            keep=config.checkpoint.keep,
            write=write,
        )

    with stop:
        while step < total_steps and not stop.requested:
            events = (log_every, eval_every, save_every)
            until_event = min(interval - step % interval for interval in events)
            count = min(config.train.steps_per_execution, until_event, total_steps - step)
            loss = trainer.train(train_iterator, count)
            step += count
            _check_loss(loss, step, trainer, last_saved, workdir)
            losses.append(loss)
            log.advance(count, loss)
            if step % log_every == 0:
                rate = float(trainer.schedule(step - 1))
                log.scalars(step, {'train/loss': _mean(losses), 'train/learning_rate': rate})
                losses = []
            if step % eval_every == 0 or step == total_steps:
                metrics = trainer.evaluate(evaluator)
                log.scalars(step, _flat(metrics))
                log.say(_summary(step, total_steps, metrics))
            if step % save_every == 0 or step == total_steps:
                save()
                last_saved = step
        if stop.requested and step > last_saved:
            save()
    log.close()
    if step < total_steps:
        print(f'stopped at step {step} of {total_steps}, saved; the same command continues')
        return None
    if not metrics:  # the run was already finished
        metrics = trainer.evaluate(evaluator)
    if write:
        results = {'step': step, 'examples': source.val.num_examples, **metrics}
        if step > start_step:
            seconds = time.monotonic() - began
            results['images_per_second'] = (step - start_step) * batch_size / seconds
        _write_json(os.path.join(workdir, RESULTS_FILE), results)
    return metrics


class Trainer:
    """The variables of a run and the step that changes them."""

    def __init__(
        self,
        task: Classification,
        strategy: tf.distribute.Strategy,
        steps_per_epoch: float,
        total_steps: int,
    ) -> None:
        config = task.config
        self.task, self.strategy = task, strategy
        self.model, self.averaged = task.build(), task.build()
        self.schedule = WarmupSchedule(
            config.schedule, config.train.batch_size, steps_per_epoch, total_steps
        )
        self.optimizer = RMSPropTF1(self.schedule, **config.optimizer)
        self.average = MovingAverage(self.model, self.averaged, config.ema.decay)
        self.average.start()
        self.decayed = decayed_kernels(self.model)
        for layer in self.model.layers:
            if isinstance(layer, SeededDropout):
                layer.follow(self.optimizer.iterations, config.seed)
        # The slots of the optimiser are made now, so that a checkpoint can be read into them.
        self.optimizer._create_all_weights(self.model.trainable_variables)
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, averaged=self.averaged, optimizer=self.optimizer
        )
        self._train = self._make_train()

    def train(self, iterator: tf.data.Iterator, count: int) -> float:
        """Takes `count` steps; returns the mean loss over them, without weight decay."""
        return float(self._train(iterator, tf.constant(count)))

    def evaluate(self, evaluator: Evaluator) -> Metrics:
        """Metrics of the raw and of the averaged weights."""
        return {'raw': evaluator.run(self.model), 'averaged': evaluator.run(self.averaged)}

    def check_finite(self, step: int) -> None:
        """Raises ValueError where a weight is not finite: such a model is not saved."""
        for weight in self.model.weights:
            if not bool(tf.reduce_all(tf.math.is_finite(weight))):
                raise ValueError(
                    f'{weight.name} is no longer finite at step {step}; it is not saved. Lower '
                    '--config.schedule.learning_rate'
                )

    def _make_train(self) -> Callable:
        config = self.task.config.train
        replicas = self.strategy.num_replicas_in_sync

        def replica_step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
            step = tf.identity(self.optimizer.iterations)
            with tf.GradientTape() as tape:
                outputs = self.model(batch['image'], training=True)
                # Sums over the global batch: gradients are added up over replicas.
                loss = tf.reduce_sum(self.task.loss(outputs, batch)) / config.batch_size
                # tf.nn.l2_loss is ½·Σw², TF1's L2.
                decay = tf.add_n([tf.nn.l2_loss(kernel) for kernel in self.decayed])
                total = loss + config.weight_decay * decay / replicas
            variables = self.model.trainable_variables
            gradients = tape.gradient(total, variables)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            self.average.update(step)
            return loss

        @tf.function
        def train(iterator: tf.data.Iterator, count: tf.Tensor) -> tf.Tensor:
            total = tf.zeros([])
            for _ in tf.range(count):
                loss = self.strategy.run(replica_step, args=(next(iterator),))
                total += self.strategy.reduce('SUM', loss, axis=None)
            return total / tf.cast(count, tf.float32)

        return train


def decayed_kernels(model: tf_keras.Model) -> list[tf.Variable]:
    """The kernels under weight decay: convolutions with squeeze-and-excite, head and logits.

    Depthwise kernels, BN and biases have none. Paper: §6.1.1 and its released code.
    """
    return [layer.kernel for layer in model.layers if type(layer) is tf_keras.layers.Conv2D]


class _StopSignal:
    """Notes SIGINT and SIGTERM, so that the run saves between two steps; a second one interrupts."""

    def __init__(self) -> None:
        self.requested = False
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> '_StopSignal':
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def _find_checkpoint(run_: Run, workdir: str) -> checkpoint.Saved | None:
    try:
        os.makedirs(workdir, exist_ok=True)
    except OSError as e:
        raise ValueError(f'cannot make --workdir={workdir}: {e}') from None
    saved = checkpoint.latest(checkpoint_folder(workdir))
    if saved is None:
        return None
    ours = json.loads(json.dumps(run_.to_state()))
    if 'config' not in saved.state or 'spec' not in saved.state:
        raise ValueError(f'{saved.path} is no checkpoint of a run; use another --workdir')
    if differing := differences(ours, saved.state):
        raise ValueError(
            f'{workdir} holds another run; use another --workdir or the same values. These differ: '
            + '; '.join(differing)
        )
    return saved


def _check_batches(config: ConfigDict, source: Source, strategy: tf.distribute.Strategy) -> None:
    replicas = strategy.num_replicas_in_sync
    for field, size in (('train', config.train.batch_size), ('eval', config.eval.batch_size)):
        if size % replicas:
            raise ValueError(
                f'config.{field}.batch_size is {size}; expected a multiple of the {replicas} replicas'
            )
    if config.train.batch_size > source.train.num_examples:
        raise ValueError(
            f'config.train.batch_size is {config.train.batch_size}, more than the '
            f'{source.train.num_examples} training examples of {source.name}'
        )


def _padded(num_examples: int, strategy: tf.distribute.Strategy) -> int:
    replicas = strategy.num_replicas_in_sync
    return -(-num_examples // replicas) * replicas


def _check_loss(loss: float, step: int, trainer: Trainer, last_saved: int, workdir: str) -> None:
    if math.isfinite(loss):
        return
    kept = f'the last checkpoint is step {last_saved}' if last_saved else 'no checkpoint was saved'
    raise ValueError(
        f'the loss is {loss} at step {step}, learning rate {float(trainer.schedule(step - 1)):.3g}; '
        f'{kept} in {workdir}. Lower --config.schedule.learning_rate or lengthen its warmup_epochs'
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _flat(metrics: Metrics) -> dict[str, float]:
    return {
        f'eval/{weights}/{name}': value
        for weights, values in metrics.items()
        for name, value in values.items()
    }


def _summary(step: int, total_steps: int, metrics: Metrics) -> str:
    parts = [
        f'{weights} ' + ' '.join(f'{name} {value:.4f}' for name, value in values.items())
        for weights, values in metrics.items()
    ]
    return f'step {step}/{total_steps}: ' + '; '.join(parts)


def _write_json(path: str, values: dict) -> None:
    temporary = f'{path}.tmp'
    with open(temporary, 'w', encoding='utf-8') as file:
        json.dump(values, file, indent=1)
    os.replace(temporary, path)
