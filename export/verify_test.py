import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from export import verify
from export.calibrate import observe
from export.convert import convert_float, convert_int8
from export.deploy import deploy_form, deploy_graph
from export.products import PRODUCTS
from export.quantize import quantized_model, to_pixel_grid
from export.verify import Verifier
from export.whole_numbers import whole_number_model
from train.file_forms import FORMS, FileForm

PRODUCTS_OF = PRODUCTS['classification']
OUTPUTS = np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]], np.float32)


def verifier(trained, outputs='logits', **changes):
    task = trained.run.make_task()
    product = dataclasses.replace(PRODUCTS_OF.make(outputs, task), **changes)
    return Verifier(task, PRODUCTS_OF, product, trained.source.val)


def floats(trained):
    return lambda images: trained.model(images, training=False)


@pytest.fixture(scope='module')
def files(tiny_trained, soft_images, tmp_path_factory):
    """A float file of logits, one of probabilities, an int8 file, and what that was made of."""
    folder = tmp_path_factory.mktemp('files')
    form = deploy_form(tiny_trained.model, hard_swish='fused')
    (folder / 'logits.tflite').write_bytes(convert_float(form))
    product = PRODUCTS_OF.make('probabilities', tiny_trained.run.make_task())
    (folder / 'probabilities.tflite').write_bytes(convert_float(form, product.finish))
    graph = deploy_graph(tiny_trained.model, hard_swish='decomposed')
    quantized = quantized_model(graph, observe(graph, soft_images(16)))
    (folder / 'int8.tflite').write_bytes(convert_int8(quantized))
    return folder, quantized


@pytest.mark.parametrize('batch_size', [2, 50])
@pytest.mark.parametrize('outputs', ['logits', 'probabilities'])
def test_a_float_file_answers_as_keras(tiny_trained, files, monkeypatch, outputs, batch_size):
    monkeypatch.setattr(verify, 'BATCH_SIZE', batch_size)  # 7 images: the last batch is filled
    path = files[0] / f'{outputs}.tflite'
    found = verifier(tiny_trained, outputs).verify(path, floats(tiny_trained))
    assert found['examples'] == tiny_trained.source.val.num_examples == 7
    assert found['goal'] == 'top1'
    assert found['keras'] == found['float']
    # The loss, too: the logarithms of probabilities are logits.
    assert found['file'] == pytest.approx(found['float'], rel=1e-4)
    assert found['agreement'] == found['agreement_with_float'] == 1.0
    assert 0 < found['mean_difference'] <= found['max_difference'] < 1e-4
    assert not {'mean_steps', 'kernels'} & found.keys()


def test_an_int8_file_is_compared_with_whole_numbers_floats_and_other_kernels(tiny_trained, files):
    folder, quantized = files
    whole = whole_number_model(quantized)
    found = verifier(tiny_trained).verify(
        folder / 'int8.tflite', floats(tiny_trained), lambda images: whole(to_pixel_grid(images))
    )
    assert found['keras'] != found['float']
    assert found['file'] == pytest.approx(found['keras'], rel=1e-4)
    assert found['agreement'] == 1.0
    assert found['mean_steps'] < 0.01
    kernels = found['kernels']
    assert kernels['without_xnnpack'].keys() == found['file'].keys()
    # They round sums twice; random weights make much of it.
    assert 0 < kernels['mean_steps'] < 10
    assert kernels['mean_steps'] > found['mean_steps']


class FileOfOutputs:
    """Stands for a file: it answers with rows of OUTPUTS that were changed."""

    def __init__(self, changes, scale):
        self.outputs, self.seen = OUTPUTS + changes, 0
        self.output_scales = {'output_0': scale}

    def __call__(self, images):
        first, self.seen = self.seen, self.seen + len(images)
        return np.concatenate([self.outputs, self.outputs, self.outputs])[first : self.seen]


@pytest.fixture
def answers_of(tiny_trained, monkeypatch):
    """Verifies a file that differs from a network in known numbers."""

    def run(changes, scale=0.0):
        monkeypatch.setattr(verify, 'TFLiteModel', lambda *a, **k: FileOfOutputs(changes, scale))
        monkeypatch.setitem(FORMS, 'classification', lambda *a: FileForm(3, lambda given: given))
        monkeypatch.setattr(verify, 'BATCH_SIZE', 3)
        answers = np.concatenate([OUTPUTS, OUTPUTS, OUTPUTS])
        rows = tf.Variable(0)

        def network(images):
            first = tf.identity(rows)
            rows.assign_add(tf.shape(images)[0])
            return tf.constant(answers)[first : first + 3]

        return verifier(tiny_trained).verify('x', network)

    return run


def test_differences_are_counted_in_values_and_in_steps(answers_of):
    changes = np.zeros((3, 3), np.float32)
    changes[0, 0] = -1.0  # another class
    changes[1, 1] = 0.2
    found = answers_of(changes, scale=0.1)
    # Seven images: of each row of OUTPUTS two, of the first one three.
    assert found['agreement'] == pytest.approx(4 / 7)
    assert found['max_difference'] == pytest.approx(1.0)
    assert found['mean_difference'] == pytest.approx((3 * 1.0 + 2 * 0.2) / 21)
    assert found['mean_steps'] == pytest.approx((3 * 10 + 2 * 2) / 21)
    assert answers_of(np.zeros((3, 3)))['mean_difference'] == 0


def test_what_has_no_numbers_of_its_own_is_compared_by_what_it_says(tiny_trained, files):
    path = files[0] / 'logits.tflite'
    found = verifier(tiny_trained, comparable=False).verify(path, floats(tiny_trained))
    assert found['agreement'] == 1.0
    assert not {'max_difference', 'mean_difference', 'mean_steps'} & found.keys()
