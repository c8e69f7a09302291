"""Images that a search judges by: held out of the training set, so that the evaluation set is left
for the networks that it finds.
"""

import tensorflow as tf

from train.data.source import Source, Split, shuffled_in_memory

_BUFFER = 16384  # encoded examples, as `config.data.shuffle_buffer`


def hold_out(source: Source, every: int) -> Source:
    """The source with every n-th training example for evaluation, and the others for training.

    Args:
      source: a dataset.
      every: n; 0 leaves the source as it is.

    Raises:
      ValueError: n is 1 or below 0, or larger than the training set.
    """
    if not every:
        return source
    total = source.train.num_examples
    if not 2 <= every <= total:
        raise ValueError(
            f'search.holdout is {every}; expected 0, or 2 to the {total} training examples of '
            f'{source.name}: every n-th is held out'
        )
    held = -(-total // every)

    def examples(is_held: bool) -> tf.data.Dataset:
        numbered = source.train.examples().enumerate()
        chosen = numbered.filter(lambda number, _: tf.equal(number % every == 0, is_held))
        return chosen.map(lambda _, example: example)

    # The few that are held are read often.
    val = Split(held, examples(True).cache, shuffled_in_memory(examples(True), held, _BUFFER))
    train = Split(
        total - held,
        lambda: examples(False),
        shuffled_in_memory(examples(False), total - held, _BUFFER),
    )
    return Source(source.name, source.labels, train, val)
