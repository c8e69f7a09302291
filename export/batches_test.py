import pytest

from export.batches import batch_size


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [((96, 96, 3), 16), ((224, 224), 16), ((320, 320, 3), 7), ((1024, 2048, 3), 1)],
)
def test_large_images_come_in_small_batches(shape, expected):
    assert batch_size(16, shape) == expected
