"""Quantization-aware training of a network that is already trained; the export stage runs it.

    python -m export.tflite --workdir=runs/photos --output=exported --quantize \\
        --config.train.epochs=4

Network, data and preprocessing are the trained run's; only what stands here is this recipe's. Measured
on the released V3-Small and on networks trained here: see the README.
"""

from ml_collections import ConfigDict

from configs import base

# The parts of a config that a quantization-aware run takes from its recipe, not from the float run.
PARTS = (
    'train',
    'finetune',
    'optimizer',
    'schedule',
    'ema',
    'distill',
    'quantize',
    'eval',
    'checkpoint',
    'log_every_steps',
    'on_nan',
    'divergence',
)


def get_config() -> ConfigDict:
    """A few gentle epochs that follow the float network's answers and the labels."""
    c = base.get_config()
    c.train.batch_size = 32
    c.train.epochs = 4.0
    c.train.label_smoothing = 0.0
    c.train.weight_decay = 0.0  # the kernels have batch normalisation in them now
    c.optimizer.epsilon = 1e-6
    c.schedule.kind = 'cosine'
    c.schedule.learning_rate = 1e-5  # of 10,000 images and more: quantize.full_rate_images
    c.schedule.base_batch_size = 32
    c.schedule.warmup_epochs = 0.0
    c.ema.decay = 0.0  # of so short a run the last weights are the best
    c.distill.weight = 0.5
    c.augment.area = (0.5, 1.0)  # where no run says otherwise: with --init
    c.augment.color = 'none'
    c.eval.batch_size = 50
    c.eval.every_epochs = 1.0
    c.checkpoint.every_epochs = 0.5
    c.checkpoint.keep = 2
    c.log_every_steps = 10
    return c
