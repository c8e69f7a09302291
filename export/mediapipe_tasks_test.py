"""Detectors and segmenters in MediaPipe itself: what it says is what the interpreter computes."""

import numpy as np
import pytest
import tensorflow as tf

from export.calibrate import observe
from export.convert import convert_float, convert_int8
from export.deploy import deploy_form, deploy_graph
from export.mediapipe_tasks import image_segmenter, object_detector
from export.metadata import add_metadata
from export.metadata_reader import read_metadata
from export.products import PRODUCTS
from export.quantize import quantized_model
from export.start import from_run
from train.data import pipeline
from train.tflite_file import TFLiteModel

NAMES = ('classes', 'scores', 'boxes')


def photos(trained, number):
    """Pixels of evaluation images, uint8 [N, H, W, 3]."""
    batches = pipeline.eval_batches(trained.source.val, trained.run.make_task(), batch_size=number)
    images = next(iter(batches))['image'].numpy()
    return np.round((images + 1) * 127.5).astype(np.uint8)


def packed(trained, outputs, scheme, folder):
    """A file with metadata."""
    product = PRODUCTS[trained.run.config.task].make(outputs, trained.run.make_task())
    if scheme == 'float32':
        form = deploy_form(trained.model, hard_swish='fused')
        content = convert_float(form, product.finish)
    else:
        graph = deploy_graph(trained.model, hard_swish='decomposed')
        images = photos(trained, 7) / np.float32(127.5) - 1
        content = convert_int8(quantized_model(graph, observe(graph, images)), product.finish)
    path = folder / 'packed.tflite'
    content = add_metadata(
        content, product.mediapipe, name='tiny', description='', labels=trained.run.labels
    )
    path.write_bytes(content)
    return path


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['float32', 'int8'])
def test_detections_are_the_interpreters(mediapipe, tiny_detection_run, tmp_path, scheme):
    from mediapipe.tasks.python import BaseOptions, vision

    trained = from_run(str(tiny_detection_run))
    path = packed(trained, 'detections', scheme, tmp_path)
    found = read_metadata(path.read_bytes())
    assert found['labels'] == list(trained.run.labels)
    assert found['outputs'] == ['location', 'category', 'score', 'number of detections']
    options = vision.ObjectDetectorOptions(BaseOptions(model_asset_path=str(path)), max_results=-1)
    pixels = photos(trained, 3)
    file = TFLiteModel(path)
    with vision.ObjectDetector.create_from_options(options) as detector:
        for image in pixels:
            ours = file(image[np.newaxis] / np.float32(127.5) - 1)
            count = int(ours['count'][0])
            theirs = detector.detect(
                mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            ).detections
            # What has the same box is one detection there, with a category for each class.
            found = [
                (c.category_name, c.score, _corners(d.bounding_box))
                for d in theirs
                for c in d.categories
            ]
            expected = [
                (trained.run.labels[int(kind)], score, np.clip(64 * box, 0, 64))
                for kind, score, box in zip(*(ours[k][0, :count] for k in NAMES), strict=True)
            ]
            assert len(found) == count > 0
            for label, score, box in expected:
                # Theirs end with the image, and are whole pixels of a corner and sides, cut off.
                same = [
                    other
                    for other in found
                    if other[0] == label
                    and abs(other[1] - score) < 1e-4
                    and np.abs(box - other[2]).max() < 2
                ]
                assert same, (label, score, box)
                found.remove(same[0])


def _corners(box):
    return box.origin_y, box.origin_x, box.origin_y + box.height, box.origin_x + box.width


@pytest.mark.slow
@pytest.mark.parametrize('outputs', ['logits', 'probabilities'])
@pytest.mark.parametrize('scheme', ['float32', 'int8'])
def test_masks_are_the_interpreters(
    mediapipe,
    tiny_segmentation_run,
    tmp_path,
    scheme,
    outputs,
):
    from mediapipe.tasks.python import BaseOptions, vision

    trained = from_run(str(tiny_segmentation_run))
    path = packed(trained, outputs, scheme, tmp_path)
    assert read_metadata(path.read_bytes())['labels'] == list(trained.run.labels)
    options = vision.ImageSegmenterOptions(
        BaseOptions(model_asset_path=str(path)),
        output_confidence_masks=True,
        output_category_mask=True,
    )
    file = TFLiteModel(path)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        assert segmenter.labels == list(trained.run.labels)
        for image in photos(trained, 3):
            ours = file(image[np.newaxis] / np.float32(127.5) - 1)
            shares = ours if outputs == 'probabilities' else tf.nn.softmax(ours).numpy()
            result = segmenter.segment(
                mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            )
            theirs = np.stack([np.squeeze(m.numpy_view()) for m in result.confidence_masks], -1)
            np.testing.assert_allclose(theirs, shares[0], atol=1e-4)
            best = np.squeeze(result.category_mask.numpy_view())
            chosen = np.take_along_axis(shares[0], best[..., None].astype(int), axis=-1)[..., 0]
            np.testing.assert_allclose(chosen, shares[0].max(axis=-1), atol=1e-5)


def detail(*shape, dtype=np.float32):
    return {'shape': np.array(shape), 'dtype': dtype}


@pytest.mark.parametrize(
    ('task', 'outputs', 'message'),
    [
        (object_detector(), [detail(1, 9, 4), detail(1, 9, 3)], 'export with --outputs=detections'),
        (object_detector(), [detail(1, 5)], r'the outputs are \[\[1, 5\]\], expected boxes'),
        (
            image_segmenter('none'),
            [detail(1, 8, 8, dtype=np.uint8)],
            'export with --outputs=logits',
        ),
        (image_segmenter('none'), [detail(1, 8, 8, 4)], '3 labels for the 4 values of the output'),
        (image_segmenter('none'), [detail(1, 8, 8, 3, dtype=np.int8)], 'export with --io=uint8'),
    ],
)
def test_outputs_of_which_a_task_makes_nothing_are_refused(task, outputs, message):
    with pytest.raises(ValueError, match=message):
        task.check_outputs(outputs, 3)
