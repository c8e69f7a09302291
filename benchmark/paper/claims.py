"""The paper's claims about ratios, and whether what a device measured bears them out.

A claim says of two files which is faster. With r = latency of the file / latency of its baseline,
formed round by round, and r's 95 % interval, it is

- borne out, if the whole interval lies where the claim says: below 1 for 'faster', above 1 for
  'slower', below 1.05 for 'no slower' (which stands where the paper says “comparable”, “no
  discernible cost”, “only 1 ms”);
- not borne out, if the whole interval lies on the other side of that bound;
- otherwise the noise does not decide, as without an interval (below 6 rounds);
- not measured, if one of both files was not, on this device.

So a claim is about a direction; how large the effect is here and in the paper is said beside it.
A claim about accuracy is borne out or not likewise, by the difference of two accuracies on
ImageNet's 50,000 validation images and its 95 % interval (as if drawn apart: both networks see the
same images, so the true interval is narrower). One about multiply-adds is counted: borne out if
the count saves within a quarter of what the paper says.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

from benchmark.latency import Ratio
from benchmark.paper import grid
from benchmark.paper.measured import IMAGENET_EXAMPLES, DeviceResults, MeasuredGrid
from mobilenet_v3.cost import count

Sense = Literal['faster', 'slower', 'no slower']
Verdict = Literal['borne out', 'not borne out', 'noise does not decide', 'not measured']
Size = Literal['smaller', 'not told apart', 'larger']
BOUNDS: dict[Sense, float] = {'faster': 1.0, 'slower': 1.0, 'no slower': 1.05}
COUNT_TOLERANCE = 0.25
_NORMAL_95 = 1.96


@dataclasses.dataclass(frozen=True)
class LatencyClaim:
    """That one file is faster or slower than another.

    Attributes:
      text: the claim; source: where the paper makes it.
      model, baseline: keys of the grid; None where nothing here builds the network.
      sense: what is claimed of model / baseline.
      paper: the paper's ratio by phone; empty where it tells none.
    """

    text: str
    source: str
    model: str | None
    baseline: str | None
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


def judge(ratio: Ratio | None, sense: Sense) -> Verdict:
    """Whether a ratio bears a claim out; see above."""
    if ratio is None:
        return 'not measured'
    if ratio.low is None or ratio.high is None:
        return 'noise does not decide'
    bound = BOUNDS[sense]
    below, above = ratio.high < bound, ratio.low > bound
    if sense == 'slower':
        below, above = above, below
    return 'borne out' if below else 'not borne out' if above else 'noise does not decide'


def size(ratio: Ratio | None, claim: LatencyClaim) -> Size | None:
    """How large an effect is beside the paper's, where a claim is borne out and the paper tells it.

    'smaller' or 'larger' if the whole interval lies beyond the ratios of all the paper's phones.
    """
    if ratio is None or not claim.paper or claim.sense == 'no slower':
        return None
    if judge(ratio, claim.sense) != 'borne out' or ratio.low is None or ratio.high is None:
        return None
    above, below = ratio.low > max(claim.paper.values()), ratio.high < min(claim.paper.values())
    if claim.sense == 'slower':
        above, below = below, above
    return 'smaller' if above else 'larger' if below else 'not told apart'


def judge_latency(claim: LatencyClaim, device: DeviceResults) -> tuple[Ratio | None, Verdict]:
    """What a device measured of a claim, and what follows."""
    ratio = device.ratio(claim.model, claim.baseline)
    return ratio, judge(ratio, claim.sense)


def judge_accuracy(
    claim: AccuracyClaim, measured: MeasuredGrid
) -> tuple[tuple[float, float] | None, Verdict]:
    """(Difference, half its 95 % interval) in points of top-1 on ImageNet, and what follows."""
    ours, theirs = (measured.imagenet_top1(key) for key in (claim.model, claim.baseline))
    if ours is None or theirs is None:
        return None, 'not measured'
    variance = sum(top1 * (100 - top1) / IMAGENET_EXAMPLES for top1 in (ours, theirs))
    points, half = ours - theirs, _NORMAL_95 * math.sqrt(variance)
    if abs(points) <= half:
        return (points, half), 'noise does not decide'
    return (points, half), 'borne out' if points > 0 else 'not borne out'


def judge_count(claim: CountClaim) -> tuple[float, Verdict]:
    """Million multiply-adds that are saved by our count, and what follows."""
    model, baseline = (grid.ENTRIES[key] for key in (claim.model, claim.baseline))
    saved = (madds(baseline) - madds(model)) / 1e6
    near = abs(saved - claim.saved) <= COUNT_TOLERANCE * claim.saved
    return saved, 'borne out' if near else 'not borne out'


def madds(entry: grid.Entry) -> int:
    """Multiply-adds of an entry of the grid."""
    return count(entry.spec, resolution=entry.resolution).madds
