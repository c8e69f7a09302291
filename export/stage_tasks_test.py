"""The export stage for networks that detect and segment."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from export import metadata, stage
from export.card import describe
from export.metadata_reader import read_metadata
from export.stage import SCHEMES, Options, export
from export.start import from_run
from train.card_file import read_card
from train.data import pipeline
from train.detection.box_coder import decode
from train.evaluate import measure
from train.predictor import open_predictor
from train.tflite_file import TFLiteModel, open_interpreter

HEADS = ('boxes', 'scores')
DETECTIONS = ('boxes', 'classes', 'scores', 'count')


@pytest.fixture(scope='module')
def detector(tiny_detection_run):
    return settled(from_run(str(tiny_detection_run)))


@pytest.fixture(scope='module')
def segmenter(tiny_segmentation_run):
    return settled(from_run(str(tiny_segmentation_run)))


def settled(trained):
    """With the statistics of a batch: after eight steps activations fade, and 8 bits with them."""
    task = trained.run.make_task()
    batches = pipeline.train_batches(trained.source.train, task, batch_size=8, seed=0)
    images = tf.image.resize(next(iter(batches))['image'], task.resolution)
    for layer in trained.model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0
    trained.model(images, training=True)
    return trained


@pytest.fixture(scope='module')
def plain_recipe(tiny_recipe):
    """Without the search of ranges, which trained networks are exported with below."""
    recipe = tiny_recipe()
    recipe.quantize.search_images = 0
    return recipe


@pytest.fixture(scope='module')
def detections(detector, plain_recipe, tmp_path_factory):
    """The folder of files of detections, of all schemes, and of raw heads, float and int8."""
    output = tmp_path_factory.mktemp('detections')
    schemes = tuple(scheme for scheme in SCHEMES if scheme != 'int16x8')
    export(detector, Options(str(output), schemes, method='ptq'), plain_recipe)
    raw = Options(str(output), ('int8',), method='ptq', outputs='raw')
    export(detector, raw, plain_recipe)
    return output


@pytest.fixture(scope='module')
def maps(segmenter, plain_recipe, tmp_path_factory):
    """The folder of files of logits, of all schemes, and of labels, float and int8."""
    output = tmp_path_factory.mktemp('maps')
    export(segmenter, Options(str(output), SCHEMES, method='ptq'), plain_recipe)
    labels = Options(str(output), ('int8',), method='ptq', outputs='labels')
    export(segmenter, labels, plain_recipe)
    return output


def card(folder, name):
    return json.loads((folder / f'tiny_{name}.json').read_text())


def batch_of(trained):
    """The evaluation set as a batch."""
    task, val = trained.run.make_task(), trained.source.val
    return task, next(iter(pipeline.eval_batches(val, task, batch_size=val.num_examples)))


# ------------------------------------------------------------------------------ detection


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['float32', 'int8', 'dynamic', 'float16'])
def test_a_detector_becomes_one_piece_before_its_post_processing(detections, scheme):
    found = card(detections, scheme)
    assert (found['task'], found['gives']) == ('detection', 'detections')
    assert found['ops']['TFLite_Detection_PostProcess'] == 1
    assert found['partitions'] == 1
    # Of the uint8 image, and of the anchors.
    around = {'int8': {'QUANTIZE': 1}, 'float16': {'DEQUANTIZE': 1}}.get(scheme, {})
    assert found['outside'] == {'TFLite_Detection_PostProcess': 1, **around}
    assert tuple(found['outputs']) == DETECTIONS
    assert {output['dtype'] for output in found['outputs'].values()} == {'float32'}
    assert [o['shape'] for o in found['outputs'].values()] == [[1, 100, 4], [1, 100], [1, 100], [1]]
    assert found['output'] == {'activation': 'sigmoid'}
    assert found['suppression']['by_class']
    assert 'beyond 0 and 1: clip' in found['boxes_are']
    assert 'the whole image' in found['preprocessing']


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['float32', 'int8'])
def test_scores_are_made_in_floats(detections, scheme):
    # The converter would make a sigmoid of 8-bit logits one of 8-bit scores.
    assert 'LOGISTIC' not in card(detections, scheme)['ops']
    interpreter = open_interpreter(detections / f'tiny_{scheme}.tflite')
    types = {detail['index']: detail['dtype'] for detail in interpreter.get_tensor_details()}
    made = [op for op in interpreter._get_ops_details() if op['op_name'] == 'TANH']
    assert [types[index] for op in made for index in op['inputs']] == [np.float32]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['float32', 'int8', 'dynamic', 'float16', 'int8_raw'])
def test_the_card_of_a_detector_says_how_good_it_is(detections, detector, name):
    evaluation = card(detections, name)['evaluation']
    assert evaluation['goal'] == 'map'
    assert evaluation['examples'] == detector.source.val.num_examples
    for side in ('float', 'keras', 'file'):
        assert {'map', 'map50', 'ar_100'} < evaluation[side].keys()
    assert 0 <= evaluation['agreement'] <= 1
    line = describe('x', card(detections, name))
    assert f'mAP {evaluation["file"]["map"]:.4f} (float ' in line
    predictor = open_predictor(str(detections / f'tiny_{name}.tflite'))
    statistics = measure(predictor, detector.source.val)
    assert predictor.task.metrics(statistics) == pytest.approx(evaluation['file'], rel=1e-6)


@pytest.mark.slow
def test_detections_are_those_of_the_task(detections, detector):
    task, batch = batch_of(detector)
    expected = task.detections(detector.model(batch['image'], training=False))
    found = TFLiteModel(detections / 'tiny_float32.tflite')(batch['image'].numpy())
    # How many there are is the same; equal scores, of which random boxes have many, in any order.
    scores = np.sort(found['scores'], axis=1)[:, ::-1]
    np.testing.assert_allclose(scores, expected['scores'], atol=1e-5)
    counts = np.sum(expected['scores'].numpy() > 0, axis=1)
    np.testing.assert_array_equal(found['count'], counts)
    # The op leaves boxes that reach out of the image as they are, which the card tells.
    assert found['boxes'].min() < 0 or found['boxes'].max() > 1


@pytest.mark.slow
def test_raw_heads_come_with_what_it_takes_to_decode_them(detections, detector):
    found = card(detections, 'int8_raw')
    assert found['gives'] == 'raw'
    assert (found['partitions'], found['float_ops']) == (1, {})
    assert found['outside'] == {'QUANTIZE': 3}
    assert found['output'] == {'activation': 'none (logits)'}
    assert {name: output['dtype'] for name, output in found['outputs'].items()} == dict.fromkeys(
        HEADS, 'uint8'
    )
    assert found['box_coder'] == {'y_scale': 10, 'x_scale': 10, 'h_scale': 5, 'w_scale': 5}
    task, batch = batch_of(detector)
    np.testing.assert_allclose(found['anchors'], task.anchors, atol=1e-6)
    assert found['evaluation']['mean_steps'].keys() == set(HEADS)
    assert found['scores_are'].endswith('0 is the background, column 1 + n is labels[n]')
    # Decoded by hand, as the card says, they are the boxes of the task.
    file = TFLiteModel(detections / 'tiny_int8_raw.tflite')
    heads = file(batch['image'].numpy())
    codes = heads['boxes'] / list(found['box_coder'].values())
    center, size = np.split(np.array(found['anchors'], np.float32), 2, axis=1)
    middle, half = codes[..., :2] * size + center, np.exp(codes[..., 2:]) * size / 2
    boxes = np.concatenate([middle - half, middle + half], axis=-1)
    np.testing.assert_allclose(boxes, decode(heads['boxes'], task.anchors), atol=1e-4)


@pytest.mark.slow
def test_fast_detections_lie_beside_the_others(detector, tiny_recipe, tmp_path):
    export(detector, Options(str(tmp_path), outputs='fast_detections'), tiny_recipe())
    assert not card(tmp_path, 'float32_fast')['suppression']['by_class']


@pytest.mark.slow
def test_a_detector_is_trained_with_its_rounding(detector, tiny_recipe, tmp_path):
    assert export(detector, Options(str(tmp_path), ('int8',)), tiny_recipe())
    found = card(tmp_path, 'int8')
    assert (found['method'], found['partitions']) == ('qat', 1)
    assert found['evaluation']['layers']['first_departing'] is None


# --------------------------------------------------------------------------- segmentation


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['float32', *SCHEMES])
def test_a_segmenter_becomes_one_piece(maps, segmenter, scheme):
    found = card(maps, scheme)
    assert (found['task'], found['gives']) == ('segmentation', 'logits')
    assert found['output']['shape'] == [1, 48, 64, len(segmenter.run.labels)]
    if scheme != 'int16x8':  # of which XNNPACK has nothing
        assert found['partitions'] == 1
    if scheme == 'int8':
        assert (found['float_ops'], found['outside']) == ({}, {'QUANTIZE': 2})
    evaluation = found['evaluation']
    assert evaluation['goal'] == 'miou'
    assert evaluation['agreement'] > 0.9
    assert f'mIoU {evaluation["file"]["miou"]:.4f} (float ' in describe('x', found)


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['float32', 'int8'])
def test_labels_are_the_best_classes_of_the_logits(maps, segmenter, scheme):
    found = card(maps, f'{scheme}_labels')
    assert found['output'] == {
        'shape': [1, 48, 64],
        'dtype': 'uint8',
        'scale': 0.0,
        'zero_point': 0,
        'activation': 'argmax',
    }
    assert found['partitions'] == 1
    _, batch = batch_of(segmenter)
    labels, logits = (
        TFLiteModel(maps / f'tiny_{scheme}{kind}.tflite')(batch['image'].numpy())
        for kind in ('_labels', '')
    )
    assert labels.dtype == np.uint8
    best = np.take_along_axis(logits, labels[..., None].astype(int), axis=-1)[..., 0]
    np.testing.assert_array_equal(best, logits.max(axis=-1))  # equal ones, which 8 bits have, too
    figures = found['evaluation']['file']
    logit_figures = card(maps, scheme)['evaluation']['file']
    assert figures['miou'] == pytest.approx(logit_figures['miou'], abs=0.02)
    predictor = open_predictor(str(maps / f'tiny_{scheme}_labels.tflite'))
    statistics = measure(predictor, segmenter.source.val)
    assert predictor.task.metrics(statistics) == pytest.approx(figures, rel=1e-6)


@pytest.mark.slow
def test_a_segmenter_trained_on_crops_is_quantized_at_the_size_of_its_file(
    segmenter, tiny_recipe, tmp_path
):
    assert export(segmenter, Options(str(tmp_path), ('int8',)), tiny_recipe())
    found = card(tmp_path, 'int8')
    assert (found['method'], found['partitions']) == ('qat', 1)
    assert found['evaluation']['layers']['first_departing'] is None
    assert found['evaluation']['keras']['miou'] == pytest.approx(
        found['evaluation']['file']['miou'], abs=1e-3
    )


@pytest.mark.slow
def test_ranges_are_searched_by_every_mask_at_its_place(segmenter, tiny_recipe, tmp_path):
    task, train = segmenter.run.make_task(), segmenter.source.train
    batch = stage._Stage(segmenter, Options(str(tmp_path)), tiny_recipe(), None)._calibration_batch
    logits = np.random.default_rng(0).normal(0, 3, (10, 6, 8, 3)).astype(np.float32)
    sizes, losses, counts = set(), [], []
    for raw, answer in zip(train.shuffled(0, 0).take(10), logits, strict=True):
        mask = Image.fromarray(task.eval_example(raw)['mask'].numpy())
        sizes.add(mask.size)
        whole = np.asarray(mask.resize((64, 48), Image.Resampling.NEAREST))
        losses.append(float(task.loss(answer[np.newaxis], {'mask': whole[np.newaxis]})[0]))
        counts.append(np.sum(whole != 255))
    assert len(sizes) > 1
    found = np.mean(task.loss(logits, batch))
    assert found == pytest.approx(np.average(losses, weights=counts), rel=1e-5)


# -------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ('task', 'changes', 'message'),
    [
        (
            'detector',
            {'outputs': 'logits'},
            '--outputs=logits is none of detection; expected one of',
        ),
        ('detector', {'schemes': ('int8', 'int16x8')}, 'does not go with .* use --outputs=raw'),
        (
            'segmenter',
            {'outputs': 'labels', 'schemes': ('int16x8',)},
            'in int16; use --outputs=logits or probabilities',
        ),
        ('segmenter', {'outputs': 'raw'}, 'of segmentation; expected one of logits, probabilities'),
        ('segmenter', {'labels': ('a', 'b', 'a')}, '--labels names a more than once'),
        ('detector', {'outputs': 'raw', 'metadata': True}, 'use --outputs=detections'),
        ('segmenter', {'outputs': 'labels', 'metadata': True}, 'nonsense of a map of labels; use'),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    request, tiny_recipe, tmp_path, task, changes, message
):
    trained = request.getfixturevalue(task)
    with pytest.raises(ValueError, match=message):
        export(trained, Options(str(tmp_path / 'output'), **changes), tiny_recipe())
    assert not (tmp_path / 'output').exists()


@pytest.mark.slow
@pytest.mark.parametrize('task', ['detector', 'segmenter'])
def test_metadata_names_the_classes(request, tiny_recipe, tmp_path, task):
    if not metadata.available():
        pytest.skip(f'mediapipe is not installed: {metadata.INSTALL}')
    trained = request.getfixturevalue(task)
    export(trained, Options(str(tmp_path), metadata=True), tiny_recipe())
    found = read_metadata((tmp_path / 'tiny_float32.tflite').read_bytes())
    assert found['labels'] == list(trained.run.labels)
    assert read_card(tmp_path / 'tiny_float32.tflite')['evaluation']['agreement'] == 1.0
