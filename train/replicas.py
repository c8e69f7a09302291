"""What a replica has to know of the others within a step."""

import tensorflow as tf


def images_by_counted(images: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Images / counted of the batches of all replicas together, a scalar.

    A loss that goes by the number of objects or pixels is the sum over them by their number in the
    whole batch: a replica with few of them must not weigh them more than another its many.

    Args:
      images: of this replica's batch, float32.
      counted: what of them counts, such as pixels; of all replicas taken as at least 1.
    """
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        images, counted = context.all_reduce('SUM', [images, counted])
    return images / tf.maximum(counted, 1.0)
