"""How each algorithm searches: the place where every setting is declared with its default and unit.

    python -m search.main --algorithm=netadapt --seed_model=large --target=0.8x … \\
        --search.netadapt.delta=0.05

The defaults are the paper's where it has one (§4).
"""

import math

from ml_collections import ConfigDict

from configs import base
from search.space import MNASNET


def get_config() -> ConfigDict:
    """The settings."""
    c = ConfigDict()
    c.seed = 0  # of what algorithms draw; networks have the config's
    # One of each n training images is held out to judge by; 0: judged by the evaluation set.
    c.holdout = 10

    c.netadapt = ConfigDict()
    c.netadapt.delta = (
        0.01  # least that a proposal is faster by, share of the seed's latency (§4.2)
    )
    c.netadapt.steps = 10_000  # T, fine-tuning steps of each proposal (§4.2)
    c.netadapt.rate = 0.3  # of the config's learning rate, at the start of each fine-tuning
    c.netadapt.criterion = 'l2'  # by which channels stay: l2, geometric_median or kse
    c.netadapt.lowest = 0.25  # narrowest widths, share of the seed's; what the table has to hold

    c.sampling = ConfigDict()  # of nas, evolution and random
    c.sampling.budget = 1000  # architectures in all
    c.sampling.batch = 4  # architectures between two lessons of the algorithm
    c.sampling.epochs = 5.0  # of each child (MnasNet, arXiv:1807.11626, §5)
    c.sampling.reward_weight = -0.07  # w of ACC · (LAT / TAR)^w; -0.15 for small networks (§4.1)

    c.space = ConfigDict({name: tuple(options) for name, options in MNASNET.items()})

    c.nas = ConfigDict()  # search/algorithms/nas.py
    c.nas.units = 64
    c.nas.learning_rate = 0.01
    c.nas.updates = 5  # in each lesson
    c.nas.clip = 0.2
    c.nas.entropy = 0.3
    c.nas.memory = 20  # samples that a lesson is of

    c.evolution = ConfigDict()  # search/algorithms/evolution.py
    c.evolution.population = 50
    c.evolution.tournament = 10
    c.lock()
    return c


def check(settings: ConfigDict) -> None:
    """Sees that values are in range; what is not here is seen to where it is used.

    Raises:
      ValueError: one is not.
    """
    for field, expected, holds in (
        ('netadapt.steps', 'at least 1', lambda value: value >= 1),
        ('netadapt.rate', 'above 0', lambda value: value > 0),
        ('sampling.budget', 'at least 1', lambda value: value >= 1),
        ('sampling.batch', 'at least 1', lambda value: value >= 1),
        ('sampling.epochs', 'above 0', lambda value: value > 0),
        ('sampling.reward_weight', '0 or below', lambda value: value <= 0),
    ):
        part, name = field.split('.')
        value = settings[part][name]
        if not (math.isfinite(value) and holds(value)):
            raise ValueError(f'search.{field} is {value}; expected {expected}')


def check_config(config: ConfigDict) -> None:
    """Sees that a recipe of training is one for networks that are compared from scratch.

    Raises:
      ValueError: it is of another task or of images that are not square, or it needs weights.
    """
    if config.task != 'classification':
        raise ValueError(f'config.task is {config.task!r}; a search trains classification only')
    height, width = config.model.resolution
    if height != width:
        raise ValueError(f'the resolution is {height}×{width}; a search takes square images only')
    if config.init.source or config.distill.weight:
        raise ValueError(
            'config.init.source and config.distill are not for a search, whose networks start from '
            'random weights or their parents; give NetAdapt a trained seed by --seed_run'
        )
    if config.finetune.to_dict() != base.get_config().finetune.to_dict():
        raise ValueError(
            'config.finetune keeps trained layers as they were, while networks of a search learn as '
            'a whole; use a --config without it, such as configs/small_data.py'
        )
