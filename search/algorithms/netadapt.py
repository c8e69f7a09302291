"""NetAdapt as MobileNetV3 changes it: layer by layer, from a seed to a target (Paper: §4.2)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

from mobilenet_v3.spec import ModelSpec
from search.latency.model import LatencyModel
from search.proposals import Proposal, lowest_channels, make_proposals
from search.trials.trial import Outcome, Trial
from search.widths import narrowest

_HALVINGS = 4  # of δ, before a step is given up; less is noise where latencies are measured


@dataclasses.dataclass(frozen=True)
class Settings:
    """How far NetAdapt goes, and in which steps.

    Attributes:
      target: latency at which it ends, in the latency model's unit.
      delta: least that each proposal is faster by, as a share of the seed's latency (δ = 0.01·|L|);
        halved for a step in which no width can give as much.
      lowest: narrowest widths, as a share of the seed's.
    """

    target: float
    delta: float
    lowest: float

    def __post_init__(self) -> None:
        if not self.target > 0:
            raise ValueError(f'the target is {self.target}; expected above 0')
        if not 0 < self.delta < 1:
            raise ValueError(f'search.netadapt.delta is {self.delta}; expected in (0, 1)')
        if not 0 <= self.lowest < 1:
            raise ValueError(f'search.netadapt.lowest is {self.lowest}; expected in [0, 1)')


@dataclasses.dataclass(frozen=True)
class Point:
    """A network that was trained, in the plane of latency and accuracy.

    Attributes:
      name: of its trial.
      change: what was done to the network before it: 'expansion_4: 96 → 72'.
      accuracy: None where it diverged.
    """

    name: str
    change: str
    spec: ModelSpec
    latency: float
    accuracy: float | None

    def slope(self, before: 'Point') -> float:
        """ΔAcc / |Δlatency| to the network before: what the choice maximises; -∞ if it diverged."""
        if self.accuracy is None or before.accuracy is None:
            return float('-inf')
        return (self.accuracy - before.accuracy) / (before.latency - self.latency)


@dataclasses.dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
      proposals: as they were trained.
      chosen: the one that the next step starts from.
      cut: least that each proposal is faster by; δ, or less where no width can give as much.
    """

    proposals: tuple[Point, ...]
    chosen: Point
    cut: float


def netadapt(
    seed: Point,
    latency: LatencyModel,
    train: Callable[[Sequence[Trial]], Sequence[Outcome]],
    settings: Settings,
    on_step: Callable[[Sequence[Step]], None] = lambda steps: None,
) -> list[Step]:
    """Narrows a network until it is as fast as wanted.

    Its result depends on the outcomes alone, so that a search that was killed is continued by the
    same call, with those outcomes at hand that are there.

    Args:
      seed: the trained network that it starts from.
      latency: what networks take (`latency_fn`).
      train: carries weights over from each trial's parent and fine-tunes (`train_fn`).
      settings: target and steps.
      on_step: called with all steps after each.

    Returns:
      The steps; the network of the last one's `chosen` meets the target.

    Raises:
      ValueError: no sequence of proposals can reach the target; found before anything is trained
        where even the narrowest network is too slow.
    """
    check_target(seed.spec, latency, settings)
    lowest = lowest_channels(seed.spec, settings.lowest)
    steps: list[Step] = []
    current = seed
    while current.latency > settings.target:
        # The last step need not go further than the target.
        cut = min(settings.delta * seed.latency, current.latency - settings.target)
        cut, proposals = _proposals(current, latency, cut, lowest)
        number = len(steps) + 1
        if not proposals:
            raise ValueError(
                f'no proposal of step {number} makes the network faster by {cut:.4g} '
                f'{latency.unit}: it takes {current.latency:.4g}, the target is '
                f'{settings.target:.4g}; raise --target, or lower search.netadapt.lowest, with '
                'another --workdir'
            )
        points = _trained(proposals, current, number, train)
        current = max(points, key=functools.partial(Point.slope, before=current))
        steps.append(Step(points, current, cut))
        on_step(steps)
    return steps


def check_target(seed: ModelSpec, latency: LatencyModel, settings: Settings) -> None:
    """Sees that a target lies between the seed and the narrowest network.

    Raises:
      ValueError: it does not.
    """
    now, floor = latency.predict(seed), latency.predict(narrowest(seed, settings.lowest))
    if settings.target >= now:
        raise ValueError(
            f'the target is {settings.target:.4g} {latency.unit}; expected less than the {now:.4g} '
            f'of {seed.name}, such as --target=0.7x'
        )
    if floor > settings.target:
        raise ValueError(
            f'the target is {settings.target:.4g} {latency.unit}, below the {floor:.4g} of the '
            f'narrowest network that proposals can reach from {seed.name} '
            f'(search.netadapt.lowest={settings.lowest:g} of its widths); raise --target or lower that'
        )


def _proposals(
    current: Point, latency: LatencyModel, cut: float, lowest: Mapping[str, int]
) -> tuple[float, list[Proposal]]:
    """Of a step: each faster by `cut`, or by a half of it, a quarter and so on; and by how much.

    Departure from the paper, which does not say what happens then: near the narrowest widths several
    together can still reach the target, but none of them gives δ by itself.
    """
    for less in [cut / 2**halvings for halvings in range(_HALVINGS + 1)]:
        proposals = make_proposals(current.spec, latency, current.latency - less, lowest)
        if proposals:
            break
    return less, proposals


def _trained(
    proposals: Sequence[Proposal],
    current: Point,
    number: int,
    train: Callable[[Sequence[Trial]], Sequence[Outcome]],
) -> tuple[Point, ...]:
    """The proposals of a step after their fine-tuning.

    Raises:
      ValueError: all of them diverged.
    """
    trials = [
        Trial(f'step_{number:02}_{each.width.name}', each.spec, current.name, number)
        for each in proposals
    ]
    points = tuple(
        Point(trial.name, _change(each), each.spec, each.latency, outcome.accuracy)
        for trial, each, outcome in zip(trials, proposals, train(trials), strict=True)
    )
    if all(point.accuracy is None for point in points):
        raise ValueError(
            f'all {len(points)} proposals of step {number} diverged; lower '
            '--config.schedule.learning_rate or search.netadapt.rate'
        )
    return points


def _change(proposal: Proposal) -> str:
    return f'{proposal.width.name}: {proposal.width.channels} → {proposal.channels}'
