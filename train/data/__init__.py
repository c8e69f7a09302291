"""From names of datasets to batches of images."""
