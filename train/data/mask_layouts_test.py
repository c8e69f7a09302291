import numpy as np
import pytest
from PIL import Image

from train.data.mask_folder_test import SIZE, classes, examples, mask, open_at, write
from train.data.mask_layouts import LAYOUTS


@pytest.mark.parametrize(('images', 'masks'), LAYOUTS)
@pytest.mark.parametrize(('mask_name', 'val'), [('{}.png', 'val'), ('{}_L.PNG', 'valid')])
def test_masks_are_found_in_each_layout(tmp_path, images, masks, mask_name, val):
    for split in ('train', val):
        folders = [tmp_path / form.format(split) for form in (images, masks)]
        for folder in folders:
            folder.mkdir(parents=True)
        Image.new('RGB', SIZE[::-1]).save(folders[0] / 'x.y.jpg')
        Image.fromarray(mask(0, 1)).save(folders[1] / mask_name.format('x.y'))
    source = open_at(tmp_path)
    (raw,) = examples(source.val)
    np.testing.assert_array_equal(classes(raw), mask(0, 1))


def test_two_layouts_or_masks_are_named(tmp_path):
    root = write(tmp_path)
    (root / 'trainannot/0_mask.png').write_bytes((root / 'trainannot/0.png').read_bytes())
    with pytest.raises(ValueError, match=r'annot/0\.png \(beside 0_mask\.png; expected one\)'):
        open_at(root)
    (root / 'train_labels').mkdir()
    with pytest.raises(
        ValueError, match=r'has the train split twice, .*/trainannot and .*/train_labels;'
    ):
        open_at(root)


def test_a_mask_of_another_kind_is_named(tmp_path):
    root = write(tmp_path)
    (root / 'trainannot/0.png').rename(root / 'trainannot/0.jpg')
    with pytest.raises(
        ValueError, match=r'annot/0\.jpg \(no PNG file by its name; expected 0\.png'
    ):
        open_at(root)


def test_a_mask_of_another_image_is_not_taken(tmp_path):
    root = write(tmp_path)
    for folder in ('train', 'trainannot'):
        (root / folder / '0_mask.png').write_bytes((root / folder / '0.png').read_bytes())
    assert open_at(root).train.num_examples == 2


def test_no_layout_tells_which_were_looked_for(tmp_path):
    with pytest.raises(
        ValueError, match=r'no images with masks, .* images/train/ with masks/train/'
    ):
        open_at(tmp_path)
