"""One training run, read from top to bottom."""

import json
import math
import os
import signal
import time

import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from train import checkpoint
from train import strategy as strategies
from train.data import pipeline
from train.data.source import Source, open_source
from train.evaluate import Evaluator
from train.files import write_json
from train.log import RunLog
from train.run import Run, checkpoint_folder, differences, resolve_spec
from train.trainer import Metrics, Trainer

RESULTS_FILE = 'results.json'


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
        write_json(os.path.join(workdir, 'config.json'), run_.to_state())

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
        write_json(os.path.join(workdir, RESULTS_FILE), results)
    return metrics


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
