"""The layers that the networks are made of, as calls on tensors [N, H, W, C]."""

from typing import Any

import tensorflow as tf
import tf_keras

from mobilenet_v3.spec import Activation, Gate, Normalize, Size, SqueezeExcite

_fold_in = tf.random.experimental.stateless_fold_in

Zeros = tuple[int, int] | None  # before and after, as `spec.explicit_padding` gives them

# Paper: released code. Keras's applications start from Glorot instead; under BN the scale of a
# kernel does not matter, and the layers without BN (squeeze-and-excite, features, logits) are
# small enough for 0.09.
KERNEL_STDDEV = 0.09


@tf_keras.utils.register_keras_serializable('mobilenet_v3')
class HardSigmoid(tf_keras.layers.Layer):
    """relu6(x + 3) / 6 (Paper: §5.2)."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps any shape to the same shape, in [0, 1]."""
        # The exact 1/6: a rounded 0.16667 stops the TFLite converter from fusing h-swish.
        return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


@tf_keras.utils.register_keras_serializable('mobilenet_v3')
class HardSwish(tf_keras.layers.Layer):
    """x · relu6(x + 3) / 6 (Paper: §5.2); one HARD_SWISH op in a float TFLite file."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps any shape to the same shape."""
        return x * (tf.nn.relu6(x + 3.0) * (1.0 / 6.0))


@tf_keras.utils.register_keras_serializable('mobilenet_v3')
class SeededDropout(tf_keras.layers.Dropout):
    """Dropout whose mask is a function of a seed and the training step.

    Keras's own keeps the state of its generator outside the checkpoint, so that a resumed run drops
    other units than an undisturbed one. A trainer calls `follow(step)`; without it, as in
    `model.fit`, the layer is Keras's dropout.
    """

    def follow(self, step: tf.Variable, seed: int, part: tf.Variable | None = None) -> None:
        """Derives every mask from `seed` and the values of `step` and `part`, int64 scalars.

        Args:
          step: updates made so far.
          seed: of the run.
          part: which part of its batch a pass sees, where a step takes several.
        """

        def step_seed() -> tf.Tensor:
            of_step = tf.stack([tf.cast(step, tf.int64), tf.constant(seed, tf.int64)])
            return of_step if part is None else _fold_in(of_step, part)

        # In a closure, so that Keras does not count the trainer's step among the model's weights.
        self._step_seed = step_seed

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drops units while training; the identity otherwise."""
        step_seed = getattr(self, '_step_seed', None)
        if not training or not self.rate or step_seed is None:
            return super().call(inputs, training=training)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = _fold_in(step_seed(), replica)
        return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed=seed)


@tf_keras.utils.register_keras_serializable('mobilenet_v3')
class Resize(tf_keras.layers.Layer):
    """Bilinear resizing with half-pixel centres: RESIZE_BILINEAR in a TFLite file.

    Keras's UpSampling2D gives the same, of whole factors only; feature maps of odd sides need more.

    Args:
      size: height and width of the output.
    """

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(size) != 2 or any(not isinstance(side, int) or side < 1 for side in size):
            raise ValueError(f'size is {size!r}; expected (height, width) of at least 1')
        self.size = (size[0], size[1])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps [N, h, w, C] to [N, height, width, C] of the same type."""
        return tf.cast(tf.image.resize(x, self.size, 'bilinear'), x.dtype)

    def get_config(self) -> dict[str, Any]:
        """What builds the layer again."""
        return {**super().get_config(), 'size': list(self.size)}


def activation(x: tf.Tensor, kind: Activation | Gate, name: str) -> tf.Tensor:
    """Applies a non-linearity by its name in a spec; 'linear' adds no layer."""
    if kind == 'linear':
        return x
    if kind == 'relu':
        return tf_keras.layers.ReLU(name=name)(x)
    if kind == 'relu6':
        return tf_keras.layers.ReLU(max_value=6.0, name=name)(x)
    if kind == 'hard_swish':
        return HardSwish(name=name)(x)
    if kind == 'hard_sigmoid':
        return HardSigmoid(name=name)(x)
    if kind == 'sigmoid':
        return tf_keras.layers.Activation('sigmoid', name=name)(x)
    raise ValueError(f'unknown activation {kind!r} of layer {name!r}')


def conv(
    x: tf.Tensor,
    filters: int,
    *,
    name: str,
    kernel: int = 1,
    stride: int = 1,
    use_bias: bool = True,
    bias: float = 0.0,
    padding: Zeros = None,
) -> tf.Tensor:
    """A convolution without BN: squeeze-and-excite, features, logits; `bias` is what it starts at."""
    x, mode = _pad(x, padding, name)
    return tf_keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding=mode,
        use_bias=use_bias,
        kernel_initializer=_initializer(),
        bias_initializer=tf_keras.initializers.Constant(bias),
        name=name,
    )(x)


def depthwise(
    x: tf.Tensor,
    *,
    name: str,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    padding: Zeros = None,
) -> tf.Tensor:
    """A depthwise convolution without bias: BN follows."""
    x, mode = _pad(x, padding, name)
    return tf_keras.layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        padding=mode,
        dilation_rate=dilation,
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=name,
    )(x)


def normalize(images: tf.Tensor, normalization: Normalize) -> tf.Tensor:
    """Images in [-1, 1] as the weights of a network from elsewhere expect them.

    A frozen layer of its own: taken into the stem it would be wrong at the borders, where the stem
    sees zeros of what this gives.

    Raises:
      ValueError: the images have another number of channels.
    """
    scale, shift = normalization.scale_and_shift()
    if images.shape[-1] != len(scale):
        raise ValueError(
            f'normalize has {len(scale)} means, the images have {images.shape[-1]} channels; set as '
            'many, or --config.model.input_channels'
        )
    return tf_keras.layers.DepthwiseConv2D(
        1,
        depthwise_initializer=tf_keras.initializers.Constant([[[[s] for s in scale]]]),
        bias_initializer=tf_keras.initializers.Constant(list(shift)),
        trainable=False,
        name='normalize/conv',
    )(images)


def batch_norm(x: tf.Tensor, *, name: str, momentum: float, epsilon: float) -> tf.Tensor:
    """Batch normalisation over [N, H, W]."""
    return tf_keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)(x)


def squeeze_excite(x: tf.Tensor, se: SqueezeExcite, squeezed: int, name: str) -> tf.Tensor:
    """Scales channels by a gate computed from their means (Paper: §5.3, Fig. 4).

    Both 1×1 convolutions are biased and have no BN; ReLU inside.
    """
    channels = x.shape[-1]
    gate = tf_keras.layers.GlobalAveragePooling2D(keepdims=True, name=f'{name}/pool')(x)
    gate = conv(gate, squeezed, name=f'{name}/squeeze')
    gate = activation(gate, 'relu', f'{name}/relu')
    gate = conv(gate, channels, name=f'{name}/excite')
    gate = activation(gate, se.gate, f'{name}/gate')
    return tf_keras.layers.Multiply(name=f'{name}/scale')([x, gate])


def _pad(x: tf.Tensor, zeros: Zeros, name: str) -> tuple[tf.Tensor, str]:
    """The tensor with its zeros around it, and what is left for the convolution to pad."""
    if zeros is None:
        return x, 'same'
    stem = name.removesuffix('/conv')
    return tf_keras.layers.ZeroPadding2D((zeros, zeros), name=f'{stem}/pad')(x), 'valid'


def _initializer() -> tf_keras.initializers.Initializer:
    return tf_keras.initializers.TruncatedNormal(stddev=KERNEL_STDDEV)
