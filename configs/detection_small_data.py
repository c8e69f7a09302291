"""Detection on a few hundred or thousand images, on a laptop, from public weights or from scratch.

    python -m train.main --model=small_1024 --dataset=voc:PATH --init=WEIGHTS \\
        --config=configs/detection_small_data.py --workdir=runs/boxes
"""

from ml_collections import ConfigDict

from configs import detection


def get_config() -> ConfigDict:
    """Small batches, short averages, one cosine cycle."""
    c = detection.get_config()
    c.model.name = 'small'
    c.model.resolution = (256, 256)
    c.data.dataset = 'builtin:shapes'
    c.train.batch_size = 8
    c.train.epochs = 60.0
    c.optimizer.kind = 'rmsprop'
    c.optimizer.epsilon = 1e-6
    c.schedule.learning_rate = 1.5e-4
    c.schedule.base_batch_size = 8
    c.schedule.warmup_epochs = 1.0
    c.ema.decay = 0.99
    c.detection.min_scale, c.detection.reduced_first = 0.15, False
    c.augment.color = 'fast'
    c.augment.boxes.crop, c.augment.boxes.area = 0.5, (0.3, 1.0)
    c.eval.batch_size = 50
    c.eval.every_epochs = 10.0
    c.checkpoint.every_epochs = 10.0
    c.log_every_steps = 20
    return c
