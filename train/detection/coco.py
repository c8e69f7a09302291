"""COCO's figures of detections, by pycocotools."""

import contextlib
import dataclasses
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# In the order of COCOeval.summarize. Average precision (`map`, over the thresholds .50:.05:.95) and
# average recall with so many detections an image; of objects below 32², up to 96² pixels and above.
FIGURES = (
    *('map', 'map50', 'map75', 'map_small', 'map_medium', 'map_large'),
    *('ar_1', 'ar_10', 'ar_100', 'ar_small', 'ar_medium', 'ar_large'),
)
ABSENT = -1.0  # COCO's figure of what no image shows
_CATEGORY = 1  # number of the first class there


@dataclasses.dataclass(frozen=True)
class CocoResult:
    """What COCO says of detections on a dataset.

    Attributes:
      figures: the twelve of FIGURES, in [0, 1]; ABSENT where there is no such object.
      precision: [10, 101, K], at the thresholds .50:.05:.95 and the recalls 0:.01:1, of each class;
        ABSENT for a class without objects.
      objects: of each class, [K]; crowds are none.
      hits: [N, D] int8, of each detection at the threshold .50: 1 where it finds an object, 0 where
        it is a mistake, -1 where it does not count, as in a crowd.
      found_by: [N, B] float32, the score of the detection that finds an object there; 0 where none
        does, or where there is no object.
    """

    figures: dict[str, float]
    precision: np.ndarray
    objects: np.ndarray
    hits: np.ndarray
    found_by: np.ndarray

    @property
    def class_map(self) -> np.ndarray:
        """Average precision of each class, [K]; ABSENT without objects."""
        return self.precision.mean(axis=(0, 1))

    @property
    def class_map50(self) -> np.ndarray:
        """Average precision of each class at the threshold 0.5, [K]; ABSENT without objects."""
        return self.precision[0].mean(axis=0)


def evaluate(statistics: dict[str, np.ndarray], num_classes: int) -> CocoResult:
    """Compares detections with the truth of a whole evaluation set.

    Args:
      statistics: of `train.tasks.detection`, a row an image: 'boxes' [N, D, 4], 'scores' [N, D] and
        'classes' [N, D], of which those with score 0 do not count; 'true_boxes' [N, B, 4],
        'true_classes', 'valid', 'crowd' and 'areas' [N, B], in pixels or 0 where the box's counts;
        'size' [N, 2], height and width of the image in pixels, by which objects are small or large.
      num_classes: K, without the background.
    """
    truth, found = COCO(), COCO()
    sizes = statistics['size'].astype(np.float64)
    images = [{'id': i, 'height': h, 'width': w} for i, (h, w) in enumerate(sizes)]
    categories = [{'id': _CATEGORY + k, 'name': str(k)} for k in range(num_classes)]
    truth.dataset = {'images': images, 'categories': categories, 'annotations': _truth(statistics)}
    found.dataset = {**truth.dataset, 'annotations': _found(statistics)}
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress there
        truth.createIndex()
        found.createIndex()
        evaluation = COCOeval(truth, found, 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]  # all sizes, 100 detections
    counted = statistics['valid'] & ~statistics['crowd']
    return CocoResult(
        dict(zip(FIGURES, map(float, evaluation.stats), strict=True)),
        precision,
        np.bincount(statistics['true_classes'][counted], minlength=num_classes),
        *_matches(evaluation, statistics),
    )


def _matches(evaluation: COCOeval, statistics: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Which detections find an object at the first threshold, and which objects are found."""
    # Numbers of annotations, from 1 on, are positions here.
    detections = np.flatnonzero(statistics['scores'].ravel() > 0)
    objects = np.flatnonzero(statistics['valid'].ravel())
    hits = np.full(statistics['scores'].size, -1, np.int8)
    found_by = np.zeros(statistics['valid'].size, np.float32)
    images = len(statistics['scores'])
    for one in evaluation.evalImgs:
        # One for each class, range of sizes and image; the first range is all sizes.
        if one is None or one['aRng'] != evaluation.params.areaRng[0]:
            continue
        places = detections[np.array(one['dtIds'], int) - 1]
        hits[places] = np.where(one['dtIgnore'][0], -1, one['dtMatches'][0] > 0)
        matched = np.array(one['dtMatches'][0], int)
        counts = (matched > 0) & ~np.array(one['dtIgnore'][0], bool)
        found_by[objects[matched[counts] - 1]] = np.array(one['dtScores'])[counts]
    return hits.reshape(images, -1), found_by.reshape(images, -1)


def _truth(statistics: dict[str, np.ndarray]) -> list[dict]:
    image, row = np.nonzero(statistics['valid'])
    boxes = _in_pixels(statistics['true_boxes'][image, row], statistics['size'][image])
    areas = statistics['areas'][image, row].astype(np.float64)
    areas = np.where(areas > 0, areas, boxes[:, 2] * boxes[:, 3])
    columns = zip(
        image.tolist(),
        (statistics['true_classes'][image, row] + _CATEGORY).tolist(),
        boxes.tolist(),
        areas.tolist(),
        statistics['crowd'][image, row].astype(int).tolist(),
        strict=True,
    )
    keys = ('image_id', 'category_id', 'bbox', 'area', 'iscrowd')
    # Numbers from 1 on: to COCOeval 0 is no object.
    return [
        dict(zip(keys, values, strict=True), id=number)
        for number, values in enumerate(columns, start=1)
    ]


def _found(statistics: dict[str, np.ndarray]) -> list[dict]:
    image, row = np.nonzero(statistics['scores'] > 0)
    boxes = _in_pixels(statistics['boxes'][image, row], statistics['size'][image])
    columns = zip(
        image.tolist(),
        (statistics['classes'][image, row] + _CATEGORY).tolist(),
        boxes.tolist(),
        (boxes[:, 2] * boxes[:, 3]).tolist(),
        statistics['scores'][image, row].tolist(),
        strict=True,
    )
    keys = ('image_id', 'category_id', 'bbox', 'area', 'score')
    return [
        dict(zip(keys, values, strict=True), id=number)
        for number, values in enumerate(columns, start=1)
    ]


def _in_pixels(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes [M, 4] as left, top, width, height in pixels of images [M, 2]."""
    ymin, xmin, ymax, xmax = boxes.astype(np.float64).T
    height, width = sizes.astype(np.float64).T
    return np.stack(
        [xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height], axis=1
    )
