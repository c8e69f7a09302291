"""What segmentation learns by and is judged by: losses and scores of pixels."""
