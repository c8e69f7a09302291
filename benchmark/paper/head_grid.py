"""The rows of Tables 6, 7 and 8 as files to build, measure and look up.

Detectors give the raw answers of their heads. What it takes to suppress boxes that overlap depends on
the answers, which untrained weights make up, and is the same behind every network. Segmenters give
logits at the size of their input: the paper counts that resize, too.
"""

import dataclasses
from typing import Literal

from mobilenet_v3.cost import Cost
from mobilenet_v3.head_cost import count_detector, count_segmenter
from mobilenet_v3.head_tables import DETECTORS, SEGMENTERS
from mobilenet_v3.heads import DetectionHead, SegmentationHead
from mobilenet_v3.spec import ModelSpec, Size

Task = Literal['detection', 'segmentation']
DETECTION_SIZE = (320, 320)
FULL, HALF = (1024, 2048), (512, 1024)  # height and width of Cityscapes' images, and half of them
# COCO's numbers of classes go up to 90, and all detectors have them, to be told apart by their
# networks only. The paper's rows V1 and V2 are met with the 80 that COCO uses.
NUM_CLASSES: dict[Task, int] = {'detection': 90, 'segmentation': 19}


@dataclasses.dataclass(frozen=True)
class HeadEntry:
    """One file of the grid with a head; as `grid.Entry`, which has none.

    Attributes:
      row: its name in `mobilenet_v3.head_tables`.
      resolution: height and width of the input.
      scheme: of the weights and activations.
    """

    row: str
    resolution: Size = DETECTION_SIZE
    scheme: Literal['float32', 'int8'] = 'float32'

    @property
    def task(self) -> Task:
        """What it is for."""
        return 'detection' if self.row in DETECTORS else 'segmentation'

    @property
    def key(self) -> str:
        """Its name: 'ssdlite_v3_halved_320_int8', 'seg_v3_rf2_lr_aspp_128_512x1024_int8'."""
        if self.task == 'detection':
            return f'ssdlite_{self.row}_{self.resolution[0]}_{self.scheme}'
        return f'seg_{self.row}_{"x".join(map(str, self.resolution))}_{self.scheme}'

    @property
    def folder(self) -> str:
        """Where it lies in the grid's folder: apart, if it takes too long for as many runs."""
        return '' if self.task == 'detection' else 'segmentation'

    @property
    def hard_swish(self) -> Literal['fused', 'decomposed']:
        """The form of h-swish that is the faster one of a scheme."""
        return 'fused' if self.scheme == 'float32' else 'decomposed'

    @property
    def spec(self) -> ModelSpec:
        """The backbone."""
        return (DETECTORS if self.task == 'detection' else SEGMENTERS)[self.row].backbone

    @property
    def head(self) -> DetectionHead | SegmentationHead:
        """What stands on it."""
        return (DETECTORS if self.task == 'detection' else SEGMENTERS)[self.row].head

    @property
    def num_classes(self) -> int:
        """Without a background."""
        return NUM_CLASSES[self.task]

    def cost(self) -> Cost:
        """Layer by layer, of a segmenter with its resizes."""
        size, classes, head = self.resolution, self.num_classes, self.head
        if isinstance(head, DetectionHead):
            return count_detector(self.spec, resolution=size, num_classes=classes, head=head)
        return count_segmenter(
            self.spec, resolution=size, num_classes=classes, head=head, resizes=True
        )


def _entries() -> dict[str, HeadEntry]:
    """Every file once, in the order of the tables."""
    schemes: tuple[Literal['float32', 'int8'], ...] = ('float32', 'int8')
    entries = [
        *(HeadEntry(row, scheme=scheme) for scheme in schemes for row in DETECTORS),
        *(HeadEntry(row, HALF, scheme) for scheme in schemes for row in SEGMENTERS),
        # The paper measures in float only, and the gate's large windows cut an int8 file of this size.
        *(HeadEntry(row, FULL) for row in SEGMENTERS),
    ]
    return {entry.key: entry for entry in entries}


HEAD_ENTRIES = _entries()
