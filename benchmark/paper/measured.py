"""What cards and results say of the networks of the paper's tables, joined by the files' SHA-256."""

import collections
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.latency import Latency, Ratio, from_json, ratio_of
from benchmark.paper import grid
from benchmark.results import read_results
from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.spec_file import from_dict
from train.card_file import read_card

IMAGENET_EXAMPLES = 50_000
IMAGENET_OUTPUTS = (1000, 1001)  # with a background class


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Top-1 of a file, as a fraction in [0, 1].

    Attributes:
      examples: how many images it was evaluated on, or None where the card does not tell.
      dataset: which, as the card names it.
      comparable: whether these are ImageNet's 50,000 validation images, as in the paper.
    """

    top1: float
    examples: int | None
    dataset: str
    comparable: bool


@dataclasses.dataclass(frozen=True)
class File:
    """An exported file that has a place in the paper's tables.

    Attributes:
      key: of its entry of `grid.ENTRIES`.
      name: as its card says.
      outputs: classes; 1000, or 1001 with a background class, in the paper's tables.
      accuracy: None where it was not evaluated.
    """

    key: str
    name: str
    sha256: str
    outputs: int
    accuracy: Accuracy | None


@dataclasses.dataclass(frozen=True)
class DeviceResults:
    """What one device measured, by the key of its files' entries.

    Attributes:
      name: of the device, unique among those of a report.
      facts, protocol, warnings: as the results say.
      latencies: by key; those of one device were measured together, so that ratios can be formed.
      notes: what was left aside and why, a line each.
    """

    name: str
    facts: dict[str, Any]
    protocol: dict[str, Any]
    warnings: tuple[str, ...]
    latencies: dict[str, Latency]
    notes: tuple[str, ...]

    def latency(self, key: str | None) -> Latency | None:
        """Of a key; None where it was not measured."""
        return self.latencies.get(key) if key else None

    def ratio(self, model: str | None, baseline: str | None) -> Ratio | None:
        """Latency of one key / another's; None where one was not measured."""
        ours, theirs = self.latency(model), self.latency(baseline)
        return ratio_of(ours, theirs) if ours and theirs else None


@dataclasses.dataclass(frozen=True)
class MeasuredGrid:
    """All that a report is made of: devices, and accuracies by key."""

    devices: tuple[DeviceResults, ...]
    accuracies: dict[str, Accuracy]
    notes: tuple[str, ...]

    def imagenet_top1(self, key: str | None) -> float | None:
        """Percent on ImageNet's validation images; None where it was not measured on these."""
        accuracy = self.accuracies.get(key) if key else None
        return accuracy.top1 * 100 if accuracy and accuracy.comparable else None


def read(models: Sequence[str], results: Sequence[str]) -> MeasuredGrid:
    """Reads the cards of the folders `models` and the results files, and joins them.

    Of several files with one key the first of those with ImageNet's classes counts, of several
    measurements of one file on one device the first with XNNPACK. Each that loses is noted.

    Raises:
      ValueError: nothing named, a folder without cards, or a file that is no card or no results.
    """
    if not results:
        raise ValueError('--results is empty, expected files of benchmark.main; name one')
    files, others, notes = _read_files(models)
    devices: list[DeviceResults] = []
    seen: collections.Counter[str] = collections.Counter()
    for path in results:
        values = read_results(path)
        for entry in values['devices']:
            device = _read_device(entry, values['protocol'], files, others)
            seen[device.name] += 1
            if seen[device.name] > 1:
                device = dataclasses.replace(device, name=f'{device.name} ({seen[device.name]})')
            devices.append(device)
    if not devices:
        raise ValueError('the results hold no device; measure again with python -m benchmark.main')
    accuracies: dict[str, Accuracy] = {}
    for file in sorted(files, key=_preference):
        if file.accuracy:
            best = accuracies.setdefault(file.key, file.accuracy)
            if best is not file.accuracy:
                notes.append(f'{file.name}: another file gives the accuracy of {file.key}')
    return MeasuredGrid(tuple(devices), accuracies, tuple(notes))


def key_of(card: dict[str, Any]) -> str | None:
    """The entry of the grid that a card's file is, whatever its name; None if it is none.

    Two networks are the same where the same is computed: names and what only training reads
    (dropout, the statistics of BN) are left aside.

    Raises:
      ValueError: the card has no valid spec or input.
    """
    spec, scheme = from_dict(card.get('spec')), card.get('scheme')
    try:
        _, height, width, channels = card['input']['shape']
    except (KeyError, TypeError, ValueError):
        raise ValueError('it tells no input of shape [1, H, W, C]') from None
    if height != width or channels != 3:
        return None
    form = card.get('hard_swish')
    if not _has_hard_swish(spec):  # every form is one; the grid names it so
        form = 'decomposed' if scheme == 'int8' else 'fused'
    return _keys().get((_bare(spec), height, scheme, form))


@functools.cache
def _keys() -> dict[tuple, str]:
    return {
        (_bare(entry.spec), entry.resolution, entry.scheme, entry.hard_swish): key
        for key, entry in grid.ENTRIES.items()
    }


def _bare(spec: ModelSpec) -> ModelSpec:
    """A network without its name and what only training reads."""
    return dataclasses.replace(
        spec, name='', dropout=0.0, batch_norm_momentum=0.99, batch_norm_epsilon=1e-3
    )


def _has_hard_swish(spec: ModelSpec) -> bool:
    layers = [layer for layer in (spec.stem, *spec.blocks, spec.last, spec.features) if layer]
    return any(layer.activation == 'hard_swish' for layer in layers)


def _read_files(models: Sequence[str]) -> tuple[list[File], dict[str, str], list[str]]:
    """The files with a key; names of the other cards' files by sha256; notes."""
    if not models:
        raise ValueError('--models is empty, expected folders of exported files; name one')
    files: dict[str, File] = {}
    others: dict[str, str] = {}
    notes: list[str] = []
    for folder in models:
        for path in _card_owners(folder):
            card = read_card(path)
            if card is None:
                notes.append(f'{path} has no card: left out')
                continue
            try:
                sha256 = _text(card, 'sha256')
                key = key_of(card)
                file = File(key or '', path.name, sha256, _outputs(card), _accuracy(card))
            except ValueError as error:
                notes.append(f'{path}: left out, its card cannot be used: {error}')
                continue
            if key:
                files.setdefault(sha256, file)
            else:
                others[sha256] = path.name
    return list(files.values()), others, notes


def _card_owners(folder: str) -> list[Path]:
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f'{path} is no folder, expected one with .tflite files and their cards')
    found = sorted(path.glob('*.tflite'))
    if not found:
        raise ValueError(
            f'{path} holds no .tflite file, expected exported files with their cards; export some'
        )
    return found


def _read_device(
    entry: dict[str, Any], protocol: dict[str, Any], files: list[File], others: dict[str, str]
) -> DeviceResults:
    """One device's figures by key; of several of one key the best, see `read`."""
    by_sha256 = {file.sha256: file for file in files}
    found: dict[str, list[tuple[tuple[bool, bool], Latency]]] = {}
    notes: list[str] = []
    for values in entry['models']:
        latency = from_json(values)
        file = by_sha256.get(latency.sha256)
        if file is None:
            notes.append(_why_no_row(latency, others))
            continue
        rank = (file.outputs not in IMAGENET_OUTPUTS, not latency.xnnpack)
        found.setdefault(file.key, []).append((rank, latency))
        if rank[0]:
            notes.append(f'{latency.model}: has {file.outputs} classes, not 1000 as in the paper')
    latencies = {}
    for key, candidates in found.items():
        (rank, best), *losers = sorted(candidates, key=lambda candidate: candidate[0])
        latencies[key] = best
        notes += [f'{lost.model}: left aside, {best.model} is {key} too' for _, lost in losers]
        if rank[1]:
            notes.append(f'{best.model}: {key} was measured without XNNPACK only')
    return DeviceResults(
        entry['name'], entry['facts'], protocol, tuple(entry['warnings']), latencies, tuple(notes)
    )


def _why_no_row(latency: Latency, others: dict[str, str]) -> str:
    if latency.sha256 in others:
        return f'{latency.model}: no row or figure of the paper is this network'
    return f'{latency.model}: not matched, no card in --models has its SHA-256'


def _accuracy(card: dict[str, Any]) -> Accuracy | None:
    """Of the file; of the float network where only that was evaluated and the file is float too."""
    evaluation = card.get('evaluation')
    if not isinstance(evaluation, dict):
        return None
    figures = evaluation.get('file')
    if figures is None and card.get('scheme') == 'float32':
        figures = evaluation.get('float')
    top1 = figures.get('top1') if isinstance(figures, dict) else None
    if top1 is None:
        return None
    if type(top1) not in (int, float) or not 0 <= top1 <= 1:  # NaN is not either
        raise ValueError(f'its top1 is {top1!r}, expected a fraction from 0 to 1')
    examples, dataset = evaluation.get('examples'), _dataset(card)
    official = dataset.startswith('imagenet2012') or examples == IMAGENET_EXAMPLES
    comparable = official and _outputs(card) in IMAGENET_OUTPUTS
    return Accuracy(float(top1), examples, dataset, comparable)


def _dataset(card: dict[str, Any]) -> str:
    config = card.get('config')
    data = config.get('data') if isinstance(config, dict) else None
    dataset = data.get('dataset') if isinstance(data, dict) else card.get('dataset')
    return str(dataset or 'an unnamed dataset')


def _outputs(card: dict[str, Any]) -> int:
    try:
        return int(card['output']['shape'][-1])
    except (KeyError, TypeError, ValueError, IndexError):
        raise ValueError('it tells no output of shape [1, classes]') from None


def _text(card: dict[str, Any], name: str) -> str:
    value = card.get(name)
    if not isinstance(value, str):
        raise ValueError(f'its {name} is {value!r}, expected a text')
    return value


def _preference(file: File) -> bool:
    return not (file.accuracy and file.accuracy.comparable)
