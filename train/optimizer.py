"""RMSProp and momentum as in TF1, learning rates over steps, and the moving average of a model."""

import math
from collections.abc import Iterable

import tensorflow as tf
import tf_keras
from ml_collections import ConfigDict


class _TF1Optimizer(tf_keras.optimizers.legacy.Optimizer):
    """What both optimisers share: a learning rate that may differ by variable, one fused op for each."""

    def __init__(
        self,
        learning_rate: float | tf_keras.optimizers.schedules.LearningRateSchedule,
        momentum: float,
        name: str,
    ) -> None:
        super().__init__(name)
        self._set_hyper('learning_rate', learning_rate)
        self._momentum = momentum
        self._rate_factors: dict[object, float] = {}  # by _key

    def set_rate_factors(self, factors: Iterable[tuple[tf.Variable, float]]) -> None:
        """Sets by how much the learning rate of a variable differs; 1 where none is given."""
        self._rate_factors = {_key(variable): factor for variable, factor in factors}

    def _rate(self, var: tf.Variable, apply_state: dict | None) -> tf.Tensor:
        dtype = var.dtype.base_dtype
        cached = (apply_state or {}).get((var.device, dtype))
        rate = cached['lr_t'] if cached else self._decayed_lr(dtype)
        return rate * self._rate_factors.get(_key(var), 1.0)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            'learning_rate': self._serialize_hyperparameter('learning_rate'),
            'momentum': self._momentum,
        }


class RMSPropTF1(_TF1Optimizer):
    """TF1's RMSPropOptimizer, which the paper trains classifiers with (§6.1.1).

    ms ← ρ·ms + (1 − ρ)·g²;  mom ← m·mom + lr·g / √(ms + ε);  w ← w − mom, with ms starting at one.
    tf_keras's own optimizers start it at zero, and the legacy one leaves ε outside the root when
    there is no momentum.
    """

    def __init__(
        self,
        learning_rate: float | tf_keras.optimizers.schedules.LearningRateSchedule,
        *,
        rho: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 0.002,
        name: str = 'rmsprop_tf1',
    ) -> None:
        super().__init__(learning_rate, momentum, name)
        self._rho, self._epsilon = rho, epsilon

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        for var in var_list:
            self.add_slot(var, 'mean_square', initializer='ones')
            self.add_slot(var, 'momentum', initializer='zeros')

    def _resource_apply_dense(
        self, grad: tf.Tensor, var: tf.Variable, apply_state: dict | None = None
    ) -> tf.Operation:
        dtype = var.dtype.base_dtype
        return tf.raw_ops.ResourceApplyRMSProp(
            var=var.handle,
            ms=self.get_slot(var, 'mean_square').handle,
            mom=self.get_slot(var, 'momentum').handle,
            lr=self._rate(var, apply_state),
            rho=tf.constant(self._rho, dtype),
            momentum=tf.constant(self._momentum, dtype),
            epsilon=tf.constant(self._epsilon, dtype),
            grad=grad,
            use_locking=self._use_locking,
        )

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), 'rho': self._rho, 'epsilon': self._epsilon}


class MomentumTF1(_TF1Optimizer):
    """TF1's MomentumOptimizer, which detection and segmentation are trained with.

    mom ← m·mom + g;  w ← w − lr·mom: the heavy ball, without Nesterov. Unlike tf_keras's SGD, what
    was gathered moves by the learning rate of now.
    """

    def __init__(
        self,
        learning_rate: float | tf_keras.optimizers.schedules.LearningRateSchedule,
        *,
        momentum: float = 0.9,
        name: str = 'momentum_tf1',
    ) -> None:
        super().__init__(learning_rate, momentum, name)

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        for var in var_list:
            self.add_slot(var, 'momentum', initializer='zeros')

    def _resource_apply_dense(
        self, grad: tf.Tensor, var: tf.Variable, apply_state: dict | None = None
    ) -> tf.Operation:
        return tf.raw_ops.ResourceApplyMomentum(
            var=var.handle,
            accum=self.get_slot(var, 'momentum').handle,
            lr=self._rate(var, apply_state),
            grad=grad,
            momentum=tf.constant(self._momentum, var.dtype.base_dtype),
            use_locking=self._use_locking,
            use_nesterov=False,
        )


def make_optimizer(
    config: ConfigDict, learning_rate: float | tf_keras.optimizers.schedules.LearningRateSchedule
) -> RMSPropTF1 | MomentumTF1:
    """The optimiser that the `optimizer` part of a config names.

    Raises:
      ValueError: an unknown kind, or a value out of range.
    """
    if not 0 <= config.momentum < 1:
        raise ValueError(f'config.optimizer.momentum is {config.momentum}; expected in [0, 1)')
    if config.kind == 'momentum':
        return MomentumTF1(learning_rate, momentum=config.momentum)
    if config.kind == 'rmsprop':
        if not 0 <= config.rho < 1:
            raise ValueError(f'config.optimizer.rho is {config.rho}; expected in [0, 1)')
        if not config.epsilon >= 0:
            raise ValueError(f'config.optimizer.epsilon is {config.epsilon}; expected at least 0')
        return RMSPropTF1(
            learning_rate, rho=config.rho, momentum=config.momentum, epsilon=config.epsilon
        )
    raise ValueError(f'config.optimizer.kind is {config.kind!r}; expected rmsprop or momentum')


class WarmupSchedule(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then exponential decay in steps of epochs, or one cosine or power to zero.

    Args:
      config: the `schedule` part of a config.
      batch_size: global batch; the rate scales linearly with it.
      steps_per_epoch: training steps of one epoch, may be fractional.
      total_steps: length of the run, for the cosine and the power.

    Attributes:
      factor: of all that is planned; a run that goes back to go on slower lowers it.
    """

    def __init__(
        self, config: ConfigDict, batch_size: int, steps_per_epoch: float, total_steps: int
    ) -> None:
        if config.kind not in ('exponential', 'cosine', 'poly'):
            raise ValueError(
                f'config.schedule.kind is {config.kind!r}; expected exponential, cosine or poly'
            )
        for field in ('learning_rate', 'base_batch_size', 'decay', 'decay_epochs', 'power'):
            if not config[field] > 0:
                raise ValueError(f'config.schedule.{field} is {config[field]}; expected above 0')
        if not config.warmup_epochs >= 0:  # NaN is not
            raise ValueError(
                f'config.schedule.warmup_epochs is {config.warmup_epochs}; expected at least 0'
            )
        self.factor = 1.0
        self._kind = config.kind
        self._decay, self._power = config.decay, config.power
        self._peak = config.learning_rate * batch_size / config.base_batch_size
        self._warmup_steps = config.warmup_epochs * steps_per_epoch
        self._decay_steps = config.decay_epochs * steps_per_epoch
        self._total_steps = total_steps

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """The learning rate of the update that takes `step` to step + 1."""
        return self.factor * self._planned(step)

    def _planned(self, step: int | tf.Tensor) -> tf.Tensor:
        # float32 counts steps exactly up to 2^24.
        step = tf.cast(step, tf.float32)
        if self._kind == 'exponential':
            rate = self._peak * self._decay ** tf.floor(step / self._decay_steps)
        else:
            length = max(1.0, self._total_steps - self._warmup_steps)
            progress = tf.clip_by_value((step - self._warmup_steps) / length, 0.0, 1.0)
            rate = self._peak * self._remaining(progress)
        if not self._warmup_steps:
            return rate
        # The first update has a rate, too: step 0 is one step of the ramp.
        ramp = self._peak * (step + 1.0) / self._warmup_steps
        return tf.where(step < self._warmup_steps, tf.minimum(self._peak, ramp), rate)

    def _remaining(self, progress: tf.Tensor) -> tf.Tensor:
        """The share of the rate that is left after a share of the run."""
        if self._kind == 'cosine':
            return 0.5 * (1.0 + tf.cos(math.pi * progress))
        return (1.0 - progress) ** self._power

    def get_config(self) -> dict:
        """The resolved values, for logs."""
        return {key.lstrip('_'): value for key, value in vars(self).items()}


class MovingAverage:
    """Keeps one model's weights as the moving average of another's, BN statistics included.

    Paper: §6.1.1, decay 0.9999. As TF1's ExponentialMovingAverage with `num_updates`, the decay
    grows as (1 + t) / (10 + t), so that a short run is not averaged with its random start.
    """

    def __init__(self, model: tf_keras.Model, averaged: tf_keras.Model, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f'config.ema.decay is {decay}; expected in [0, 1)')
        pairs = zip(averaged.weights, model.weights, strict=True)
        self._pairs = [pair for pair in pairs if pair[0].dtype.is_floating]
        self._decay = decay

    def start(self) -> None:
        """Makes both models equal; called once, outside a replica."""
        for average, weight in self._pairs:
            average.assign(weight)

    def update(self, step: tf.Variable) -> None:
        """Moves the averages; called in a replica after the weights changed.

        Args:
          step: updates made so far, before this one.
        """
        t = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + t) / (10.0 + t))

        def move(strategy: tf.distribute.Strategy, decay: tf.Tensor) -> None:
            for average, weight in self._pairs:
                # group=False: a value a replica, each of which moves its own copy.
                strategy.extended.update(average, _toward, args=(weight, decay), group=False)

        tf.distribute.get_replica_context().merge_call(move, args=(decay,))


def _key(variable: tf.Variable) -> object:
    """What a variable and its copies on the replicas of a strategy have in common."""
    container = getattr(variable, '_distributed_container', None)
    return (container() if container else variable)._unique_id


def _toward(average: tf.Variable, weight: tf.Variable, decay: tf.Tensor) -> tf.Operation:
    return average.assign_sub((1.0 - decay) * (average - weight))
