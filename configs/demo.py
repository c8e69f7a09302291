"""`make demo`: MobileNetV3-Small on the built-in shapes in about five minutes on two cores.

python -m train.main --config=configs/demo.py --workdir=runs/demo
"""

from ml_collections import ConfigDict

from configs import small_data


def get_config() -> ConfigDict:
    """The small-data recipe, for fewer epochs."""
    c = small_data.get_config()
    c.augment.area = (0.7, 1.0)  # a smaller crop may cut away the shape that is the label
    c.train.epochs = 14.0
    c.schedule.warmup_epochs = 1.0
    # So short a run ends where chance leads it: the loss rises again behind the warm-up, and how soon
    # it comes back differs by seed and by rounding. At 3e-4, under two sets of kernels, seed 0 ended at
    # 86.4 and 74.8 %, seed 1 at 88.3 and 89.9 %; at 2e-4 the two at 87.7 and 79.5 %.
    c.schedule.learning_rate = 2e-4
    c.ema.decay = 0.99
    c.eval.every_epochs = 2.0
    return c
