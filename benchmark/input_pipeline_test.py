import json
import re

import pytest
from PIL import Image

from benchmark import input_pipeline
from benchmark.torch_peer import PillowDataset, has_torch, make_epochs


def test_made_photos_are_a_dataset_of_photos_size(tmp_path):
    input_pipeline.write_photos(str(tmp_path), 4)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.jpg'))
    assert files == [
        *('train/0/0.jpg', 'train/0/2.jpg', 'train/1/1.jpg', 'train/1/3.jpg'),
        *('val/0/4.jpg', 'val/1/5.jpg'),
    ]
    for file in files:
        # A photo has about two bits a pixel and more; a smooth image would decode too fast.
        assert Image.open(tmp_path / file).size == input_pipeline.PHOTO_SIZE
        assert (tmp_path / file).stat().st_size > input_pipeline.PHOTO_SIZE[
            0
        ] * input_pipeline.PHOTO_SIZE[1] / 4


def test_pipelines_are_measured_on_batches_of_a_folder(image_folder):
    config = input_pipeline.make_config(f'folder:{image_folder}', 32, 2)
    (row,) = input_pipeline.compare_pipelines(config, rounds=1, batches=1)
    assert (row.what, row.unit) == ('pipeline 32², batch 2', 'images/s')
    assert row.low == row.ratio == row.high > 0


def test_memory_is_told_at_equal_distances(image_folder):
    config = input_pipeline.make_config(f'folder:{image_folder}', 32, 2)
    points = input_pipeline.watch_memory(config, 60)
    assert [point.images for point in points] == list(range(6, 61, 6))
    assert all(point.megabytes > 10 for point in points)
    first, last = points[0].megabytes, points[-1].megabytes
    assert input_pipeline.growth_mb(points) == last - first


@pytest.mark.parametrize('argument', ['--rounds=0', '--output=.', '--images=0', '--dataset=voc:x'])
def test_a_wrong_flag_is_one_line_and_exit_code_2(run_python, tmp_path, argument):
    result = run_python('-m', 'benchmark.input_pipeline', argument, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1


@pytest.mark.slow
def test_the_command_measures_prints_and_writes(run_python, tmp_path):
    result = run_python(
        *('-m', 'benchmark.input_pipeline', '--output=new/x.json', '--resolution=32'),
        *('--batch_size=2', '--rounds=2', '--batches=2', '--photos=8'),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / 'new' / 'x.json').read_text())['pipeline']
    assert rows[0]['what'] == 'pipeline 32², batch 2'
    assert ('PyTorch is not installed' in result.stdout) == (len(rows) == 1)
    assert re.search(r'; a core: ours [\d.]+, peer [\d.]+', result.stdout)


# --------------------------------------------------------------------------------------- PyTorch


def make_dataset(files, length=4):
    return PillowDataset(files, length, (24, 32), (0.05, 1.0), (3 / 4, 4 / 3), 0.1, (0.5, 1.5))


@pytest.mark.skipif(not has_torch(), reason='needs PyTorch (the extra [torch])')
def test_pytorch_gives_images_as_ours_are(image_folder):
    file = str(next((image_folder / 'train' / 'red').iterdir()))
    image, label = make_dataset([(file, 2)])[3]
    assert tuple(image.shape) == (3, 24, 32)
    assert label == 2
    assert -1 <= float(image.min()) < float(image.max()) <= 1


@pytest.mark.skipif(not has_torch(), reason='needs PyTorch (the extra [torch])')
def test_a_pass_of_pytorch_ends_when_its_images_do(image_folder):
    file = str(next((image_folder / 'train' / 'red').iterdir()))
    begin = make_epochs(make_dataset([(file, 2)]), batch_size=2, workers=1)
    begin()(2)
    with pytest.raises(ValueError, match='the pass ended after 2 of 3 batches'):
        begin()(3)


def test_only_folders_are_read_by_pytorch(image_folder):
    from train.data.source import open_source

    config = input_pipeline.make_config(f'folder:{image_folder}', 32, 2)
    source = open_source(config.data)
    assert len(input_pipeline._files(source)) == 10
    with pytest.raises(ValueError, match="which PyTorch's loader reads"):
        input_pipeline._files(type(source)('tfrecord:x', source.labels, source.train, source.val))
