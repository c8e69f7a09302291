"""Segmentation from end to end: trained, continued, evaluated and asked, as a run and as files."""

import json
import signal

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pycocotools import mask as run_lengths

from train import loop
from train.data.mask_augment import eval_mask
from train.data.source import open_source
from train.evaluate import measure
from train.initial import read_initial
from train.predict import predict
from train.predictor import open_predictor
from train.prepare import prepare
from train.run import load_trained, resolve_spec
from train.testing import assert_same_variables, at_step, send, variables, write_tflite


@pytest.fixture(scope='module')
def folder(tiny_segmentation_run, mask_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp('segmentation')
    run, model, _ = load_trained(str(tiny_segmentation_run))
    (folder / 'run').symlink_to(tiny_segmentation_run)
    (folder / 'images').symlink_to(mask_folder / 'test')
    write_tflite(folder / 'logits.tflite', model, run)
    return folder


def expected_confusion(run, model, split):
    """Every pixel of the split, by plain numpy: [N, K, K]."""
    task, found = run.make_task(), []
    for raw in split.examples():
        example = task.eval_example(raw)
        batch = task.eval_batch({'image': example['image'][None]})
        logits = tf.image.resize(model(batch['image']), example['mask'].shape)[0]
        truth, classes = example['mask'].numpy(), np.argmax(logits, axis=-1)
        counts = np.zeros((3, 3), int)
        for i, j in np.ndindex(truth.shape):
            if truth[i, j] != 255:
                counts[truth[i, j], classes[i, j]] += 1
        found.append(counts)
    return np.stack(found)


def test_the_figures_are_those_of_every_pixel(tiny_segmentation_run):
    run, model, _ = load_trained(str(tiny_segmentation_run))
    results = json.loads((tiny_segmentation_run / 'results.json').read_text())
    counts = expected_confusion(run, model, open_source(run.config.data, 'segmentation').val)
    assert results['examples'] == len(counts) == 7
    total = counts.sum(axis=0)
    right = np.diagonal(total)
    iou = right / (total.sum(axis=0) + total.sum(axis=1) - right)
    assert results['averaged']['miou'] == pytest.approx(iou.mean(), abs=1e-3)
    assert results['averaged']['pixel_accuracy'] == pytest.approx(
        right.sum() / total.sum(), abs=1e-3
    )
    assert set(results['raw']) == {'miou', 'pixel_accuracy', 'loss'}
    assert results['raw'] != results['averaged']


def test_a_run_that_was_stopped_ends_with_the_same_weights(
    tiny_segmentation_config, tiny_segmentation_run, tmp_path, monkeypatch
):
    at_step(monkeypatch, 3, send(signal.SIGTERM))
    assert loop.run(tiny_segmentation_config(), str(tmp_path)) is None
    monkeypatch.undo()
    assert loop.run(tiny_segmentation_config(), str(tmp_path)) is not None
    assert_same_variables(tmp_path, variables(tiny_segmentation_run))


def test_a_run_starts_from_another_of_other_sizes(
    tiny_segmentation_config, tiny_segmentation_run, tmp_path, capsys
):
    config = tiny_segmentation_config()
    config.init.source = str(tiny_segmentation_run)
    config.model.resolution, config.segmentation.crop = (64, 64), ()
    config.segmentation.filters = 8
    config.train.epochs = 0.4
    loop.run(config, str(tmp_path))
    assert 'fresh: lraspp' in capsys.readouterr().out
    assert load_trained(str(tmp_path))[1].output_shape == (None, 64, 64, 3)


def test_a_classifiers_run_goes_under_the_head_but_not_with_halved_blocks(
    tiny_segmentation_config, tiny_run
):
    config = tiny_segmentation_config()
    config.init.source = str(tiny_run)
    assert read_initial(config, resolve_spec(config)).spec.output_stride == 16
    config.segmentation.halve_tail = True
    with pytest.raises(
        ValueError, match=r'whole ones go with --config.segmentation.halve_tail=Fal'
    ):
        read_initial(config, resolve_spec(config))


def test_weights_balance_the_pixels_of_classes(tiny_segmentation_config):
    config = tiny_segmentation_config()
    config.train.balanced = True
    weights = prepare(config, None).run.config.train.class_weights
    source = open_source(config.data, 'segmentation')
    masks = np.concatenate([eval_mask(raw).numpy().ravel() for raw in source.train.examples()])
    counts = np.bincount(masks, minlength=256)[:3]
    np.testing.assert_allclose(weights, counts.sum() / (3 * counts), rtol=1e-6)


def test_a_file_is_judged_as_its_run(folder, tiny_segmentation_run):
    predictors = [open_predictor(str(folder / name)) for name in ('run', 'logits.tflite')]
    split = open_source(predictors[0].config.data, 'segmentation').split('test')
    ours, theirs = (measure(predictor, split) for predictor in predictors)
    run, model, _ = load_trained(str(tiny_segmentation_run))
    expected = expected_confusion(run, model, split)
    for found in (ours, theirs):
        assert found['confusion'].shape == (4, 3, 3)
        assert np.abs(found['confusion'] - expected).sum() <= 4
        np.testing.assert_allclose(found['loss'], ours['loss'], rtol=1e-3)
        assert tf.io.decode_png(found['found'][0]).shape == (48, 64, 1)


def test_a_file_without_logits_is_judged_by_its_classes(folder, tiny_segmentation_run):
    run, model, _ = load_trained(str(tiny_segmentation_run))
    labels = tf.argmax(model.output, axis=-1, output_type=tf.int32)
    write_tflite(folder / 'labels.tflite', type(model)(model.input, labels), run)
    found, logits = (
        open_predictor(str(folder / 'labels.tflite')),
        open_predictor(str(folder / 'run')),
    )
    split = open_source(run.config.data, 'segmentation').val
    judged = measure(found, split)
    assert set(found.task.metrics(judged)) == {'miou', 'pixel_accuracy'}
    pictures = zip(judged['found'], measure(logits, split)['found'], strict=True)
    same = [tf.io.decode_png(ours) == tf.io.decode_png(theirs) for ours, theirs in pictures]
    assert np.mean(same) > 0.999


def test_predictions_hold_the_regions_of_an_image(folder):
    predictor = open_predictor(str(folder / 'run'))
    files = [str(folder / 'images' / f'{number}.jpg') for number in range(4)]
    for _, pixels, found, _ in predict(predictor, files):
        assert pixels.shape[2] == 3
        regions = np.stack([run_lengths.decode(p['region']) for p in found])
        assert regions.shape[1:] == (48, 64)
        assert (regions.sum(axis=0) == 1).all()
        assert [p['share'] for p in found] == pytest.approx(list(regions.mean(axis=(1, 2))))


def test_a_classifiers_file_is_no_segmenter(folder, tiny_run, tiny_segmentation_run):
    _, model, _ = load_trained(str(tiny_run))
    run, _, _ = load_trained(str(tiny_segmentation_run))
    write_tflite(folder / 'classifier.tflite', model, run)
    with pytest.raises(
        ValueError, match=r'no segmenter: .* its outputs \[\(1, 3\)\]; expected one'
    ):
        open_predictor(str(folder / 'classifier.tflite'))


@pytest.mark.slow
def test_the_commands_write_reports_and_sheets(folder, run_python):
    result = run_python(
        '-m', 'train.evaluate', '--model=run', '--split=test', '--output=evaluated', cwd=folder
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith('mIoU ')
    report = (folder / 'evaluated' / 'report.md').read_text()
    assert '![the worst images](worst.png)' in report
    result = run_python(
        '-m', 'train.predict', '--model=run', '--sheet=x.png', '--top=2', 'images', cwd=folder
    )
    assert result.returncode == 0, result.stderr
    head, *lines = [line.split() for line in result.stdout.splitlines()]
    assert head == ['file', 'label', 'share']
    assert 4 <= len(lines) <= 8
    assert Image.open(folder / 'x.png').size[0] > 1200


@pytest.mark.parametrize('name', ['run', 'logits.tflite'])
def test_two_classes_of_one_name_are_refused(folder, name):
    with pytest.raises(
        ValueError, match='--labels names road more than once; expected names of seg'
    ):
        open_predictor(str(folder / name), ('road', 'sky', 'road'))
