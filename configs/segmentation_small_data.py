"""Segmentation of a few hundred images, on a laptop, from public weights or from scratch.

    python -m train.main --task=segmentation --model=small_1024 --dataset=folder:PATH --init=WEIGHTS \\
        --resolution=360,480 --config=configs/segmentation_small_data.py --workdir=runs/streets
"""

from ml_collections import ConfigDict

from configs import segmentation


def get_config() -> ConfigDict:
    """Small batches, short averages, one power cycle."""
    c = segmentation.get_config('small_rf2_lr_aspp_128')
    # The blocks at stride 32 whole, as public weights have them.
    c.segmentation.halve_tail = False
    c.segmentation.crop = ()
    c.model.resolution = (96, 96)
    c.data.dataset = 'builtin:shapes'
    c.train.batch_size = 8
    c.train.epochs = 50.0
    c.optimizer.kind = 'rmsprop'
    c.optimizer.epsilon = 1e-6
    c.schedule.learning_rate = 2e-4
    c.schedule.base_batch_size = 8
    c.schedule.warmup_epochs = 1.0
    c.ema.decay = 0.995  # of thousands of steps
    c.augment.color = 'fast'
    c.eval.batch_size = 8
    c.eval.every_epochs = 10.0
    c.checkpoint.every_epochs = 5.0
    c.log_every_steps = 20
    return c
