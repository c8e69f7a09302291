"""Which ops and which blocks of a .tflite file cost what.

LiteRT's profiler is out of Python's reach: neither the interpreter nor the compiled model of
ai_edge_litert 2.3 hands its events out, and XNNPACK's piece would be one op in them. So `profile_file`
cuts the file: each block, and each op, becomes a file of its own with the weights and ranges that it
has in the whole, measured by turns with it. That holds for any device and any delegate. Blocks of a
file add up to the whole within some percent; single ops less so, as every one pays for an invocation
and finds its inputs elsewhere. benchmark_model does profile, and its ops can stand in for ours.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import session
from benchmark.blocks.cut import Pieces, block_of
from benchmark.device import Case, Device
from benchmark.latency import aligned
from train.plots import plain, pyplot, save_figure
from train.tflite_file import read_identity

if TYPE_CHECKING:
    from benchmark.phones import words

TOP_OPS = 20  # that are listed one by one
_WHOLE = 'whole'
_UNNAMED = '(not told)'
_DELEGATE = 'DELEGATE'


@dataclasses.dataclass(frozen=True)
class OpTime:
    """One op.

    Attributes:
      kind: 'CONV_2D', or what a delegate calls it.
      name: of the tensor that it makes.
      block: it belongs to; '' where its name does not tell.
      ms: of one run.
    """

    kind: str
    name: str
    block: str
    ms: float


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the pieces of one file take on one device.

    Attributes:
      model: the file, as tables call it.
      device: where.
      ops: in the order in which they run.
      blocks_ms: of each block in one piece, in their order; where the device profiled by itself, the
        sum of its ops.
      whole_ms: of the file, measured in the same run.
    """

    model: str
    device: str
    ops: tuple[OpTime, ...]
    blocks_ms: dict[str, float]
    whole_ms: float

    @property
    def shares(self) -> dict[str, float]:
        """Of each block in the sum of all."""
        total = sum(self.blocks_ms.values())
        return {block: ms / total for block, ms in self.blocks_ms.items()}


def profile_file(
    device: Device,
    case: Case,
    protocol: session.Protocol,
    *,
    progress: session.Progress | None = None,
) -> Profile:
    """Measures every op and every block of a file alone, by turns with the whole.

    Args:
      device: where.
      case: a .tflite file, with the delegate or without.
      protocol: how.
      progress: as of `benchmark.session.measure`.

    Raises:
      ValueError: it is no .tflite file, or the device cannot run a piece.
    """
    file = case.file
    content = file.read_bytes()
    pieces = Pieces(content)
    groups = {_WHOLE: [op.index for op in pieces.ops]}
    for op in pieces.computing:
        groups.setdefault(f'block {op.block}', []).append(op.index)
        groups[f'op {op.index}'] = [op.index]
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for number, (name, indices) in enumerate(groups.items()):
            # Named after the file, as a phone keeps all of them in one folder.
            piece = Path(folder, f'{file.stem}_{number}.tflite')
            piece.write_bytes(content if name == _WHOLE else pieces.cut(indices))
            cases.append(Case(name, piece, *read_identity(piece), case.xnnpack))
        measured = session.measure(device, cases, protocol, progress=progress)
    ms = {latency.model: latency.median_ms for latency in measured}
    return Profile(
        model=case.name,
        device=device.name,
        ops=tuple(OpTime(o.kind, o.name, o.block, ms[f'op {o.index}']) for o in pieces.computing),
        blocks_ms={o.block: ms[f'block {o.block}'] for o in pieces.computing},
        whole_ms=ms[_WHOLE],
    )


def profile_of_words(model: str, device: str, profile: 'words.Profile', whole_ms: float) -> Profile:
    """The profile that benchmark_model printed.

    Args:
      model, device: names for the table.
      profile: of `words.parse_profile`. Of a delegate's piece its inner ops count, where the
        delegate tells them; they have no names that lead to a block.
      whole_ms: of the file, without profiling.
    """
    outer = [op for op in profile.ops if not (profile.delegated and op.kind == _DELEGATE)]
    ops = tuple(
        OpTime(op.kind, op.name, block_of(op.name), op.mean_ms)
        for op in (*outer, *profile.delegated)
    )
    return Profile(model, device, ops, _sums(ops, lambda op: op.block), whole_ms)


def profile_table(profile: Profile) -> str:
    """Markdown: blocks, kinds of ops, the costliest ops."""
    ops_ms = _sums(profile.ops, lambda op: op.block)
    counts = _counts(profile.ops, lambda op: op.block)
    blocks = [['block', 'ops', 'ms', 'share', 'its ops alone ms']]
    blocks += [
        [block or _UNNAMED, str(counts[block]), f'{ms:.4f}', f'{share:.1%}', f'{ops_ms[block]:.4f}']
        for (block, ms), share in zip(
            profile.blocks_ms.items(), profile.shares.values(), strict=True
        )
    ]
    total_ms, of_ops_ms = sum(profile.blocks_ms.values()), sum(op.ms for op in profile.ops)
    blocks.append(['sum', str(len(profile.ops)), f'{total_ms:.4f}', '100%', f'{of_ops_ms:.4f}'])
    blocks.append(['whole file', '', f'{profile.whole_ms:.4f}', '', ''])
    kinds_ms = _sums(profile.ops, lambda op: op.kind)
    kind_counts = _counts(profile.ops, lambda op: op.kind)
    kinds = [['kind of op', 'ops', 'ms', 'share']]
    kinds += [
        [kind, str(kind_counts[kind]), f'{ms:.4f}', f'{ms / of_ops_ms:.1%}']
        for kind, ms in sorted(kinds_ms.items(), key=lambda item: -item[1])
    ]
    costliest = sorted(profile.ops, key=lambda op: -op.ms)[:TOP_OPS]
    ops = [['costliest ops', 'kind', 'ms', 'share']]
    ops += [
        [op.name.split(';')[0], op.kind, f'{op.ms:.4f}', f'{op.ms / of_ops_ms:.1%}']
        for op in costliest
    ]
    head = f'{profile.model} on {profile.device}, medians, one invocation each'
    return '\n\n'.join([head, *map(aligned, (blocks, kinds, ops))]) + '\n'


def plot_profile(path: str | os.PathLike, profile: Profile) -> None:
    """Draws a bar a block, of its ops by kind, and what the block takes in one piece, as a line."""
    plt = pyplot()
    blocks = list(profile.blocks_ms)
    by_kind = _sums(profile.ops, lambda op: op.kind)
    figure, axis = plt.subplots(figsize=(14, 5), layout='constrained')
    bottom = [0.0] * len(blocks)
    colors = plt.get_cmap('tab20').colors
    for number, kind in enumerate(sorted(by_kind, key=lambda kind: -by_kind[kind])):
        of_kind = _sums((op for op in profile.ops if op.kind == kind), lambda op: op.block)
        heights = [of_kind.get(block, 0.0) for block in blocks]
        label = f'{kind} {by_kind[kind]:.3f} ms'
        axis.bar(blocks, heights, 0.7, bottom, label=label, color=colors[number % len(colors)])
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    in_one_piece = list(profile.blocks_ms.values())
    places: list[Any] = list(range(len(blocks)))
    left, right = [x - 0.42 for x in places], [x + 0.42 for x in places]
    axis.hlines(in_one_piece, left, right, color='black', linewidth=2, label='block in one piece')
    axis.set_xticks(places, [block or _UNNAMED for block in blocks], rotation=35, ha='right')
    axis.set_xlim(-0.6, len(blocks) - 0.4)
    axis.set_ylabel('ms, one invocation')
    total_ms = sum(in_one_piece)
    axis.set_title(
        f'{plain(profile.model)} on {profile.device}: {profile.whole_ms:.3f} ms, '
        f'its blocks alone {total_ms:.3f} ms',
        loc='left',
    )
    axis.grid(axis='y', color='#dddddd', linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def _sums(ops: Iterable[OpTime], key: Callable[[OpTime], str]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for op in ops:
        sums[key(op)] = sums.get(key(op), 0.0) + op.ms
    return sums


def _counts(ops: Sequence[OpTime], key: Callable[[OpTime], str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for op in ops:
        counts[key(op)] = counts.get(key(op), 0) + 1
    return counts
