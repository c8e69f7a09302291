"""How many images go through a network at once: fewer of large ones, for the sake of memory."""

FULL_SIZE = 224 * 224  # pixels


def batch_size(most: int, image_shape: tuple[int, ...]) -> int:
    """At most `most` images, and no more pixels than as many of 224², but at least one image.

    Args:
      most: images.
      image_shape: (height, width, …).
    """
    height, width = image_shape[:2]
    return max(1, min(most, most * FULL_SIZE // (height * width)))
