import pytest

from configs.segmentation import get_config
from mobilenet_v3.head_tables import TABLES_7_AND_8


@pytest.mark.parametrize('row', TABLES_7_AND_8)
def test_a_row_of_the_tables_is_taken_over(row):
    c = get_config(row[0])
    head = c.segmentation
    found = c.model.name, c.model.multiplier, head.halve_tail
    assert (row[0], *found, head.kind, head.filters, head.output_stride) == row


def test_an_unknown_row_is_refused():
    with pytest.raises(ValueError, match=r"unknown row 'v3_lr_aspp'.* did you mean 'v3_r.*_aspp_"):
        get_config('v3_lr_aspp')


def test_the_papers_recipe():
    c = get_config()
    assert tuple(c.segmentation.crop) == (769, 769)  # of DeepLab (arXiv:1802.02611, §4.3)
    assert (c.schedule.kind, c.schedule.power, c.optimizer.kind) == ('poly', 0.9, 'momentum')
    assert c.train.weight_decay == 4e-5
    assert (tuple(c.augment.masks.scale), c.augment.masks.scale_step) == ((0.5, 2.0), 0.25)
    assert c.segmentation.halve_tail
    assert c.model.name == 'large'
