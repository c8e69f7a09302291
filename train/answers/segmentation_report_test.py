import io
import json

import numpy as np
import pytest
from PIL import Image

from train.answers.evaluation import Evaluation
from train.answers.segmentation import details
from train.answers.segmentation_report import write_report
from train.data.mask_file import class_tables
from train.data.source import listed_split
from train.segmentation.scores import confusion_matrix
from train.tasks.segmentation import Segmentation

LABELS = ('ro|ad', 'sky', 'car', 'bird')
TRUTH = np.zeros((2, 8, 12), np.uint8)
TRUTH[:, :4] = 1
TRUTH[:, 5:7, 2:6] = 2
TRUTH[:, 0] = 255
FOUND = np.where(TRUTH == 255, 1, TRUTH)
FOUND[1, 5:7] = 0  # the car is missed
FOUND[1, 3, :3] = 3


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return buffer.getvalue()


def evaluation(found, loss=True):
    encoded = [png(mask) for mask in TRUTH]

    def read(number):
        import tensorflow as tf

        return {
            'image': tf.constant(png(np.full((8, 12, 3), 90, np.uint8))),
            'mask': tf.constant(encoded)[number],
            'mask_classes': tf.constant(class_tables([0, 1, 2, 3])[-1]),
        }

    pairs = zip(TRUTH, found, strict=True)
    statistics = {
        'confusion': np.stack([confusion_matrix(t, f, len(LABELS)) for t, f in pairs]),
        **{name: values.numpy() for name, values in details(lambda: found, {}).items()},
    }
    if loss:
        statistics['loss'] = np.float32([1.0, 83.0])
    metrics = Segmentation.metrics(_Labelled(), statistics)
    split = listed_split(2, read)
    return Evaluation('a run', 'folder:x', 'val', split, LABELS, statistics, metrics, ('a note',))


class _Labelled:
    labels = LABELS


def test_a_report_has_figures_classes_confusions_and_the_worst_images(tmp_path):
    told = write_report(tmp_path, evaluation(FOUND))
    assert told == (
        f'mIoU {(80 / 88 + 69 / 72 + 8 / 16 + 0) / 4:.2%}, pixel accuracy {157 / 168:.2%}, loss '
        '0.5000 on 2 images with 168 pixels'
    )
    report = (tmp_path / 'report.md').read_text()
    assert (
        '| class | of the pixels | IoU | found | right where found | mostly taken for |' in report
    )
    assert '| bird | 0.00% | 0.0% | – | 0.0% | – |' in report
    assert '| car | 9.52% | 50.0% | 50.0% | 100.0% | ro&#124;ad (50%) |' in report
    assert '| car | ro&#124;ad | 4.76% | 50.0% |' in report
    assert 'Assumed: a note.' in report
    assert 'The 1 of 1 with the smallest share' in report
    for picture in ('confusion.png', 'worst.png'):
        assert f']({picture})' in report
        assert Image.open(tmp_path / picture).size[0] > 400
    results = json.loads((tmp_path / 'results.json').read_text())
    assert results['pixels'] == 168
    assert [c['pixels'] for c in results['classes']] == [80, 72, 16, 0]
    assert results['classes'][2]['iou'] == 0.5
    assert results['worst'] == [
        {
            'example': 1,
            'pixel_accuracy': pytest.approx(73 / 84),
            'miou': pytest.approx((40 / 48 + 33 / 36) / 4),
        }
    ]


def test_right_answers_have_no_worst_image_and_absent_classes_no_figure(tmp_path):
    told = write_report(tmp_path, evaluation(np.where(TRUTH == 255, 1, TRUTH), loss=False))
    assert told == 'mIoU 100.00%, pixel accuracy 100.00% on 2 images with 168 pixels'
    report = (tmp_path / 'report.md').read_text()
    assert '1 of 4 classes have no pixel and are not in the mean.' in report
    assert 'There is no mistake.' in report
    assert not (tmp_path / 'worst.png').exists()
    assert json.loads((tmp_path / 'results.json').read_text())['classes'][3]['iou'] is None
