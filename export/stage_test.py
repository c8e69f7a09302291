import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import base
from export.stage import export_run
from train import loop


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Three classes of coloured noise that a network tells apart in a few steps."""
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    for split, number in (('train', 16), ('val', 5)):
        for channel, label in enumerate(('red', 'green', 'blue')):
            (folder / split / label).mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(0, 120, (40, 48, 3), dtype=np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / split / label / f'{i}.jpg')
    return folder


@pytest.fixture(scope='module')
def workdir(photos, tmp_path_factory):
    config = base.get_config()
    config.model.name, config.model.resolution, config.model.multiplier = 'small', (32, 32), 0.35
    config.data.dataset = f'folder:{photos}'
    config.train.batch_size, config.train.epochs = 8, 1.0
    config.schedule.base_batch_size, config.schedule.learning_rate = 8, 0.001
    folder = tmp_path_factory.mktemp('run')
    loop.run(config, str(folder))
    return folder


@pytest.fixture(scope='module')
def exported(workdir, tmp_path_factory):
    output = tmp_path_factory.mktemp('exported')
    return export_run(str(workdir), str(output), quantize=True)


def test_a_run_becomes_a_float_and_an_int8_file_with_cards(exported):
    cards = [json.loads(Path(path).with_suffix('.json').read_text()) for path in exported]
    assert [card['scheme'] for card in cards] == ['float32', 'int8']
    for card in cards:
        assert card['labels'] == ['blue', 'green', 'red']
        assert card['config']['model']['multiplier'] == 0.35
        assert card['spec']['name'] == 'small'
        assert card['trained_steps'] == 6
        assert card['evaluation']['examples'] == 15
        assert len(card['sha256']) == 64
    assert cards[0]['evaluation']['max_difference'] < 1e-4
    assert cards[0]['evaluation']['agreement'] == 1.0
    assert cards[0]['partitions'] == 1
    assert cards[1]['float_ops'] == {}
    assert cards[1]['size_bytes'] < cards[0]['size_bytes']
    assert cards[0]['evaluation']['keras'] == cards[1]['evaluation']['keras']


def test_the_card_says_how_good_the_averaged_weights_are(workdir, exported):
    card = json.loads(Path(exported[0]).with_suffix('.json').read_text())
    results = json.loads((workdir / 'results.json').read_text())
    assert card['evaluation']['keras']['top1'] == pytest.approx(results['averaged']['top1'])
    assert card['evaluation']['keras']['loss'] == pytest.approx(
        results['averaged']['loss'], rel=1e-4
    )


def test_exporting_again_replaces_the_files_and_leaves_nothing_else(workdir, exported, tmp_path):
    again = export_run(str(workdir), str(tmp_path), quantize=False)
    assert Path(again[0]).read_bytes() == Path(exported[0]).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'small_float32.json',
        'small_float32.tflite',
    ]


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match='has no checkpoint; expected the --workdir of a run'):
        export_run(str(tmp_path), str(tmp_path / 'out'), quantize=True)
    assert not (tmp_path / 'out').exists()


def test_a_dataset_that_changed_its_classes_is_refused(workdir, photos, tmp_path):
    (photos / 'train' / 'grey').mkdir()
    (photos / 'val' / 'grey').mkdir()
    try:
        for split in ('train', 'val'):
            Image.new('RGB', (40, 40)).save(photos / split / 'grey' / '0.png')
        with pytest.raises(ValueError, match='has 4 classes, other than the 3 that the run was'):
            export_run(str(workdir), str(tmp_path), quantize=False)
    finally:
        for split in ('train', 'val'):
            (photos / split / 'grey' / '0.png').unlink()
            (photos / split / 'grey').rmdir()
