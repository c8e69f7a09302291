import numpy as np
import pytest
import tensorflow as tf

from train.data.order import Stream, shuffled_in_turn
from train.data.pipeline import eval_batches, train_batches
from train.data.source import Split

SIZE = 7  # examples; the label of example n is n


class Task:
    """Keeps the label and draws a random number."""

    def train_example(self, raw, seed):
        return {'label': raw['label'], 'noise': tf.random.stateless_uniform([], seed)}

    def train_batch(self, batch):
        return {**batch, 'finished': tf.ones_like(batch['label'])}

    def eval_example(self, raw):
        return {'label': raw['label']}

    def eval_batch(self, batch):
        return {**batch, 'image': tf.cast(batch['label'], tf.float32)}


def make_split(size=SIZE):
    examples = tf.data.Dataset.range(size).map(lambda n: {'label': n})
    return Split(size, lambda: examples, shuffled_in_turn([Stream(examples, size)], size))


def batches(count, *, batch_size=4, seed=0, **options):
    dataset = train_batches(make_split(), Task(), batch_size=batch_size, seed=seed, **options)
    return list(dataset.take(count).as_numpy_iterator())


def joined(found, name):
    return np.concatenate([batch[name] for batch in found])


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


# ------------------------------------------------------------------------------ training


def test_batches_are_finished_and_of_the_size_asked_for():
    found = batches(5)
    assert [batch['label'].shape for batch in found] == [(4,)] * 5
    assert (joined(found, 'finished') == 1).all()


@pytest.mark.parametrize('seed', [0, 1, -1, 2**40])
def test_the_same_seed_gives_the_same_batches(seed):
    assert_same(batches(6, seed=seed), batches(6, seed=seed))


def test_another_seed_gives_another_order_and_other_noise():
    one, other = batches(6, seed=0), batches(6, seed=1)
    assert (joined(one, 'label') != joined(other, 'label')).any()
    assert not np.intersect1d(joined(one, 'noise'), joined(other, 'noise')).size


def test_an_epoch_holds_every_example_once():
    labels = joined(batches(7), 'label')
    assert [sorted(labels[i : i + SIZE]) for i in (0, 7, 14, 21)] == [list(range(SIZE))] * 4


def test_an_example_is_augmented_anew_each_epoch():
    noise = joined(batches(7), 'noise')
    assert len(np.unique(noise)) == len(noise)


@pytest.mark.parametrize('start_step', [1, 2, 5])
def test_a_restart_gives_what_would_have_come(start_step):
    # 7 examples in batches of 4: steps 1, 3 and 5 straddle the border of an epoch.
    assert_same(batches(8 - start_step, start_step=start_step), batches(8)[start_step:])


@pytest.mark.parametrize(('pipelines', 'replicas'), [(2, 2), (1, 2), (2, 4)])
@pytest.mark.parametrize('start_step', [0, 3])
def test_replicas_share_the_batch_of_one_device(pipelines, replicas, start_step):
    # tf.distribute hands each replica one element of its pipeline a step.
    each = replicas // pipelines
    shares = []
    for number in range(pipelines):
        context = tf.distribute.InputContext(pipelines, number, replicas)
        shares.append(batches(3 * each, start_step=start_step, context=context))
    for step, whole in enumerate(batches(3, start_step=start_step)):
        parts = [part for share in shares for part in share[each * step : each * (step + 1)]]
        assert [len(part['label']) for part in parts] == [4 // replicas] * replicas
        pairs = zip(joined(parts, 'label'), joined(parts, 'noise'), strict=True)
        assert sorted(pairs) == sorted(zip(whole['label'], whole['noise'], strict=True))


# ---------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize('size', [1, 3, 4, 5, 8, 11])
def test_evaluation_holds_every_example_once_in_order(size):
    found = list(eval_batches(make_split(size), Task(), batch_size=4).as_numpy_iterator())
    assert {batch['label'].shape for batch in found} == {(4,)}
    weights = joined(found, 'weight')
    assert joined(found, 'label')[weights > 0].tolist() == list(range(size))
    assert set(weights) <= {0.0, 1.0}
    assert len(weights) - size < 4


def test_what_fills_the_last_batch_looks_like_an_example():
    last = list(eval_batches(make_split(5), Task(), batch_size=4).as_numpy_iterator())[-1]
    assert last['weight'].tolist() == [1, 0, 0, 0]
    np.testing.assert_array_equal(last['image'], last['label'])
    assert set(last['label']) <= set(range(5))


def test_evaluation_can_be_read_again():
    dataset = eval_batches(make_split(5), Task(), batch_size=4)
    assert_same(list(dataset.as_numpy_iterator()), list(dataset.as_numpy_iterator()))


def test_evaluation_has_static_shapes():
    dataset = eval_batches(make_split(5), Task(), batch_size=4)
    assert all(spec.shape[0] == 4 for spec in dataset.element_spec.values())
