import numpy as np
import pytest
import tensorflow as tf

from train.data.order import Stream, shuffled_by_number, shuffled_in_turn


def test_a_buffer_of_the_whole_set_shuffles_it_and_a_smaller_one_mixes_neighbours():
    numbers = tf.data.Dataset.range(100)
    whole = list(shuffled_in_turn([Stream(numbers, 100)], 1000)(0, 0).take(100).as_numpy_iterator())
    near = list(shuffled_in_turn([Stream(numbers, 100)], 5)(0, 0).take(100).as_numpy_iterator())
    assert sorted(whole) == sorted(near) == list(range(100))
    assert min(whole.index(n) for n in range(90, 100)) < 50
    assert all(near.index(n) >= n - 5 for n in range(100))


@pytest.mark.parametrize('seed', [0, 2**31 - 2, 2**32 - 1])
def test_a_run_that_continues_sees_what_the_undisturbed_one_does(seed):
    shuffled = shuffled_in_turn([Stream(tf.data.Dataset.range(10), 10)], 10)
    whole = list(shuffled(seed, 0).take(35).as_numpy_iterator())
    for skip in (0, 3, 10, 24):
        assert list(shuffled(seed, skip).take(35 - skip).as_numpy_iterator()) == whole[skip:]
    epochs = [whole[begin : begin + 10] for begin in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_seeds_have_orders_of_their_own():
    shuffled = shuffled_in_turn([Stream(tf.data.Dataset.range(100), 100)], 100)
    orders = [tuple(shuffled(seed, 0).take(300).as_numpy_iterator()) for seed in (0, 1, 2)]
    epochs = {order[begin : begin + 100] for order in orders for begin in (0, 100, 200)}
    assert len(epochs) == 9


def test_a_run_that_continues_reads_no_epoch_but_its_own():
    read = []

    def note(number):
        read.append(int(number))
        return number

    noted = tf.data.Dataset.range(10).map(lambda n: tf.py_function(note, [n], tf.int64))
    list(shuffled_in_turn([Stream(noted, 10)], 10)(0, 1_000_004).take(6))
    assert len(read) == 10


def numbers(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def streams(sizes, read=None):
    """Of numbers in a row; `read` is told of those that are read."""
    made, first = [], 0
    for size in sizes:
        examples = tf.data.Dataset.range(first, first + size)
        if read is not None:
            examples = examples.map(
                lambda n: tf.py_function(lambda n: (read.add(int(n)), n)[1], [n], tf.int64)
            )
        made.append(Stream(examples, size))
        first += size
    return made


ORDERS = {
    'one stream': shuffled_in_turn(streams([13]), 5),
    'streams': shuffled_in_turn(streams([4, 3, 3, 3]), 13),
    'numbers': shuffled_by_number(tf.data.Dataset.range(13), 13),
}


@pytest.mark.parametrize('order', ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize('skip', [0, 5, 29])
@pytest.mark.parametrize('hosts', [1, 2, 3, 4])
def test_hosts_share_the_order_of_one(order, skip, hosts):
    whole = numbers(order(7, 0), skip + 12 * hosts)[skip:]
    for host in range(hosts):
        assert numbers(order(7, skip + host, hosts), 12) == whole[host::hosts]


@pytest.mark.parametrize('global_seed', [0, 7, 2**32 - 1])
def test_numbers_have_the_order_of_a_shuffle_that_is_repeated(global_seed):
    chosen = tf.data.Dataset.from_tensor_slices(np.arange(0, 60, 2))
    tf.random.set_seed(global_seed)
    for seed in (0, 3, 2**32 - 1):
        for skip in (0, 29, 30, 100):
            plain = chosen.shuffle(30, seed, reshuffle_each_iteration=True).repeat().skip(skip)
            order = shuffled_by_number(chosen, 30)(seed, skip)
            assert numbers(order, 75) == numbers(plain, 75)


def test_every_stream_has_epochs_in_orders_of_its_own():
    found = np.reshape(numbers(shuffled_in_turn(streams([50] * 4), 200)(0, 0), 400), (2, 50, 4))
    for epoch in found:
        for number, stream in enumerate(epoch.T):
            assert sorted(stream) == list(range(50 * number, 50 * (number + 1)))
    places = {tuple(stream % 50) for epoch in found for stream in epoch.T}
    assert len(places) == 8


@pytest.mark.parametrize(('hosts', 'count'), [(2, 20), (4, 10), (3, 40)])
def test_a_host_reads_its_own_streams_where_they_can_be_shared_out(hosts, count):
    read = set()
    order = shuffled_in_turn(streams([10] * 4, read), 40)
    numbers(order(0, 1, hosts), 10)
    assert len(read) == count
