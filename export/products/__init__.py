"""What networks of each task become as files."""

from export.product import Products
from export.products import classification, detection, segmentation

# By the task's name in a config.
PRODUCTS: dict[str, Products] = {
    'classification': classification.PRODUCTS,
    'detection': detection.PRODUCTS,
    'segmentation': segmentation.PRODUCTS,
}
