"""What cards and results say of the networks of the paper's tables, joined by the files' SHA-256."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.latency import Latency, Ratio, from_json, ratio_of
from benchmark.paper.card_key import key_of, task_of
from benchmark.results import read_results
from train.card_file import read_card

IMAGENET_EXAMPLES = 50_000
METRICS = {'classification': 'top1', 'detection': 'map', 'segmentation': 'miou'}
# Classes of the paper's files, the first of those that are built here: with a background class; of
# COCO all numbers, or those that it uses.
CLASSES = {'classification': (1000, 1001), 'detection': (90, 80), 'segmentation': (19,)}
# Of what a device says of itself, that which is another every time.
_OF_THE_MOMENT = ('load_average_1min', 'condition_before', 'continued')


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Top-1, mAP or mIOU of a file, as a fraction in [0, 1].

    Attributes:
      examples: how many images it was evaluated on, or None where the card does not tell.
      dataset: which, as the card names it.
      comparable: whether these are validation images that the paper has, too: ImageNet's 50,000 or
        Cityscapes's.
    """

    value: float
    examples: int | None
    dataset: str
    comparable: bool


@dataclasses.dataclass(frozen=True)
class File:
    """An exported file that has a place in the paper's tables.

    Attributes:
      key: of its entry of `grid.ENTRIES`.
      name: as its card says.
      task: what it is for.
      classes: how many it tells apart; see CLASSES.
      accuracy: None where it was not evaluated.
    """

    key: str
    name: str
    sha256: str
    task: str
    classes: int
    accuracy: Accuracy | None

    @property
    def as_in_the_paper(self) -> bool:
        """Whether it has as many classes."""
        return self.classes in CLASSES[self.task]


@dataclasses.dataclass(frozen=True)
class Together:
    """Files that were measured in turns, whose ratios can be formed, by key; and how."""

    keys: frozenset[str]
    protocol: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DeviceResults:
    """What one device measured, by the key of its files' entries.

    Attributes:
      name: of the device, unique among those of a report.
      facts, warnings: as the results say.
      together: one of each of its results.
      latencies: by key.
      notes: what was left aside and why, a line each.
    """

    name: str
    facts: dict[str, Any]
    together: tuple[Together, ...]
    warnings: tuple[str, ...]
    latencies: dict[str, Latency]
    notes: tuple[str, ...]

    def latency(self, key: str | None) -> Latency | None:
        """Of a key; None where it was not measured."""
        return self.latencies.get(key) if key else None

    def ratio(self, model: str | None, baseline: str | None) -> Ratio | None:
        """Latency of one key / another's; None where they were not measured together."""
        ours, theirs = self.latency(model), self.latency(baseline)
        if any((model in go.keys) != (baseline in go.keys) for go in self.together):
            return None
        return ratio_of(ours, theirs) if ours and theirs else None

    def joined(self, other: 'DeviceResults') -> 'DeviceResults | None':
        """With what the same device measured of other files; None if it is another, or the same."""
        if (self.name, _identity(self.facts)) != (other.name, _identity(other.facts)):
            return None
        if not other.latencies or self.latencies.keys() & other.latencies.keys():
            return None
        return DeviceResults(
            self.name,
            self.facts,
            self.together + other.together,
            tuple(dict.fromkeys(self.warnings + other.warnings)),
            {**self.latencies, **other.latencies},
            self.notes + other.notes,
        )


@dataclasses.dataclass(frozen=True)
class MeasuredGrid:
    """All that a report is made of: devices, and accuracies by key."""

    devices: tuple[DeviceResults, ...]
    accuracies: dict[str, Accuracy]
    notes: tuple[str, ...]

    def imagenet_top1(self, key: str | None) -> float | None:
        """Percent on ImageNet's validation images; None where it was not measured on these."""
        accuracy = self.accuracies.get(key) if key else None
        return accuracy.value * 100 if accuracy and accuracy.comparable else None


def read(models: Sequence[str], results: Sequence[str]) -> MeasuredGrid:
    """Reads the cards of the folders `models` and the results files, and joins them.

    Of several files with one key the first of those with the paper's classes counts, of several
    measurements of one file on one device the first with XNNPACK. Each that loses is noted. What a
    device measured of other files another time stands beside it.

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
            if _join(devices, device):
                continue
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


def _join(devices: list[DeviceResults], new: DeviceResults) -> bool:
    """Adds results to those that the same device has of other files; False where there are none."""
    for i, device in enumerate(devices):
        joined = device.joined(new)
        if joined:
            devices[i] = joined
            return True
    return False


def _identity(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in _OF_THE_MOMENT}


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
                task, classes = task_of(card), (_classes(card) if key else 0)
                accuracy = _accuracy(card, task, classes)
                file = File(key or '', path.name, sha256, task, classes, accuracy)
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
        rank = (not file.as_in_the_paper, not latency.xnnpack)
        found.setdefault(file.key, []).append((rank, latency))
        if rank[0]:
            usual = CLASSES[file.task][0]
            notes.append(
                f'{latency.model}: has {file.classes} classes, not {usual} as in the paper'
            )
    latencies = {}
    for key, candidates in found.items():
        (rank, best), *losers = sorted(candidates, key=lambda candidate: candidate[0])
        latencies[key] = best
        notes += [f'{lost.model}: left aside, {best.model} is {key} too' for _, lost in losers]
        if rank[1]:
            notes.append(f'{best.model}: {key} was measured without XNNPACK only')
    return DeviceResults(
        entry['name'],
        entry['facts'],
        (Together(frozenset(latencies), protocol),),
        tuple(entry['warnings']),
        latencies,
        tuple(notes),
    )


def _why_no_row(latency: Latency, others: dict[str, str]) -> str:
    if latency.sha256 in others:
        return f'{latency.model}: no row or figure of the paper is this network'
    return f'{latency.model}: not matched, no card in --models has its SHA-256'


def _accuracy(card: dict[str, Any], task: str, classes: int) -> Accuracy | None:
    """Of the file; of the float network where only that was evaluated and the file is float too."""
    evaluation = card.get('evaluation')
    if not isinstance(evaluation, dict):
        return None
    figures = evaluation.get('file')
    if figures is None and card.get('scheme') == 'float32':
        figures = evaluation.get('float')
    metric = METRICS[task]
    value = figures.get(metric) if isinstance(figures, dict) else None
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 1:  # NaN is not either
        raise ValueError(f'its {metric} is {value!r}, expected a fraction from 0 to 1')
    examples, dataset = evaluation.get('examples'), _dataset(card)
    if task == 'classification':
        official = dataset.startswith('imagenet2012') or examples == IMAGENET_EXAMPLES
    else:
        official = dataset.startswith('cityscapes')  # COCO's figures are of its test images
    return Accuracy(float(value), examples, dataset, official and classes in CLASSES[task])


def _dataset(card: dict[str, Any]) -> str:
    config = card.get('config')
    data = config.get('data') if isinstance(config, dict) else None
    dataset = data.get('dataset') if isinstance(data, dict) else card.get('dataset')
    return str(dataset or 'an unnamed dataset')


def _classes(card: dict[str, Any]) -> int:
    """How many classes a file tells apart; as many as it has labels, or says without any."""
    if task_of(card) != 'classification':
        labels, told = card.get('labels'), card.get('classes')
        return len(labels) if isinstance(labels, list) else told if isinstance(told, int) else 0
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
