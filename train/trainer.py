"""The variables of a run and the step that changes them."""

from collections.abc import Callable

import tensorflow as tf
import tf_keras

from train.cpu_kernels import use_cpu_kernels
from train.data.pipeline import Batch
from train.evaluator import Evaluator
from train.optimizer import MovingAverage, WarmupSchedule, make_optimizer
from train.stages import Phase, Stages
from train.strategy import synchronize_batch_norm
from train.task import Task

Metrics = dict[str, dict[str, float]]  # by weights ('raw', 'averaged'), by name


class Trainer:
    """Model, averaged model, optimiser and checkpoint of a run; made in the scope of its strategy."""

    def __init__(
        self,
        task: Task,
        strategy: tf.distribute.Strategy,
        steps_per_epoch: float,
        total_steps: int,
    ) -> None:
        config = task.config
        self.task, self.strategy = task, strategy
        self.model, self.averaged = task.build_for_training(), task.build()
        # Evaluation has networks of its own where training's is of another size, and where each
        # replica has BN statistics of its own: what is evaluated is their mean, as in a checkpoint.
        alone = strategy.num_replicas_in_sync == 1
        same = _shapes(self.model) == _shapes(self.averaged)
        self._raw = self.model if same and alone else task.build()
        self._judged = self.averaged if alone else task.build()
        if all(device.device_type == 'CPU' for device in tf.config.list_logical_devices()):
            use_cpu_kernels(self.model)
        if config.train.sync_batch_norm:
            synchronize_batch_norm(self.model)
        self.schedule = WarmupSchedule(
            config.schedule, config.train.batch_size, steps_per_epoch, total_steps
        )
        self.optimizer = make_optimizer(config.optimizer, self.schedule)
        self.average = MovingAverage(self.model, self.averaged, config.ema.decay)
        self.average.start()
        self.decayed = decayed_kernels(self.model)
        # Which part of a batch is under way, where there are several: no checkpoint needs it.
        self._part = tf.Variable(0, trainable=False, dtype=tf.int64)
        part = self._part if config.train.parts > 1 else None
        for layer in self.model.layers:
            if hasattr(layer, 'follow'):  # what it does in training depends on the step
                layer.follow(self.optimizer.iterations, config.seed, part)
        # The slots of the optimiser are made now, so that a checkpoint can be read into them.
        self.optimizer._create_all_weights(self.model.trainable_variables)
        self.stages = Stages(self.model, config.finetune, steps_per_epoch)
        self.optimizer.set_rate_factors(self.stages.rate_factors())
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, averaged=self.averaged, optimizer=self.optimizer
        )
        self._steps: dict[Phase, Callable] = {}

    def train(self, iterator: tf.data.Iterator, count: int) -> float:
        """Takes `count` steps of one phase; returns the mean loss over them, without weight decay."""
        phase = self.stages.phase_at(int(self.optimizer.iterations.numpy()))
        if phase not in self._steps:
            self.stages.enter(phase)
            self._steps[phase] = self._make_train()
        return float(self._steps[phase](iterator, tf.constant(count)))

    def step(self, batch: Batch) -> tf.Tensor:
        """One update, of one replica from its share of a batch; returns its share of the loss."""
        loss, gradients = self._gradients(batch)
        self._apply(gradients)
        return loss

    def evaluate(self, evaluator: Evaluator) -> Metrics:
        """Metrics of the raw and of the averaged weights."""
        for ours, judged in ((self.model, self._raw), (self.averaged, self._judged)):
            if judged is not ours:
                _copy(ours, judged)
        return {'raw': evaluator.run(self._raw), 'averaged': evaluator.run(self._judged)}

    def start_from(self, averaged: tf_keras.Model) -> None:
        """Begins with the weights of a network of the size of evaluation."""
        _copy(averaged, self.model)
        self.average.start()

    def first_not_finite(self) -> str | None:
        """The name of a weight with a value that is NaN or infinite; such a model is not saved."""
        for weight in self.model.weights:
            if weight.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(weight))):
                return weight.name
        return None

    def slow_down(self, factor: float) -> None:
        """Takes every learning rate of now on times a factor; steps are traced anew with it."""
        self.schedule.factor = factor
        self._steps.clear()

    def _make_train(self) -> Callable:
        """The step for the layers that learn now; a phase does not come back."""
        parts = self.task.config.train.parts
        take = self._whole_step if parts == 1 else self._step_in_parts(parts)

        @tf.function
        def train(iterator: tf.data.Iterator, count: tf.Tensor) -> tf.Tensor:
            total = tf.zeros([])
            for _ in tf.range(count):
                total += take(iterator)
            return total / tf.cast(count, tf.float32)

        return train

    def _whole_step(self, iterator: tf.data.Iterator) -> tf.Tensor:
        return self._sum(self.strategy.run(self.step, args=(next(iterator),)))

    def _step_in_parts(self, parts: int) -> Callable[[tf.data.Iterator], tf.Tensor]:
        """One update from the sum of the gradients of the parts of a batch."""
        with self.strategy.scope():
            # Each replica adds up its own; they are summed over replicas once, when they are applied.
            sums = [
                tf.Variable(
                    tf.zeros_like(variable),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for variable in self.model.trainable_variables
            ]

        def add(batch: Batch) -> tf.Tensor:
            loss, gradients = self._gradients(batch)
            for total, gradient in zip(sums, gradients, strict=True):
                total.assign_add(gradient)
            return loss

        def apply() -> None:
            self._apply([tf.identity(total) for total in sums])
            for total in sums:
                total.assign(tf.zeros_like(total))

        def take(iterator: tf.data.Iterator) -> tf.Tensor:
            loss = tf.zeros([])
            for part in tf.range(parts, dtype=tf.int64):
                self._part.assign(part)
                loss += self._sum(self.strategy.run(add, args=(next(iterator),)))
            self.strategy.run(apply)
            return loss

        return take

    def _gradients(self, batch: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """A replica's share of the loss of a step and of its gradients, from one batch."""
        config = self.task.config.train
        with tf.GradientTape() as tape:
            outputs = self.model(batch['image'], training=True)
            # Sums over the global batch: gradients are added up over parts and replicas.
            loss = tf.reduce_sum(self.task.loss(outputs, batch)) / config.batch_size
            total = loss
            if config.weight_decay:
                # tf.nn.l2_loss is ½·Σw², TF1's L2.
                decay = tf.add_n([tf.nn.l2_loss(kernel) for kernel in self.decayed])
                shares = self.strategy.num_replicas_in_sync * config.parts
                total += config.weight_decay * decay / shares
        return loss, tape.gradient(total, self.model.trainable_variables)

    def _apply(self, gradients: list[tf.Tensor]) -> None:
        """Moves a replica's weights and their averages."""
        step = tf.identity(self.optimizer.iterations)
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.average.update(step)

    def _sum(self, loss: tf.Tensor) -> tf.Tensor:
        return self.strategy.reduce('SUM', loss, axis=None)


def decayed_kernels(model: tf_keras.Model) -> list[tf.Variable]:
    """The kernels under weight decay: convolutions with squeeze-and-excite, head and logits.

    Depthwise kernels, BN and biases have none. Paper: §6.1.1 and its released code.
    """
    return [layer.kernel for layer in model.layers if type(layer) is tf_keras.layers.Conv2D]


def _shapes(model: tf_keras.Model) -> tuple:
    return model.input_shape, model.output_shape


def _copy(source: tf_keras.Model, target: tf_keras.Model) -> None:
    for weight, value in zip(target.weights, source.weights, strict=True):
        weight.assign(value)
