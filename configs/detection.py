"""SSDLite as the paper's code trains it, on COCO.

    python -m train.main --task=detection --model=large --dataset=coco/2017 \\
        --config=configs/detection.py --workdir=runs/coco

Batch 512, 400,000 steps from scratch; expected mAP on COCO's test set (Paper: Table 6): Large and
Large† 22.0, Small 16.0, Small† 16.1 (†: --config.detection.halve_tail=True). Not run by us from end to
end: no machine of ours trains COCO.
"""

from ml_collections import ConfigDict

from configs import base

_STEPS, _WARMUP_STEPS = 400_000, 2_000
_BATCH_SIZE, _COCO_IMAGES = 512, 118_287  # of train2017


def get_config() -> ConfigDict:
    """The released config of SSDLite with MobileNetV3, which the paper's §6.3 leaves out."""
    c = base.get_config()
    c.task = 'detection'
    c.model.resolution = (320, 320)
    c.data.dataset = 'coco/2017'
    c.train.batch_size = _BATCH_SIZE
    c.train.epochs = _STEPS * _BATCH_SIZE / _COCO_IMAGES
    c.train.label_smoothing = 0.0  # of sigmoids there is none
    c.train.weight_decay = 4e-5
    c.optimizer.kind = 'momentum'
    c.schedule.kind = 'cosine'
    c.schedule.learning_rate = 0.4
    c.schedule.base_batch_size = _BATCH_SIZE
    c.schedule.warmup_epochs = _WARMUP_STEPS * _BATCH_SIZE / _COCO_IMAGES
    c.ema.decay = 0.0  # use_moving_average: false
    c.augment.color = 'none'
    c.eval.batch_size = 64
    c.eval.every_epochs = 25.0
    c.checkpoint.every_epochs = 5.0
    return c
