"""One process's part in a run, from where it starts until it ends or is stopped."""

import dataclasses
import os
import time

import tensorflow as tf

from train import checkpoint
from train import strategy as strategies
from train.best import Best
from train.clock import Clock
from train.data import pipeline
from train.data.source import Source
from train.divergence import Divergence
from train.evaluator import Evaluator
from train.files import write_json
from train.log import RunLog
from train.metrics_file import EVALUATION
from train.run import Run, checkpoint_folder
from train.stop_signal import Stopped, StopSignal
from train.trainer import Metrics, Trainer
from train.workers import Agreement

RESULTS_FILE = 'results.json'
# What workers must have in common, and how they come to have it.
CHECKPOINT_STEP = 'the step of the checkpoint'
SHARED_WORKDIR = 'one --workdir, in a folder that all of them share'
MOST_TOLD = 3  # figures in a line of the terminal, beside the loss


@dataclasses.dataclass
class _MeanLoss:
    """Of the steps since the last line in the log; saved, so that a continued run logs the same."""

    total: float = 0.0
    steps: int = 0

    def add(self, loss: float, steps: int) -> None:
        self.total += loss * steps
        self.steps += steps


class Session:
    """One process's part in a run.

    Args:
      run_: what is trained.
      source: its data.
      trainer: its variables, as the checkpoint has them.
      workdir: of the run.
      clock: when what happens.
      saved: state of the checkpoint that the run continues from; None for a fresh one.

    Attributes:
      best: evaluation, where there is early stopping.
    """

    def __init__(
        self,
        run_: Run,
        source: Source,
        trainer: Trainer,
        workdir: str,
        clock: Clock,
        saved: dict | None,
    ) -> None:
        self._run, self._source, self._trainer, self._clock = run_, source, trainer, clock
        self._workdir = workdir
        self._write = strategies.is_chief(trainer.strategy)
        self._agreement = Agreement(trainer.strategy)
        state = saved or {'step': 0}
        self._start_step = self._step = state['step']
        self._saved_step = state['step'] if saved else None
        # The last checkpoint that was not due to a signal; runs of before it was noted had one.
        self._scheduled_step = state.get('scheduled_step', self._saved_step)
        self._owes_evaluation = state.get('owes_evaluation', False)
        self._mean_loss = _MeanLoss(**state.get('mean_loss', {}))
        self._divergence = Divergence(run_.config, state.get('divergence'))
        self._metrics: Metrics | None = None
        self.best = Best(workdir, run_.config.eval.patience, state.get('best'))
        trainer.slow_down(self._divergence.rate_factor)

    def train(self) -> Metrics | None:
        """Trains to the end; None where a signal came first."""
        self._evaluator = self._make_evaluator()
        if self._write and not self._start_step:
            write_json(os.path.join(self._workdir, 'config.json'), self._run.to_state())
        began = time.monotonic()
        stop = StopSignal(at_once=self._agreement.is_alone)
        with self._open_log() as self._log, stop as self._stop:
            try:
                self._take_steps()
                finished = True
            except Stopped:
                finished = False
            self._save_last()
        if not finished:
            self._say_stopped()
            return None
        if self.best.metrics:
            print(f'the best evaluation was at step {self.best.step}; its weights count')
        # The last evaluation counts, or the best; a run that was already finished has none of now.
        metrics = self.best.metrics or self._metrics or self._trainer.evaluate(self._evaluator)
        self._write_results(metrics, time.monotonic() - began)
        return metrics

    def _take_steps(self) -> None:
        """Goes on to the end; raises Stopped where a signal came first."""
        clock, trainer = self._clock, self._trainer
        if self._owes_evaluation:
            self._evaluate()
        if self._divergence.on_nan == 'rollback' and self._scheduled_step is None:
            # There must be something to go back to.
            if self._saved_step is None:
                self._save()
            self._scheduled_step = self._saved_step
        iterator = self._train_iterator()
        while self._step < clock.total_steps and not self.best.is_over:
            count = clock.steps_at_once(self._step, trainer.stages.steps_left(self._step))
            loss = trainer.train(iterator, count)
            self._step += count
            self._stop.at_once = False
            if problem := self._problem(loss, count):
                self._go_back(problem)
                iterator = self._train_iterator()
                continue
            if not self._divergence.is_waiting:
                self._note_loss(loss, count)
                self._owes_evaluation = clock.is_due(clock.eval_every, self._step)
            self._check_stop()
            if self._owes_evaluation:
                self._evaluate()
            if clock.is_due(clock.save_every, self._step) and not self._divergence.is_waiting:
                self._save()

    def _check_stop(self) -> None:
        """Raises Stopped where this process, or another worker, is to end."""
        if self._agreement.anyone(self._stop.requested):
            raise Stopped

    def _note_loss(self, loss: float, count: int) -> None:
        self._log.advance(count, loss)
        self._mean_loss.add(loss, count)
        if self._clock.is_due(self._clock.log_every, self._step):
            rate = float(self._trainer.schedule(self._step - 1))
            mean = self._mean_loss.total / self._mean_loss.steps
            self._log.scalars(self._step, {'train/loss': mean, 'train/learning_rate': rate})
            self._mean_loss = _MeanLoss()

    def _evaluate(self) -> None:
        metrics = self._trainer.evaluate(self._evaluator)
        self._owes_evaluation = False
        self._metrics = metrics
        self._log.scalars(self._step, _flat(metrics))
        self._log.say(_summary(self._step, self._clock.total_steps, metrics))
        self.best.update(
            metrics['averaged'][self._trainer.task.goal],
            metrics,
            self._trainer.averaged,
            {**self._run.to_state(), 'step': self._step},
            write=self._write,
        )

    # Checkpoints

    def _save(self) -> None:
        if self._clock.is_due(self._clock.save_every, self._step):
            self._scheduled_step = self._step
        checkpoint.save(
            checkpoint_folder(self._workdir),
            self._trainer.checkpoint,
            {
                **self._run.to_state(),
                'step': self._step,
                'examples': self._source.train.known_by,
                'best': self.best.to_state(),
                'scheduled_step': self._scheduled_step,
                'owes_evaluation': self._owes_evaluation,
                'mean_loss': dataclasses.asdict(self._mean_loss),
                'divergence': self._divergence.to_state(),
            },
            keep=self._run.config.checkpoint.keep,
            spare=self._scheduled_step,
            write=self._write,
        )
        self._saved_step = self._step

    def _save_last(self) -> None:
        """Saves what is not saved yet, unless it is not finite: from the last one it comes again."""
        is_new = self._step > (self._saved_step or 0)
        if is_new and not self._divergence.is_waiting and not self._trainer.first_not_finite():
            self._save()

    def _problem(self, loss: float, count: int) -> str | None:
        """What is no longer finite, after patience."""
        clock, divergence = self._clock, self._divergence
        what = None
        if divergence.note(loss, count) or (
            divergence.is_waiting and self._step == clock.total_steps
        ):
            what = f'the loss is {loss}'
        elif not divergence.is_waiting and any(
            clock.is_due(every, self._step) for every in (clock.eval_every, clock.save_every)
        ):
            name = self._trainer.first_not_finite()
            what = f'{name} is no longer finite' if name else None
        rate = self._trainer.schedule(self._step - 1) if what else 0.0
        return f'{what} at step {self._step}, learning rate {float(rate):.3g}' if what else None

    def _go_back(self, problem: str) -> None:
        """To the last checkpoint on schedule, from where the learning rate is lower; or stops."""
        rolls = self._divergence.on_nan == 'rollback'
        last = self._scheduled_step if rolls else self._saved_step
        self._divergence.go_back(problem, last, self._workdir)
        saved = checkpoint.latest(checkpoint_folder(self._workdir), last)
        if saved is None:
            raise ValueError(f'{problem}; its checkpoints in {self._workdir} are gone')
        trainer = self._trainer
        checkpoint.read(saved, trainer.checkpoint).assert_consumed()
        trainer.slow_down(self._divergence.rate_factor)
        self._step = self._saved_step = self._scheduled_step = saved.state['step']
        self._agreement.check_same({CHECKPOINT_STEP: self._step}, SHARED_WORKDIR)
        self._mean_loss = _MeanLoss(**saved.state.get('mean_loss', {}))
        self.best.wait_anew()
        self._log.go_back(self._step)
        self._log.say(
            f'{problem}: back to step {self._step}, on with {self._divergence.rate_factor:.3g} of '
            'the learning rate'
        )

    def _say_stopped(self) -> None:
        saved = 'saved' if self._saved_step == self._step else f'saved is step {self._saved_step}'
        print(
            f'stopped at step {self._step} of {self._clock.total_steps}, '
            f'{"nothing to save" if self._saved_step is None else saved}; the same command continues',
            flush=True,
        )

    # What is made once

    def _open_log(self) -> RunLog:
        log = RunLog(
            self._workdir,
            step=self._step,
            total_steps=self._clock.total_steps,
            batch_size=self._run.config.train.batch_size,
            write=self._write,
            evaluated=not self._owes_evaluation,
        )
        if self._step:
            log.say(f'continuing {self._workdir} at step {self._step} of {self._clock.total_steps}')
        return log

    def _train_iterator(self) -> tf.data.Iterator:
        config, strategy, start_step = self._run.config, self._trainer.strategy, self._step
        return iter(
            strategy.distribute_datasets_from_function(
                lambda context: pipeline.train_batches(
                    self._source.train,
                    self._trainer.task,
                    batch_size=config.train.batch_size // config.train.parts,
                    seed=config.seed,
                    start_step=start_step * config.train.parts,
                    context=context,
                )
            )
        )

    def _make_evaluator(self) -> Evaluator:
        strategy, val = self._trainer.strategy, self._source.val
        replicas = strategy.num_replicas_in_sync
        whole_set = -(-val.num_examples // replicas) * replicas
        batch_size = min(self._run.config.eval.batch_size, whole_set)
        return Evaluator(self._trainer.task, val, strategy, batch_size, self._check_stop)

    def _write_results(self, metrics: Metrics, seconds: float) -> None:
        path, steps = os.path.join(self._workdir, RESULTS_FILE), self._step - self._start_step
        is_told = not steps and not self.best.is_lost and os.path.isfile(path)
        if not self._write or is_told:
            return
        results: dict = {
            'step': self.best.step or self._clock.total_steps,
            'examples': self._source.val.num_examples,
            **metrics,
        }
        if steps:  # speed of this session, evaluation and checkpoints included
            results['images_per_second'] = steps * self._run.config.train.batch_size / seconds
        write_json(path, results)


def _flat(metrics: Metrics) -> dict[str, float]:
    return {
        f'{EVALUATION}{weights}/{name}': value
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
