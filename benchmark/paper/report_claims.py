"""The paper's claims as Markdown, with what each device measured and what follows."""

import collections
from collections.abc import Mapping, Sequence
from typing import get_args

from benchmark.latency import Ratio
from benchmark.paper.claims import (
    LatencyClaim,
    Verdict,
    judge_accuracy,
    judge_count,
    judge_latency,
)
from benchmark.paper.grid import RESOLUTIONS, Entry
from benchmark.paper.measured import DeviceResults, MeasuredGrid
from benchmark.paper.paper_claims import (
    ACCURACY_CLAIMS,
    CLAIM_GROUPS,
    COUNT_CLAIMS,
    LATENCY_CLAIMS,
)
from benchmark.paper.paper_tables import REPRODUCED_TOP1, paper_top1
from benchmark.paper.tradeoffs import findings, resolution_is_open, same_latency
from train.markdown import escape, markdown_table

NONE = '–'
HOW_TO_READ = (
    'A ratio is latency / latency of what the claim compares with, formed round by round, with its '
    '95 % interval. A claim that one is faster or slower has a direction and a size. Borne out: the '
    'whole interval is on the claimed side of 1, and the effect is not told apart from the paper’s. '
    'Direction borne out, effect smaller (larger): the whole interval is on the claimed side, and '
    'the effect below (beyond) that on each of the paper’s phones. Not borne out: the whole '
    'interval is on the other side. “Comparable” stands for the paper’s “comparable”, “no '
    'discernible cost” and “only 1 ms”: here within 5 %, and which is the slower one is said all '
    'the same (“perhaps”: the interval reaches beyond 5 %); not borne out: the whole interval is '
    'above 1.05.'
)
_ALWAYS_COUNTED = ('borne out', 'not borne out')


def render(measured: MeasuredGrid) -> str:
    """Latency claims and trade-offs of every device, then accuracy and multiply-adds."""
    blocks = ['## The paper’s claims', *_not_decided(measured), HOW_TO_READ]
    for device in measured.devices:
        blocks += [f'### Claims about latency on {escape(device.name)}', *_latency(device)]
        blocks += [
            f'### Claims that weigh latency against accuracy on {escape(device.name)}',
            *_tradeoffs(measured, device),
        ]
    blocks += ['### Claims about accuracy', *_accuracy(measured)]
    blocks += ['### Claims about multiply-adds', _counts()]
    return '\n\n'.join(blocks)


def summary(device: DeviceResults, claims: Sequence[LatencyClaim] = LATENCY_CLAIMS) -> str:
    """How many claims about latency got which verdict on a device, in a line."""
    verdicts = collections.Counter(judge_latency(claim, device)[1] for claim in claims)
    return '; '.join(
        f'{verdicts[verdict]} {verdict}'
        for verdict in get_args(Verdict)
        if verdicts[verdict] or verdict in _ALWAYS_COUNTED
    )


def open_question(measured: MeasuredGrid) -> str | None:
    """What no latency decides, in a line: resolution against multiplier; None where it is decided."""
    if not any(resolution_is_open(measured, device) for device in measured.devices):
        return None
    others = [
        Entry(network, resolution=resolution).key
        for network in ('large', 'small')
        for resolution in RESOLUTIONS
        if resolution != 224
    ]
    known = sum(measured.imagenet_top1(key) is not None for key in others)
    return (
        'not decided: resolution against multiplier (§6.2, Fig. 7): accuracies on ImageNet are '
        f'known here of {known} of the {len(others)} files at other resolutions than 224²'
    )


def _not_decided(measured: MeasuredGrid) -> list[str]:
    told = open_question(measured)
    return [f'{told[0].upper()}{told[1:]}. Latencies alone do not decide it.'] if told else []


def _latency(device: DeviceResults) -> list[str]:
    blocks = []
    for name, claims in CLAIM_GROUPS.items():
        blocks += [f'{name}: {summary(device, claims)}.', _judged(claims, device)]
    return blocks


def _judged(claims: Sequence[LatencyClaim], device: DeviceResults) -> str:
    head = ['Claim', 'Source', 'claimed', 'ratio in the paper', 'ratio here [95 %]', 'effect']
    rows = []
    for claim in claims:
        ratio, verdict = judge_latency(claim, device)
        rows.append(
            [
                claim.text,
                claim.source,
                claim.sense,
                _paper(claim.paper),
                str(ratio) if ratio else NONE,
                _effect(ratio),
                _verdict(claim, ratio, verdict),
            ]
        )
    return markdown_table([*head, 'verdict'], rows, left=3)


def _paper(ratios: Mapping[str, float]) -> str:
    return ', '.join(f'{phone} {ratio:.3f}' for phone, ratio in ratios.items()) or NONE


def _effect(ratio: Ratio | None) -> str:
    """How much faster (−) or slower (+)."""
    if ratio is None:
        return NONE
    percent = round(100 * (ratio.median - 1), 1) + 0.0  # no −0.0
    return f'{percent:+.1f} %'.replace('-', '−')


def _verdict(claim: LatencyClaim, ratio: Ratio | None, verdict: Verdict) -> str:
    """A verdict; of 'comparable' with the difference, which its name would hide."""
    if claim.sense != 'comparable' or ratio is None:
        return verdict
    by = f'by {100 * abs(ratio.median - 1):.1f} %'
    if verdict == 'not borne out':
        return f'not borne out: slower {by}'
    side, _, bound = verdict.partition(',')
    if side in ('slower', 'faster'):
        return f'{side} {by},{bound}'
    return f'faster {by}' if verdict == 'faster by more than 5 %' else verdict


def _tradeoffs(measured: MeasuredGrid, device: DeviceResults) -> list[str]:
    rows = [[f.text, f.source, f.found, f.verdict] for f in findings(measured, device)]
    blocks = [markdown_table(['Claim', 'Source', 'found', 'verdict'], rows, left=4)]
    for network in ('large', 'small'):
        same = same_latency(measured, device, network)
        if not same:
            continue
        rows = [
            [
                f'{row.resolution}²',
                f'{row.latency_ms:.2f}',
                'beyond' if row.multiplier is None else f'{row.multiplier:.2f}',
                'missing' if row.multiplier_top1 is None else f'{row.multiplier_top1:.1f}',
                'missing' if row.top1 is None else f'{row.top1:.1f}',
            ]
            for row in same
        ]
        head = ['ms', 'multiplier of that latency', 'its top-1', 'top-1 at the resolution']
        name = f'V3-{network.capitalize()} × 1 at'
        blocks.append(markdown_table([name, *head], rows))
    return blocks


def _accuracy(measured: MeasuredGrid) -> list[str]:
    rows = []
    for claim in ACCURACY_CLAIMS:
        found, verdict = judge_accuracy(claim, measured)
        here = f'{found[0]:+.1f} ± {found[1]:.1f}' if found else NONE
        rows.append([claim.text, claim.source, f'{claim.points:+.1f}', here, verdict])
    head = ['Claim', 'Source', 'points in the paper', 'here', 'verdict']
    blocks = [markdown_table(head, rows, left=2)]
    if any(row[-1] == 'not measured' for row in rows):
        blocks.append(
            'Not measured: no file with a card of both networks was evaluated on ImageNet’s 50,000 '
            f'validation images. {_reproductions()} V3’s side of the first two claims stands with '
            'them; of the others nothing follows.'
        )
    return blocks


def _reproductions() -> str:
    told = ' and '.join(
        f'{REPRODUCED_TOP1[network][1.0]} % (V3-{network.capitalize()}; the paper: '
        f'{paper_top1(Entry(network).key)} %)'
        for network in REPRODUCED_TOP1
    )
    return f'Independent trainings on ImageNet reach {told}.'


def _counts() -> str:
    rows = []
    for claim in COUNT_CLAIMS:
        saved, verdict = judge_count(claim)
        rows.append([claim.text, claim.source, f'{claim.saved:g}', f'{saved:.1f}', verdict])
    head = ['Claim', 'Source', 'M in the paper', 'M counted here', 'verdict (within a quarter)']
    return markdown_table(head, rows, left=2)
