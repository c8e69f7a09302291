"""From public weights to one's own few thousand photos.

    python -m train.main --config=configs/finetune.py --init=WEIGHTS --model=small \\
        --dataset=folder:PHOTOS --resolution=128 --workdir=runs/photos

Each value was tried against others on 3,668 photos of flowers (README, "Start from public weights").
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
    c.train.epochs = 30.0
    c.optimizer.epsilon = 1e-6
    c.schedule.kind = 'cosine'
    c.schedule.learning_rate = 2e-4
    c.schedule.base_batch_size = 32
    c.schedule.warmup_epochs = 1.0
    c.ema.decay = 0.998
    # The head starts from nothing and may hurry; what is learned already would be lost at its rate:
    # RMSProp's steps are of the rate's size whatever the gradient's, and momentum makes ten of one.
    c.finetune.unfreeze = ((0.0, 'head'), (2.0, 'stem'))
    c.finetune.backbone_rate = 0.1
    c.finetune.freeze_batch_norm = True
    c.eval.batch_size = 250
    c.eval.every_epochs = 2.0
    c.checkpoint.every_epochs = 2.0
    c.log_every_steps = 20
    return c
