"""The page of a search: what was found, the way there, and pictures of it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.page import to_html
from search.algorithms.netadapt import Point, Step
from search.sampling import Sample, within
from train.files import write_file
from train.markdown import escape, markdown_table
from train.plots import plain, pyplot, save_figure

PATH, SAMPLES = 'path.png', 'samples.png'
_SHOWN_SAMPLES = 10
_GREY, _BLUE, _RED = '#bbbbbb', '#1f5f99', 'firebrick'


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a page says of its search.

    Attributes:
      title: of the page.
      unit: of latencies.
      seed_latency, target: in this unit.
      dataset: that networks were trained on.
      latency: where latencies are from.
      judged_on: the images that accuracies are of.
    """

    title: str
    unit: str
    seed_latency: float
    target: float
    dataset: str
    latency: str
    judged_on: str


def write_page(
    folder: Path,
    body: str,
    facts: Facts,
    found_latency: float,
    retrained: dict[str, Any] | None,
    spec: Path,
) -> str:
    """Writes report.md and report.html.

    Args:
      folder: with the pictures.
      body: of the page, Markdown.
      facts: of the search.
      found_latency: of the network that was found.
      retrained: its metrics, trained from scratch; None where it was not.
      spec: its file.

    Returns:
      What was found, for the terminal.
    """
    share = found_latency / facts.seed_latency
    found = f'{found_latency:.4g} {facts.unit}, {share:.2f} of the seed (target {facts.target:.4g})'
    if retrained is not None:
        top1 = retrained['averaged']['top1']
        found += f'; trained from scratch: top-1 {top1:.1%} on the evaluation set'
    markdown = (
        f'# {escape(facts.title)}\n\nOn {escape(facts.dataset)}, latency by '
        f'{escape(facts.latency)}; the seed takes {facts.seed_latency:.4g} {facts.unit}.\n\n'
        f'Found: {found}. Its spec is {spec.name}, which train.main takes as --model.\n\n{body}\n'
    )
    write_file(folder / 'report.md', markdown.encode())
    write_file(folder / 'report.html', to_html(folder, markdown, facts.title).encode())
    return f'{found}\n  {spec}\nreport:\n  {folder / "report.md"}\n  {folder / "report.html"}'


# NetAdapt


def adapt_page(folder: Path, seed: Point, steps: Sequence[Step], facts: Facts) -> str:
    """Draws the path of NetAdapt and describes it, as Markdown."""
    _plot_path(folder / PATH, seed, steps, facts)
    chosen = [step.chosen for step in steps]
    rows = [['0', 'seed', f'{seed.latency:.4g}', _percent(seed.accuracy), '', '', '']]
    for number, (point, step) in enumerate(zip(chosen, steps, strict=True), start=1):
        rows.append(
            [
                str(number),
                escape(point.change),
                f'{point.latency:.4g}',
                _percent(point.accuracy),
                f'{step.cut:.3g}',
                str(len(step.proposals)),
                str(sum(each.accuracy is None for each in step.proposals)),
            ]
        )
    head = ['step', 'change', facts.unit, 'top-1', 'faster by', 'proposals', 'of them diverged']
    sections = [
        f'![path]({PATH})',
        f'Accuracies are of {facts.judged_on}, after the fine-tuning steps.',
        '## The choices',
        markdown_table(head, rows, left=2),
    ]
    before = seed
    for number, step in enumerate(steps, start=1):
        sections += [f'### Proposals of step {number}', _proposals(step, before, facts)]
        before = step.chosen
    return '\n\n'.join(sections)


def _proposals(step: Step, before: Point, facts: Facts) -> str:
    rows = []
    for point in sorted(step.proposals, key=lambda each: -each.slope(before)):
        slope = 'diverged' if point.accuracy is None else f'{point.slope(before):.4g}'
        rows.append([escape(point.change), f'{point.latency:.4g}', _percent(point.accuracy), slope])
    return markdown_table(['change', facts.unit, 'top-1', escape('ΔAcc / |Δlatency|')], rows)


def _plot_path(path: Path, seed: Point, steps: Sequence[Step], facts: Facts) -> None:
    figure, axis = pyplot().subplots(figsize=(7, 4.5))
    tried = [p for step in steps for p in step.proposals if p.accuracy is not None]
    axis.scatter(*_plane(tried), s=14, color=_GREY, label='proposals')
    axis.plot(
        *_plane([seed, *(step.chosen for step in steps)]), marker='o', color=_BLUE, label='chosen'
    )
    _finish(axis, facts, f'top-1 on {facts.judged_on}')
    figure.tight_layout()
    save_figure(figure, path)


def _plane(points: Sequence[Point]) -> tuple[list[float], list[float | None]]:
    return [point.latency for point in points], [point.accuracy for point in points]


# Samples


def sampling_page(folder: Path, samples: Sequence[Sample], facts: Facts) -> str:
    """Draws the samples of a search and describes the best of them, as Markdown."""
    _plot_samples(folder / SAMPLES, samples, facts)
    distinct = {sample.architecture: sample for sample in samples}
    diverged = sum(sample.judgement.accuracy is None for sample in distinct.values())
    fitting = within(list(distinct.values()), facts.target)
    top = sorted(fitting, key=lambda sample: -sample.judgement.reward)
    rows = [
        [
            ''.join(map(str, sample.architecture)),
            f'{sample.judgement.reward:.4f}',
            _percent(sample.judgement.accuracy),
            f'{sample.judgement.latency:.4g}',
        ]
        for sample in top[:_SHOWN_SAMPLES]
    ]
    return '\n\n'.join(
        [
            f'![samples]({SAMPLES})',
            f'{len(samples)} samples, {len(distinct)} architectures, of which {diverged} diverged '
            f'and had no reward; {len(fitting)} meet the target.',
            '## The best that meet the target',
            markdown_table(['architecture', 'reward', 'top-1', facts.unit], rows),
        ]
    )


def _plot_samples(path: Path, samples: Sequence[Sample], facts: Facts) -> None:
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(10, 4))
    judged = [s.judgement for s in samples if s.judgement.accuracy is not None]
    points = left.scatter(
        [each.latency for each in judged],
        [each.accuracy for each in judged],
        c=range(len(judged)),
        s=14,
    )
    figure.colorbar(points, ax=left, label='sample')
    _finish(left, facts, f'top-1 on {facts.judged_on}')
    rewards = [sample.judgement.reward for sample in samples]
    right.plot(rewards, '.', color=_GREY, label='a sample')
    meets = [s.judgement.latency <= facts.target for s in samples]
    sofar = np.fmax.accumulate(np.where(meets, rewards, np.nan))
    right.plot(sofar, color=_BLUE, label='best that meets the target so far')
    right.set(xlabel='sample', ylabel='reward')
    right.legend(frameon=False)
    figure.tight_layout()
    save_figure(figure, path)


# Both


def _finish(axis: Any, facts: Facts, ylabel: str) -> None:
    axis.axvline(facts.target, color=_RED, linewidth=0.8, linestyle='--', label='target')
    axis.set(xlabel=facts.unit, ylabel=ylabel, title=plain(facts.title))
    axis.title.set_fontsize(10)
    axis.legend(frameon=False)


def _percent(accuracy: float | None) -> str:
    return 'diverged' if accuracy is None else f'{accuracy:.1%}'
