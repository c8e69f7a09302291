"""What the parts of networks cost, as Markdown and as bars, and how far they add up to the whole."""

import dataclasses
import io
import itertools
import os
import statistics
from collections.abc import Sequence
from typing import Any

from benchmark.blocks.parts import Network
from benchmark.latency import Latency, Ratio, aligned, ratio_of
from train.files import write_file

COLORS = {
    ('float32', 'fused'): '#1f5f99',
    ('float32', 'decomposed'): '#8fc1e8',
    ('int8', 'fused'): '#f4b183',
    ('int8', 'decomposed'): '#c4500b',
}


@dataclasses.dataclass(frozen=True)
class MeasuredNetwork:
    """A network and its parts, measured in one run.

    Attributes:
      network: what it is.
      whole: of the network in one file.
      parts: of each part alone, by name.
      overhead_ms: what an invocation costs by itself.
    """

    network: Network
    whole: Latency
    parts: dict[str, Latency]
    overhead_ms: float

    @property
    def form(self) -> str:
        """'float32 fused'; without a form where there is no h-swish."""
        has_form = any(part.hard_swish != 'none' for part in self.network.parts.values())
        scheme = self.network.scheme
        return f'{scheme} {self.network.hard_swish}' if has_form else scheme

    def net_ms(self, name: str) -> float:
        """A part without the cost of an invocation."""
        return self.parts[name].median_ms - self.overhead_ms

    @property
    def sum_ms(self) -> float:
        """Of all parts without the costs of their invocations."""
        return sum(map(self.net_ms, self.parts))

    @property
    def shares(self) -> dict[str, float]:
        """Of each part in `sum_ms`."""
        return {name: self.net_ms(name) / self.sum_ms for name in self.parts}

    @property
    def predicted_ms(self) -> float:
        """What the parts predict of the whole."""
        return self.sum_ms + self.overhead_ms

    @property
    def error(self) -> float:
        """Predicted / measured - 1."""
        return self.predicted_ms / self.whole.median_ms - 1

    @property
    def undisturbed_error(self) -> float | None:
        """The same of 5th percentiles: on a busy machine most runs of a whole network are
        interrupted, those of its parts are not. None where the device tells no percentiles.
        """
        told = [x.p5_ms for x in self.parts.values() if x.p5_ms is not None]
        if self.whole.p5_ms is None or len(told) < len(self.parts):
            return None
        predicted_ms = sum(told) - (len(told) - 1) * self.overhead_ms
        return predicted_ms / self.whole.p5_ms - 1


def report_markdown(
    measured: Sequence[MeasuredNetwork],
    *,
    device: str,
    facts: dict[str, Any],
    protocol: dict[str, Any],
) -> str:
    """Tables of every network's parts, then of how well they predict the whole.

    Args:
      measured: networks; forms of one network stand beside each other.
      device, facts: where.
      protocol: how.
    """
    told = ', '.join(f'{name} {value}' for name, value in {**facts, **protocol}.items())
    sections = [
        f'# What the parts of networks cost on {device}\n\n{told}.\n\n'
        'Each part is a file of its own with the input that it has inside the network; all files '
        'take turns in one run. Shares are without the cost of an invocation, which is in the '
        'milliseconds. A ratio is fused / decomposed h-swish with its 95 % interval; one that '
        'holds 1 does not tell them apart.\n\n![Parts of networks](blocks.png)'
    ]
    sections += [f'## {name}\n\n{network_table(forms)}' for name, forms in _by_name(measured)]
    sections.append(f'## Parts against the whole\n\n{prediction_table(measured)}')
    return '\n\n'.join(sections) + '\n'


def network_table(forms: Sequence[MeasuredNetwork]) -> str:
    """The parts of one network, a line each, in all the forms that were measured."""
    pairs = _pairs(forms)
    head = ['part', 'what it is']
    for form in forms:
        head += [f'{form.form} ms', 'share']
    head += [f'{fused.network.scheme} fused / decomposed' for fused, _ in pairs]
    rows = [head]
    for name, part in forms[0].network.parts.items():
        row = [name, str(part).rpartition(', ')[0].partition(' ')[2]]
        for form in forms:
            row += [f'{form.parts[name].median_ms:.4f}', f'{form.shares[name]:.1%}']
        row += [_ratio(fused, decomposed, name) for fused, decomposed in pairs]
        rows.append(row)
    no_ratio = ['' for _ in pairs]
    sums = [[f'{form.sum_ms:.4f}', f'{sum(form.shares.values()):.0%}'] for form in forms]
    wholes = [[f'{form.whole.median_ms:.4f}', ''] for form in forms]
    ratios = [str(ratio_of(fused.whole, decomposed.whole)) for fused, decomposed in pairs]
    rows.append(['sum', 'without the costs of invocations', *itertools.chain(*sums), *no_ratio])
    rows.append(['whole', 'the network in one file', *itertools.chain(*wholes), *ratios])
    return aligned(rows)


def prediction_table(measured: Sequence[MeasuredNetwork]) -> str:
    """Measured and predicted latency of every network, and the median error."""
    head = [
        'network',
        'form',
        'measured ms',
        'p5–p95 ms',
        'sum of parts ms',
        'error',
        'error at p5',
    ]
    rows = [head]
    for m in measured:
        whole, at_p5 = m.whole, m.undisturbed_error
        rows.append(
            [
                f'{m.network.name} {m.network.resolution}²',
                m.form,
                f'{whole.median_ms:.4f}',
                '–' if whole.p5_ms is None else f'{whole.p5_ms:.3f}–{whole.p95_ms:.3f}',
                f'{m.predicted_ms:.4f}',
                f'{m.error:+.1%}',
                '–' if at_p5 is None else f'{at_p5:+.1%}',
            ]
        )
    said = f'{aligned(rows)}\n\nError: {_summary([m.error for m in measured])}'
    at_p5s = [m.undisturbed_error for m in measured if m.undisturbed_error is not None]
    return said + (f'; at p5: {_summary(at_p5s)}.' if at_p5s else '.')


def _summary(errors: Sequence[float]) -> str:
    sizes = [abs(error) for error in errors]
    return f'median {statistics.median(sizes):.1%}, largest {max(sizes):.1%}'


def plot_blocks(path: str | os.PathLike, measured: Sequence[MeasuredNetwork]) -> None:
    """Draws the parts of every network, a panel each: parts on x, a bar for every form."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    groups = _by_name(measured)
    figure, axes = plt.subplots(
        len(groups), 1, figsize=(14, 5 * len(groups)), squeeze=False, layout='constrained'
    )
    for axis, (name, forms) in zip(axes[:, 0], groups, strict=True):
        _draw(axis, name, forms)
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=110)
    plt.close(figure)
    write_file(path, content.getvalue())


def _draw(axis: Any, name: str, forms: Sequence[MeasuredNetwork]) -> None:
    names = list(forms[0].parts)
    width = 0.84 / len(forms)
    top = _top(forms)
    for place, form in enumerate(forms):
        low, middle, high = zip(*(_spread(form.parts[part]) for part in names), strict=True)
        bars = axis.bar(
            [x - 0.42 + (place + 0.5) * width for x in range(len(names))],
            middle,
            width,
            yerr=[low, high],
            error_kw={'elinewidth': 0.8, 'ecolor': '#444444'},
            color=COLORS[form.network.scheme, form.network.hard_swish],
            label=f'{form.form}: whole {form.whole.median_ms:.2f} ms, '
            f'parts {form.predicted_ms:.2f} ms',
        )
        for bar in bars:
            if bar.get_height() > top:  # written where it is not drawn
                x = bar.get_x() + width / 2
                text = f'{bar.get_height():.2f} ↑'
                axis.text(x, top * 1.01, text, ha='center', va='bottom', fontsize=7)
    axis.set_ylim(0, top)
    axis.set_xticks(range(len(names)), names, rotation=35, ha='right')
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.set_ylabel('ms, one invocation')
    axis.set_title(
        f'{name}: each part alone, median and middle half of the rounds', loc='left', pad=16
    )
    axis.grid(axis='y', color='#dddddd', linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
    axis.legend(frameon=False, ncols=2, loc='upper center', bbox_to_anchor=(0.5, -0.2))


def _top(forms: Sequence[MeasuredNetwork]) -> float:
    """Where the axis ends: one slow form, such as int8 fused, must not flatten all the others."""
    highest = sorted(max(x.median_ms for x in form.parts.values()) for form in forms)
    usual = highest[-2] if len(highest) > 1 else highest[-1]
    return 1.15 * (usual if highest[-1] > 2 * usual else highest[-1])


def _spread(latency: Latency) -> tuple[float, float, float]:
    """How far the lower quartile of the rounds is below the median, the median, the upper above."""
    rounds = [*latency.round_medians_ms] * 2  # one round has no quartiles
    low, _, high = statistics.quantiles(rounds, n=4)
    middle = latency.median_ms
    return max(0.0, middle - low), middle, max(0.0, high - middle)


def _by_name(measured: Sequence[MeasuredNetwork]) -> list[tuple[str, list[MeasuredNetwork]]]:
    groups: dict[str, list[MeasuredNetwork]] = {}
    for m in measured:
        groups.setdefault(f'{m.network.name}, {m.network.resolution}²', []).append(m)
    return list(groups.items())


def _pairs(forms: Sequence[MeasuredNetwork]) -> list[tuple[MeasuredNetwork, MeasuredNetwork]]:
    """Fused and decomposed of the same scheme."""
    by_form = {(form.network.scheme, form.network.hard_swish): form for form in forms}
    return [
        (fused, by_form[scheme, 'decomposed'])
        for (scheme, form), fused in by_form.items()
        if form == 'fused' and (scheme, 'decomposed') in by_form
    ]


def _ratio(fused: MeasuredNetwork, decomposed: MeasuredNetwork, name: str) -> str:
    if fused.network.parts[name].hard_swish == 'none':
        return '–'
    ratio: Ratio = ratio_of(fused.parts[name], decomposed.parts[name])
    return str(ratio)
