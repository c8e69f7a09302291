"""One training run, read from top to bottom."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator

import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from train import checkpoint
from train import strategy as strategies
from train.best import Best
from train.data import pipeline
from train.data.source import Source
from train.evaluator import Evaluator
from train.files import write_json
from train.initial import Initial
from train.log import RunLog
from train.prepare import prepare
from train.run import Run, checkpoint_folder, differences
from train.stop_signal import StopSignal
from train.task import Task
from train.trainer import Metrics, Trainer
from train.weights.unfold import IMAGES, unfold_norms

RESULTS_FILE = 'results.json'
MOST_TOLD = 3  # figures in a line of the terminal, beside the loss


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
    saved = checkpoint.latest(checkpoint_folder(workdir))
    it = prepare(config, saved.state if saved else None)
    finished = train(it.run, it.source, workdir, strategy, it.make_task, it.initial)
    return finished[1] if finished else None


def train(
    run_: Run,
    source: Source,
    workdir: str,
    strategy: tf.distribute.Strategy | None = None,
    make_task: Callable[[Run], Task] = Run.make_task,
    initial: Initial | None = None,
) -> tuple[Trainer, Metrics] | None:
    """Trains one run, as `run` does.

    Args:
      run_: what to train.
      source: its data.
      workdir: as above.
      strategy: as above.
      make_task: called in the strategy's scope; a task that trains something else than the network
        itself, such as its quantized form.
      initial: weights that it starts from, where it does not continue.

    Returns:
      The trainer with the trained model, its average and their metrics; None if a signal stopped
      the run.

    Raises:
      ValueError: as above.
    """
    config = run_.config
    strategy = strategy or tf.distribute.get_strategy()
    _check_batches(config, source, strategy)
    saved = _find_checkpoint(run_, workdir)

    _make_deterministic(config)
    clock = _Clock(config, source.train.num_examples)
    with strategy.scope():
        trainer = Trainer(make_task(run_), strategy, clock.steps_per_epoch, clock.total_steps)
        if saved is None and initial is not None:
            report = initial.carry(trainer.model)
            trainer.average.start()
            # In the network of evaluation, whose images these are.
            unfold_norms(trainer.averaged, _some_images(source, trainer.task))
            trainer.start_from(trainer.averaged)
            if strategies.is_chief(strategy):
                print(initial.describe(report), flush=True)
    state: dict = {'step': 0}
    if saved is not None:
        trainer.checkpoint.read(saved.variables).assert_consumed()
        state = saved.state

    best = Best(workdir, config.eval.patience, state.get('best'))
    session = _Session(run_, source, trainer, workdir, clock, strategies.is_chief(strategy), best)
    metrics = session.train(state['step'])
    if metrics is None:
        return None
    best.restore(trainer.averaged)
    return trainer, metrics


class _Clock:
    """When what happens, in steps."""

    def __init__(self, config: ConfigDict, num_examples: int) -> None:
        self.steps_per_epoch = num_examples / config.train.batch_size
        self.total_steps = max(1, round(config.train.epochs * self.steps_per_epoch))
        self.log_every = config.log_every_steps
        self.eval_every = max(1, round(config.eval.every_epochs * self.steps_per_epoch))
        self.save_every = max(1, round(config.checkpoint.every_epochs * self.steps_per_epoch))
        self._at_once = config.train.steps_per_execution

    def steps_at_once(self, step: int, until_phase: int | None = None) -> int:
        """How many steps the device may take before something else is due."""
        intervals = (self.log_every, self.eval_every, self.save_every)
        until_event = min(interval - step % interval for interval in intervals)
        until_end = self.total_steps - step
        return min(self._at_once, until_event, until_end, until_phase or until_end)

    def is_due(self, interval: int, step: int) -> bool:
        """Whether something of that interval happens at a step; at the last one everything does."""
        return step % interval == 0 or step == self.total_steps


@dataclasses.dataclass
class _Session:
    """One process's part in a run, from where it starts until it ends or is stopped."""

    run_: Run
    source: Source
    trainer: Trainer
    workdir: str
    clock: _Clock
    write: bool
    best: Best

    def train(self, start_step: int) -> Metrics | None:
        """Trains to the end; None where a signal came first."""
        config, clock, trainer = self.run_.config, self.clock, self.trainer
        iterator = self._train_iterator(start_step)
        evaluator = self._evaluator()
        if self.write and not start_step:
            write_json(os.path.join(self.workdir, 'config.json'), self.run_.to_state())
        log = RunLog(
            self.workdir,
            step=start_step,
            total_steps=clock.total_steps,
            batch_size=config.train.batch_size,
            write=self.write,
        )
        if start_step:
            log.say(f'continuing {self.workdir} at step {start_step} of {clock.total_steps}')
        step, last_saved, losses, metrics = start_step, start_step, [], None
        began = time.monotonic()
        with log, StopSignal() as stop:
            while step < clock.total_steps and not (stop.requested or self.best.is_over):
                count = clock.steps_at_once(step, trainer.stages.steps_left(step))
                loss = trainer.train(iterator, count)
                step += count
                self._check_loss(loss, step, last_saved)
                losses.append(loss)
                log.advance(count, loss)
                if clock.is_due(clock.log_every, step):
                    rate = float(trainer.schedule(step - 1))
                    mean = sum(losses) / len(losses)
                    log.scalars(step, {'train/loss': mean, 'train/learning_rate': rate})
                    losses = []
                if clock.is_due(clock.eval_every, step):
                    metrics = trainer.evaluate(evaluator)
                    log.scalars(step, _flat(metrics))
                    log.say(_summary(step, clock.total_steps, metrics))
                    self._note(metrics, step)
                if clock.is_due(clock.save_every, step):
                    self._save(step)
                    last_saved = step
            if step > last_saved:
                self._save(step)
        if step < clock.total_steps and not self.best.is_over:
            print(
                f'stopped at step {step} of {clock.total_steps}, saved; the same command continues'
            )
            return None
        if self.best.metrics:
            print(f'the best evaluation was at step {self.best.step}; its weights count')
        # The last evaluation counts, or the best; a run that was already finished has none of now.
        metrics = self.best.metrics or metrics or trainer.evaluate(evaluator)
        self._write_results(metrics, step - start_step, time.monotonic() - began)
        return metrics

    def _train_iterator(self, start_step: int) -> tf.data.Iterator:
        config, strategy = self.run_.config, self.trainer.strategy
        return iter(
            strategy.distribute_datasets_from_function(
                lambda context: pipeline.train_batches(
                    self.source.train,
                    self.trainer.task,
                    batch_size=config.train.batch_size // config.train.parts,
                    seed=config.seed,
                    start_step=start_step * config.train.parts,
                    context=context,
                )
            )
        )

    def _evaluator(self) -> Evaluator:
        strategy, val = self.trainer.strategy, self.source.val
        replicas = strategy.num_replicas_in_sync
        whole_set = -(-val.num_examples // replicas) * replicas
        batch_size = min(self.run_.config.eval.batch_size, whole_set)
        return Evaluator(self.trainer.task, val, strategy, batch_size)

    def _save(self, step: int) -> None:
        self.trainer.check_finite(step)
        checkpoint.save(
            checkpoint_folder(self.workdir),
            self.trainer.checkpoint,
            {**self.run_.to_state(), 'step': step, 'best': self.best.to_state()},
            keep=self.run_.config.checkpoint.keep,
            write=self.write,
        )

    def _note(self, metrics: Metrics, step: int) -> None:
        self.best.update(
            metrics['averaged'][self.trainer.task.goal],
            metrics,
            self.trainer.averaged,
            {**self.run_.to_state(), 'step': step},
            write=self.write,
        )

    def _check_loss(self, loss: float, step: int, last_saved: int) -> None:
        if math.isfinite(loss):
            return
        rate = float(self.trainer.schedule(step - 1))
        kept = f'the last checkpoint is step {last_saved}' if last_saved else 'none was saved yet'
        raise ValueError(
            f'the loss is {loss} at step {step}, learning rate {rate:.3g}; {kept} in {self.workdir}. '
            'Lower --config.schedule.learning_rate or lengthen --config.schedule.warmup_epochs'
        )

    def _write_results(self, metrics: Metrics, steps: int, seconds: float) -> None:
        path = os.path.join(self.workdir, RESULTS_FILE)
        if not self.write or (not steps and os.path.isfile(path)):
            return
        results: dict = {
            'step': self.best.step or self.clock.total_steps,
            'examples': self.source.val.num_examples,
            **metrics,
        }
        if steps:  # speed of this session, evaluation and checkpoints included
            results['images_per_second'] = steps * self.run_.config.train.batch_size / seconds
        write_json(path, results)


def _make_deterministic(config: ConfigDict) -> None:
    tf_keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    tf_keras.mixed_precision.set_global_policy(config.train.precision)


def _find_checkpoint(run_: Run, workdir: str) -> checkpoint.Saved | None:
    if '://' in workdir:
        raise ValueError(f'--workdir={workdir} is remote; expected a folder of this machine')
    try:
        os.makedirs(workdir, exist_ok=True)
    except OSError as e:
        raise ValueError(f'cannot make --workdir={workdir}: {e}') from None
    checkpoint.remove_leftovers(checkpoint_folder(workdir))
    saved = checkpoint.latest(checkpoint_folder(workdir))
    if saved is None:
        return None
    ours = json.loads(json.dumps(run_.to_state()))
    if 'config' not in saved.state or 'spec' not in saved.state:
        raise ValueError(f'{saved.path} is no checkpoint of a run; use another --workdir')
    theirs = json.loads(json.dumps(Run.from_state(saved.state).to_state()))
    if differing := differences(ours, theirs):
        raise ValueError(
            f'{workdir} holds another run; use another --workdir (of an export: --output) or the same '
            'values. These differ: ' + '; '.join(differing)
        )
    return saved


def _some_images(source: Source, task: Task) -> Iterator[tf.Tensor]:
    """Training images as evaluation sees them, in batches, drawn by a fixed seed."""
    examples = source.train.shuffled(0, 0).take(min(IMAGES, source.train.num_examples))
    images = examples.map(lambda raw: {'image': task.eval_image(raw['image'])})
    size = pipeline.images_at_once(64, task.resolution)
    for batch in images.batch(size).map(task.eval_batch):
        yield batch['image']


def _check_batches(config: ConfigDict, source: Source, strategy: tf.distribute.Strategy) -> None:
    replicas, parts = strategy.num_replicas_in_sync, config.train.parts
    for field, at_once in (('train', replicas * parts), ('eval', replicas)):
        size = config[field].batch_size
        if size % at_once:
            times = f' times config.train.parts, {parts}' if at_once > replicas else ''
            raise ValueError(
                f'config.{field}.batch_size is {size}; expected a multiple of the {replicas} '
                f'replicas{times}'
            )
    if config.train.batch_size > source.train.num_examples:
        raise ValueError(
            f'config.train.batch_size is {config.train.batch_size}, more than the '
            f'{source.train.num_examples} training examples of {source.name}'
        )


def _flat(metrics: Metrics) -> dict[str, float]:
    return {
        f'eval/{weights}/{name}': value
        for weights, values in metrics.items()
        for name, value in values.items()
    }


def _summary(step: int, total_steps: int, metrics: Metrics) -> str:
    """The first figures of a task and its loss, in a line; metrics.jsonl has all."""
    parts = []
    for weights, values in metrics.items():
        told = [name for name in values if name in list(values)[:MOST_TOLD] or name == 'loss']
        parts.append(f'{weights} ' + ' '.join(f'{name} {values[name]:.4f}' for name in told))
    return f'step {step}/{total_steps}: ' + '; '.join(parts)
