"""From public weights to one's own few thousand photos.

    python -m train.main --config=configs/finetune.py --init=WEIGHTS --model=small \\
        --dataset=folder:PHOTOS --resolution=128 --workdir=runs/photos
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The head first, then everything, gently."""
    c = base.get_config()
    c.model.name = 'small'
    c.model.resolution = (128, 128)
    c.data.dataset = 'builtin:shapes'
    c.augment.area = (0.3, 1.0)
    c.train.batch_size = 32
    c.train.epochs = 20.0
    c.optimizer.epsilon = 1e-6
    c.schedule.kind = 'cosine'
    c.schedule.learning_rate = 2e-4
    c.schedule.base_batch_size = 32
    c.schedule.warmup_epochs = 1.0
    c.ema.decay = 0.998
    c.finetune.unfreeze = ((0.0, 'head'), (2.0, 'stem'))
    c.eval.batch_size = 250
    c.eval.every_epochs = 2.0
    c.checkpoint.every_epochs = 2.0
    c.log_every_steps = 20
    return c
