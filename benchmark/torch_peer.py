"""PyTorch's usual input pipeline: a DataLoader whose workers decode, crop and colour with Pillow.

The same distributions as ours, in the steps of torchvision's RandomResizedCrop, RandomHorizontalFlip,
ColorJitter, ToTensor and Normalize, which it is written after: there is no torchvision for every
PyTorch. Imports nothing of TensorFlow, so that workers start light.
"""

import dataclasses
import importlib.util
import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ATTEMPTS = 10  # to draw a crop that fits
BUFFERED = 2  # batches that each worker has ready, PyTorch's default


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec('torch') is not None


@dataclasses.dataclass(frozen=True)
class PillowDataset:
    """Augmented images of files, as `torch.utils.data.Dataset` has them.

    Attributes:
      files: images and their labels.
      length: how many there are to a reader; files come again and again.
      size: (height, width) of what comes out.
      area, aspect: of crops, as `config.augment` has them.
      brightness, saturation: ± and range, as `train.data.augment` has them.
    """

    files: Sequence[tuple[str, int]]
    length: int
    size: tuple[int, int]
    area: tuple[float, float]
    aspect: tuple[float, float]
    brightness: float
    saturation: tuple[float, float]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> 'tuple[torch.Tensor, int]':
        """An image [3, H, W] float32 in [-1, 1] and its label."""
        import numpy as np
        import torch
        from PIL import Image, ImageEnhance

        file, label = self.files[number % len(self.files)]
        with Image.open(file) as opened:
            image = opened.convert('RGB')
        left, top, width, height = _crop(image.size, self.area, self.aspect)
        image = image.crop((left, top, left + width, top + height))
        image = image.resize(self.size[::-1], Image.Resampling.BILINEAR)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        bright = random.uniform(1 - self.brightness, 1 + self.brightness)
        image = ImageEnhance.Brightness(image).enhance(bright)
        image = ImageEnhance.Color(image).enhance(random.uniform(*self.saturation))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.float().div(255).sub(0.5).div(0.5), label


def _crop(
    size: tuple[int, int], area: tuple[float, float], aspect: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random window, all of the image where none fits."""
    width, height = size
    for _ in range(ATTEMPTS):
        pixels = width * height * random.uniform(*area)
        ratio = math.exp(random.uniform(math.log(aspect[0]), math.log(aspect[1])))
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    return 0, 0, width, height


def make_epochs(
    dataset: PillowDataset, *, batch_size: int, workers: int
) -> Callable[[], Callable[[int], None]]:
    """Begins passes over a dataset, in the same workers; each gives a function that takes batches."""
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        prefetch_factor=BUFFERED,
        persistent_workers=True,
        multiprocessing_context='spawn',  # a fork of a process with TensorFlow's threads may hang
    )

    def begin() -> Callable[[int], None]:
        batches = iter(loader)

        def take(count: int) -> None:
            taken = sum(1 for _ in itertools.islice(batches, count))
            if taken < count:
                raise ValueError(f'the pass ended after {taken} of {count} batches')

        return take

    return begin
