"""LR-ASPP and R-ASPP on Cityscapes: every row of Tables 7 and 8 of the paper, by its name.

    python -m train.main --task=segmentation --dataset=cityscapes \\
        --config=configs/segmentation.py:small_rf2_lr_aspp_128 --workdir=runs/streets

Batch 16, 90,000 steps from scratch. Expected mIoU on the validation images (Paper: Table 7): 72.36 of
v3_rf2_lr_aspp_128, the row that is taken where none is named, 68.38 of small_rf2_lr_aspp_128. Not run
by us from end to end: no machine of ours trains Cityscapes.
"""

import difflib

from ml_collections import ConfigDict

from configs import base
from mobilenet_v3.head_tables import TABLES_7_AND_8

_STEPS = 90_000
_BATCH_SIZE, _CITYSCAPES_IMAGES = 16, 2_975  # with fine annotations, for training


def get_config(row: str = 'v3_rf2_lr_aspp_128') -> ConfigDict:
    """The recipe of DeepLab, which the paper follows (§6.4), for a row of its tables.

    Args:
      row: as `mobilenet_v3.head_tables` names it.

    Raises:
      ValueError: there is no such row.
    """
    c = base.get_config()
    c.task = 'segmentation'
    _take_row(c, row)
    c.model.resolution = (1024, 2048)
    c.segmentation.crop = (769, 769)
    c.data.dataset = 'cityscapes'
    c.data.shuffle_buffer = 512  # of 2.5 MB each
    c.train.batch_size = _BATCH_SIZE
    c.train.epochs = _STEPS * _BATCH_SIZE / _CITYSCAPES_IMAGES
    c.train.label_smoothing = 0.0
    c.train.weight_decay = 4e-5
    c.optimizer.kind = 'momentum'
    c.schedule.kind = 'poly'
    # The paper does not say. DeepLab's authors name 0.01, of 16 crops, for Cityscapes's fine set.
    c.schedule.learning_rate = 0.01
    c.schedule.base_batch_size = _BATCH_SIZE
    c.schedule.warmup_epochs = 0.0
    c.ema.decay = 0.0  # DeepLab averages nothing
    c.augment.color = 'none'
    c.eval.batch_size = 1  # logits of a whole image have 160 MB
    c.eval.every_epochs = 20.0
    c.checkpoint.every_epochs = 5.0
    return c


def _take_row(c: ConfigDict, name: str) -> None:
    rows = {row[0]: row[1:] for row in TABLES_7_AND_8}
    if name not in rows:
        near = difflib.get_close_matches(name, rows, n=1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        raise ValueError(f'unknown row {name!r} of Tables 7 and 8; {hint}known: {", ".join(rows)}')
    c.model.name, c.model.multiplier, c.segmentation.halve_tail, *head = rows[name]
    c.segmentation.kind, c.segmentation.filters, c.segmentation.output_stride = head
