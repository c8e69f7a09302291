"""The paper's claims about ratios, and whether what a device measured bears them out.

A claim about latency says of two files which is faster, or that they are comparable. Let r be
latency of the file / latency of its baseline, formed round by round, with its 95 % interval.

'faster' and 'slower' have a direction, r below or above 1, and a size, the paper's own ratios, one
a phone. The claim is

- borne out, if the whole interval lies on the claimed side of 1 and is not told apart from the
  paper's ratios: it is neither of the next two. Where the paper tells no ratio, the direction is
  all that is claimed;
- direction borne out, effect smaller, if the whole interval lies between 1 and all of them;
- direction borne out, effect larger, if the whole interval lies beyond all of them;
- not borne out, if the whole interval lies on the other side of 1.

'comparable' (the paper's “comparable”, “no discernible cost”, “only 1 ms”) means within 5 % here,
which the paper does not say. With the whole interval

- between 0.95 and 1.05, it is within 5 %; slower, within 5 %, if it also lies above 1; faster,
  within 5 %, if below 1;
- above 1 and on both sides of 1.05, it is slower, perhaps within 5 %; below 1 and on both sides of
  0.95, faster, perhaps within 5 %;
- below 0.95, it is faster by more than 5 %;
- above 1.05, the claim is not borne out.

Otherwise the noise does not decide, as without an interval (below 6 rounds). Not measured: one of
both files was not, on this device.

A claim about accuracy is judged as 'faster' is, by the difference of two accuracies on ImageNet's
50,000 validation images and its 95 % interval (as if drawn apart: both networks see the same images,
so the true interval is narrower): 0 takes the place of 1, the paper's points that of its ratios.
One about multiply-adds is counted: borne out if the count saves within a quarter of what the paper
says.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Literal

from benchmark.latency import Ratio
from benchmark.paper import grid
from benchmark.paper.measured import IMAGENET_EXAMPLES, DeviceResults, MeasuredGrid

Sense = Literal['faster', 'slower', 'comparable']
Verdict = Literal[
    'borne out',
    'direction borne out, effect smaller',
    'direction borne out, effect larger',
    'within 5 %',
    'slower, within 5 %',
    'slower, perhaps within 5 %',
    'faster, within 5 %',
    'faster, perhaps within 5 %',
    'faster by more than 5 %',
    'not borne out',
    'noise does not decide',
    'not measured',
]
COMPARABLE = (0.95, 1.05)
COUNT_TOLERANCE = 0.25
_NORMAL_95 = 1.96


@dataclasses.dataclass(frozen=True)
class LatencyClaim:
    """That one file is faster or slower than another, or comparable to it.

    Attributes:
      text: the claim; source: where the paper makes it.
      model, baseline: keys of the grid.
      sense: what is claimed of model / baseline.
      paper: the paper's ratio by phone; empty where it tells none.
    """

    text: str
    source: str
    model: str
    baseline: str
    sense: Sense
    paper: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class AccuracyClaim:
    """That one network is more accurate than another, by `points` of top-1 in the paper."""

    text: str
    source: str
    model: str
    baseline: str
    points: float


@dataclasses.dataclass(frozen=True)
class CountClaim:
    """That one network needs `saved` fewer million multiply-adds than another."""

    text: str
    source: str
    model: str
    baseline: str
    saved: float


def judge(ratio: Ratio | None, sense: Sense, paper: Collection[float] = ()) -> Verdict:
    """Whether a ratio bears a claim out, of which the paper tells these ratios; see above."""
    if ratio is None:
        return 'not measured'
    if ratio.low is None or ratio.high is None:
        return 'noise does not decide'
    if sense == 'comparable':
        return _judge_comparable(ratio.low, ratio.high)
    # An effect is what the claim says there is: positive on the claimed side.
    if sense == 'slower':
        return judge_effect(ratio.low - 1, ratio.high - 1, [theirs - 1 for theirs in paper])
    return judge_effect(1 - ratio.high, 1 - ratio.low, [1 - theirs for theirs in paper])


def _judge_comparable(low: float, high: float) -> Verdict:
    least, most = COMPARABLE
    if high < least:
        return 'faster by more than 5 %'
    if low > most:
        return 'not borne out'
    within = least < low and high < most
    if low > 1:
        return 'slower, within 5 %' if within else 'slower, perhaps within 5 %'
    if high < 1:
        return 'faster, within 5 %' if within else 'faster, perhaps within 5 %'
    return 'within 5 %' if within else 'noise does not decide'


def judge_effect(low: float, high: float, paper: Collection[float]) -> Verdict:
    """Of the interval of an effect, in its unit, positive on the claimed side; see above.

    Args:
      low, high: the interval.
      paper: the paper's effects, all positive; empty where only the direction is claimed.
    """
    if high < 0:
        return 'not borne out'
    if low <= 0:
        return 'noise does not decide'
    if paper and high < min(paper):
        return 'direction borne out, effect smaller'
    if paper and low > max(paper):
        return 'direction borne out, effect larger'
    return 'borne out'


def judge_latency(claim: LatencyClaim, device: DeviceResults) -> tuple[Ratio | None, Verdict]:
    """What a device measured of a claim, and what follows."""
    ratio = device.ratio(claim.model, claim.baseline)
    return ratio, judge(ratio, claim.sense, claim.paper.values())


def judge_accuracy(
    claim: AccuracyClaim, measured: MeasuredGrid
) -> tuple[tuple[float, float] | None, Verdict]:
    """(Difference, half its 95 % interval) in points of top-1 on ImageNet, and what follows."""
    ours, theirs = (measured.imagenet_top1(key) for key in (claim.model, claim.baseline))
    if ours is None or theirs is None:
        return None, 'not measured'
    variance = sum(top1 * (100 - top1) / IMAGENET_EXAMPLES for top1 in (ours, theirs))
    points, half = ours - theirs, _NORMAL_95 * math.sqrt(variance)
    return (points, half), judge_effect(points - half, points + half, [claim.points])


def judge_count(claim: CountClaim) -> tuple[float, Verdict]:
    """Million multiply-adds that are saved by our count, and what follows."""
    model, baseline = (grid.ENTRIES[key] for key in (claim.model, claim.baseline))
    saved = (baseline.cost().madds - model.cost().madds) / 1e6
    near = abs(saved - claim.saved) <= COUNT_TOLERANCE * claim.saved
    return saved, 'borne out' if near else 'not borne out'
