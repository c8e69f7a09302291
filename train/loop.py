"""One training run, read from top to bottom."""

import json
import os
from collections.abc import Callable, Iterator

import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict

from train import best, checkpoint
from train import strategy as strategies
from train.clock import Clock
from train.data import pipeline
from train.data.source import Source
from train.initial import Initial
from train.prepare import prepare
from train.run import Run, checkpoint_folder, differences
from train.session import CHECKPOINT_STEP, SHARED_WORKDIR, Session
from train.task import Task
from train.trainer import Metrics, Trainer
from train.weights.unfold import IMAGES, unfold_norms
from train.workers import Agreement, together

# Recipes for what the paper's, made for a million images, are too large for.
FEW_IMAGES = {
    'classification': 'configs/finetune.py, or configs/small_data.py from scratch',
    'detection': 'configs/detection_small_data.py',
    'segmentation': 'configs/segmentation_small_data.py',
}


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
      ConnectionError: another worker is gone.
    """
    strategy = strategy or tf.distribute.get_strategy()
    with together(strategy):
        return _train(run_, source, workdir, strategy, make_task, initial)


def _train(
    run_: Run,
    source: Source,
    workdir: str,
    strategy: tf.distribute.Strategy,
    make_task: Callable[[Run], Task],
    initial: Initial | None,
) -> tuple[Trainer, Metrics] | None:
    config = run_.config
    check_batches(config, source, strategy)
    if isinstance(strategy, tf.distribute.TPUStrategy):
        _check_for_tpu(config)
    saved = find_checkpoint(run_, source, workdir, write=strategies.is_chief(strategy))
    _check_workers(run_, source, saved, Agreement(strategy))

    _make_deterministic(config)
    clock = Clock(config, source.train.num_examples)
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
    if saved is not None:
        checkpoint.read(saved, trainer.checkpoint).assert_consumed()

    session = Session(run_, source, trainer, workdir, clock, saved.state if saved else None)
    metrics = session.train()
    if metrics is None:
        return None
    session.best.restore(trainer.averaged)
    return trainer, metrics


def _check_for_tpu(config: ConfigDict) -> None:
    """Refuses what is known not to go through XLA on TPUs.

    Raises:
      ValueError: the config asks for it.
    """
    if config.task != 'classification':
        raise ValueError(
            f'--tpu trains classifiers; the evaluation of {config.task} has shapes and ops that XLA '
            'does not take. Train on GPUs or the CPU'
        )
    if config.distill.teacher:  # that of a quantized network is made where the network is
        raise ValueError(
            '--tpu trains without a teacher, whose weights are not on the TPU; leave config.distill, '
            'or train on GPUs or the CPU'
        )


def _check_workers(
    run_: Run, source: Source, saved: checkpoint.Saved | None, agreement: Agreement
) -> None:
    """Sees that all workers are about to train the same; otherwise they would, without a word, train
    on parts of different orders, or wait for each other for ever.

    Raises:
      ValueError: they are not.
    """
    step = saved.state['step'] if saved else 0
    agreement.check_same({CHECKPOINT_STEP: step}, SHARED_WORKDIR)
    agreement.check_same(run_.to_values(), 'the same flags and dataset for all of them')
    images = {'the list of training images': source.train.known_by}
    agreement.check_same(images, 'the same dataset for all of them')


def _make_deterministic(config: ConfigDict) -> None:
    tf_keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    tf_keras.mixed_precision.set_global_policy(config.train.precision)


def find_checkpoint(
    run_: Run, source: Source, workdir: str, *, write: bool
) -> checkpoint.Saved | None:
    """The checkpoint that a run continues from; None where it begins.

    Args:
      run_: what is trained.
      source: its data.
      workdir: its folder; made where it is missing.
      write: whether what killed saves have left is removed.

    Raises:
      ValueError: the folder cannot be made, holds another run, one of other images, or damaged
        checkpoints only.
    """
    if '://' in workdir:
        raise ValueError(f'--workdir={workdir} is remote; expected a folder of this machine')
    try:
        os.makedirs(workdir, exist_ok=True)
    except OSError as e:
        raise ValueError(f'cannot make --workdir={workdir}: {e}') from None
    if write:
        for folder in (checkpoint_folder(workdir), best.folder(workdir)):
            checkpoint.remove_leftovers(folder)
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
    _check_examples(saved.state, source, workdir)
    return saved


def _check_examples(state: dict, source: Source, workdir: str) -> None:
    """Sees that a run continues on the same images: they decide over order and length.

    Raises:
      ValueError: their number differs, or names where they are known.
    """
    now = source.train.known_by
    known = state.get('examples', now)  # runs of before it was noted
    if known != now:
        count = f'{now[0]} training images' if known[0] != now[0] else 'other training images'
        raise ValueError(
            f'{source.name} has {count}, and the run in {workdir} began with {known[0]}; expected the '
            'same ones, or another folder for the run'
        )


def _some_images(source: Source, task: Task) -> Iterator[tf.Tensor]:
    """Training images as evaluation sees them, in batches, drawn by a fixed seed."""
    examples = source.train.shuffled(0, 0).take(min(IMAGES, source.train.num_examples))
    images = examples.map(lambda raw: {'image': task.eval_image(raw['image'])})
    size = pipeline.images_at_once(64, task.resolution)
    for batch in images.batch(size).map(task.eval_batch):
        yield batch['image']


def check_batches(config: ConfigDict, source: Source, strategy: tf.distribute.Strategy) -> None:
    """Sees that batches can be divided as asked, and that there are images for one.

    Raises:
      ValueError: they cannot, or there are not.
    """
    replicas, parts = strategy.num_replicas_in_sync, config.train.parts
    for field, at_once in (('train', replicas * parts), ('eval', replicas)):
        size = config[field].batch_size
        if size % at_once:
            times = f' times config.train.parts, {parts}' if at_once > replicas else ''
            raise ValueError(
                f'config.{field}.batch_size is {size}; expected a multiple of the {replicas} '
                f'replicas{times}'
            )
    together = config.train.batch_size // (replicas * parts)
    blends = config.augment.mixup or (config.distill.weight and config.distill.on == 'features')
    if blends and together == 1:
        mend = 'lower config.train.parts' if parts > 1 else 'raise config.train.batch_size'
        raise ValueError(
            'config.augment.mixup and config.distill.on=features work on images of one part of a '
            f'batch on one replica, and of {config.train.batch_size} / {replicas} replicas / {parts} '
            f'parts there is one; expected at least 2: {mend}'
        )
    if config.train.batch_size > source.train.num_examples:
        raise ValueError(
            f'config.train.batch_size is {config.train.batch_size}, more than the '
            f'{source.train.num_examples} training examples of {source.name}; for few images there '
            f'are recipes of their own: --config={FEW_IMAGES[config.task]}'
        )
