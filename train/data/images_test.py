import os

import numpy as np
import pytest
from PIL import Image

from train.data.images import find_images, read_image


def save(path, color=(200, 10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (4, 6), color).save(path)
    return str(path)


def test_folders_are_walked_in_the_order_of_names(tmp_path):
    expected = [save(tmp_path / name) for name in ('b.png', 'c.JPG', 'a/1.bmp', 'd/e/2.jpeg')]
    for other in ('.hidden.png', '.cache/3.png', 'a/._1.bmp.png'):
        save(tmp_path / other)
    (tmp_path / 'a' / 'notes.txt').write_text('x')
    assert find_images([str(tmp_path)]) == expected
    assert find_images(['z.webp', str(tmp_path / 'a')]) == ['z.webp', expected[2]]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'holds no image \(\.jpg'):
        find_images([str(tmp_path)])


def test_an_image_is_its_bytes_and_its_pixels(tmp_path):
    path = save(tmp_path / 'ø.png')
    content, pixels = read_image(path)
    assert content[1:4] == b'PNG'
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.uint8([200, 10, 10]), (6, 4, 3)))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [(b'', 'empty file'), (b'hello', 'damaged or no image'), (None, 'no such file')],
)
def test_why_an_image_cannot_be_decoded(tmp_path, content, reason):
    if content is not None:
        (tmp_path / 'x.jpg').write_bytes(content)
    with pytest.raises(ValueError, match=f'^{reason}$'):
        read_image(str(tmp_path / 'x.jpg'))


def test_a_pipe_is_not_waited_for(tmp_path, run_python):
    os.mkfifo(tmp_path / 'x.jpg')
    result = run_python(
        '-c', "from train.data.images import read_image; read_image('x.jpg')", cwd=tmp_path
    )
    assert result.stderr.endswith('ValueError: no such file\n')
