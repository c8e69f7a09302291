import numpy as np
import pytest
import tensorflow as tf

from export import verify
from export.convert import convert_float
from export.deploy import deploy_form
from export.verify import Answers, Reference, agreement, compare, compare_kernels

OUTPUTS = np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]], np.float32)


class HandMade:
    """A task whose label is always 0."""

    labels = ('a', 'b', 'c')

    def statistics(self, outputs, batch):
        top = tf.argmax(outputs, axis=1)
        return {'prediction': top, 'top1': tf.cast(top == 0, tf.float32)}

    def metrics(self, statistics):
        return {'top1': float(np.mean(statistics['top1']))}


def answers(outputs, scale=0.0):
    task = HandMade()
    statistics = {n: np.asarray(v) for n, v in task.statistics(tf.constant(outputs), {}).items()}
    return Answers(outputs, scale, statistics, task.metrics(statistics))


@pytest.fixture
def reference():
    """Two batches of two images, the last of which is a filling."""
    padded = np.concatenate([OUTPUTS, [[9.0, 9.0, 9.0]]]).astype(np.float32)
    weights = np.float32([1, 1, 1, 0])
    batches = tf.data.Dataset.from_tensor_slices({'weight': weights}).batch(2)
    right = answers(OUTPUTS)
    outputs = [padded[:2], padded[2:]]
    return Reference(HandMade(), batches, outputs, right.metrics, right.statistics)


def test_the_same_answers_agree(reference):
    found = compare(answers(OUTPUTS), reference)
    assert found == {
        'examples': 3,
        'keras': {'top1': pytest.approx(1 / 3)},
        'file': {'top1': pytest.approx(1 / 3)},
        'agreement': 1.0,
        'max_difference': 0.0,
        'mean_difference': 0.0,
    }


def test_differences_are_counted_in_values_and_in_steps(reference):
    changed = OUTPUTS.copy()
    changed[0] = [0.0, 0.0, 0.5]  # another class, one value off by 1
    changed[1, 1] = 1.8  # the same class, off by 0.2
    found = compare(answers(changed, scale=0.1), reference)
    assert found['agreement'] == pytest.approx(2 / 3)
    assert found['max_difference'] == pytest.approx(1.0)
    assert found['mean_difference'] == pytest.approx(1.2 / 9)
    assert found['mean_steps'] == pytest.approx(12 / 9)
    assert found['file'] == {'top1': 0.0}


def test_probabilities_are_compared_with_the_softmax(reference):
    shares = tf.nn.softmax(OUTPUTS).numpy()
    found = compare(answers(shares), reference, probabilities=True)
    assert found['max_difference'] == pytest.approx(0.0, abs=1e-7)
    assert found['agreement'] == 1.0


def test_a_file_is_compared_with_itself():
    found = compare_kernels(answers(OUTPUTS, 0.5), answers(OUTPUTS + 0.25, 0.5))
    assert found['agreement'] == 1.0
    assert found['mean_difference'] == 0.25
    assert found['mean_steps'] == 0.5
    assert found['without_xnnpack'] == {'top1': pytest.approx(1 / 3)}
    assert 'mean_steps' not in compare_kernels(answers(OUTPUTS), answers(OUTPUTS))


def test_agreement_is_of_predictions():
    one, other = ({'prediction': np.array(p)} for p in ([0, 1, 2, 3], [0, 1, 0, 0]))
    assert agreement(one, one) == 1.0
    assert agreement(one, other) == 0.5


# ------------------------------------------------------------------------- the real thing


@pytest.fixture(scope='module')
def real(tiny_trained):
    task, split = tiny_trained.run.make_task(), tiny_trained.source.val
    return verify.make_reference(lambda x: tiny_trained.model(x, training=False), task, split)


@pytest.mark.parametrize('batch_size', [2, 50])
def test_every_image_counts_once(tiny_trained, monkeypatch, batch_size, real):
    monkeypatch.setattr(verify, 'BATCH_SIZE', batch_size)
    task, split = tiny_trained.run.make_task(), tiny_trained.source.val
    found = verify.make_reference(lambda x: tiny_trained.model(x, training=False), task, split)
    assert len(found.statistics['prediction']) == split.num_examples == 7
    assert found.metrics == pytest.approx(real.metrics)


@pytest.mark.parametrize('probabilities', [False, True])
@pytest.mark.parametrize('delegate', [False, True])
def test_a_file_of_logits_or_probabilities_answers_as_keras(
    tiny_trained, real, tmp_path, probabilities, delegate
):
    form = deploy_form(tiny_trained.model, hard_swish='fused')
    path = tmp_path / 'model.tflite'
    path.write_bytes(convert_float(form, probabilities=probabilities))
    found = verify.run_file(path, real, probabilities=probabilities, delegate=delegate)
    assert found.outputs.shape == (7, 3)
    assert found.scale == 0
    # The loss, too: the logarithms of probabilities are logits.
    assert found.metrics == pytest.approx(real.metrics, rel=1e-4)
    result = compare(found, real, probabilities=probabilities)
    assert result['agreement'] == 1.0
    assert result['max_difference'] < 1e-4
