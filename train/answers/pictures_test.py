from pathlib import Path

import pytest
from PIL import Image

from train.answers.pictures import save_picture, where_to_save
from train.answers.sheet import Line, Tile


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ('a/b/x.jpg', 'a/x.y.jpg', 'a/x.y.bmp', 'c/b/X.jpeg'):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()


def test_no_two_pictures_have_one_name(here):
    assert where_to_save(['a', './c', 'a/b/x.jpg', 'c/b/X.jpeg'], Path('out')) == {
        'a/x.y.bmp': Path('out/x.y.png'),
        'a/x.y.jpg': Path('out/x.y_2.png'),
        'a/b/x.jpg': Path('out/b/x.png'),
        './c/b/X.jpeg': Path('out/b/X_2.png'),
        'c/b/X.jpeg': Path('out/X.png'),
    }


def test_no_image_is_written_over(here):
    Path('a/b/x.png').touch()
    with pytest.raises(
        ValueError, match=r'output_dir is c/\.\./a, where the picture c/\.\./a/b/x.*png'
    ):
        where_to_save(['a'], Path('c/../a'))


def test_a_picture_gets_its_folder(tmp_path):
    save_picture(tmp_path / 'a/b/x.png', Tile(Image.new('RGB', (300, 5)), (Line('sky'),)))
    assert Image.open(tmp_path / 'a/b/x.png').size[0] == 300
