"""By how much whole networks depart from the sum of their parts, fitted to some that were measured.

A part that runs by itself finds its weights in the cache, where its last run left them. Inside a
network the other parts have pushed them out, so the network takes longer than its parts, the more so
the larger its weights are.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.blocks.latency_table import LatencyTable
from benchmark.blocks.parts import Part, Scheme
from search.latency.form import FileForm
from train.files import write_json

FILE = 'latency_correction.json'
_BYTES = {'float32': 4, 'int8': 1}
FEWEST_NETWORKS = 5


@dataclasses.dataclass(frozen=True)
class Correction:
    """Corrected = factor · (sum of parts) + ms_per_mb · (weights in 10^6 bytes).

    Attributes:
      device, way: of the table that it is for.
      scheme, resolution: of the networks.
      networks: how many were measured for it.
    """

    device: str
    way: str
    scheme: Scheme
    resolution: int
    factor: float
    ms_per_mb: float
    networks: int

    def apply(self, sum_ms: float, parts: Sequence[Part]) -> float:
        """What a network with these parts takes, in milliseconds."""
        return self.factor * sum_ms + self.ms_per_mb * weights_mb(parts)


def weights_mb(parts: Sequence[Part]) -> float:
    """10^6 bytes of the convolutions' kernels of parts of one scheme."""
    return sum(map(_weights, parts)) * _BYTES[parts[0].scheme] / 1e6


@dataclasses.dataclass(frozen=True)
class Observed:
    """A network that was measured.

    Attributes:
      parts: of it.
      sum_ms: what they predict, uncorrected.
      measured_ms: what it took.
    """

    parts: Sequence[Part]
    sum_ms: float
    measured_ms: float

    def error(self, correction: Correction | None) -> float:
        """Predicted / measured - 1."""
        predicted_ms = correction.apply(self.sum_ms, self.parts) if correction else self.sum_ms
        return predicted_ms / self.measured_ms - 1


def helpful_correction(
    observed: Sequence[Observed], table: LatencyTable, form: FileForm
) -> Correction | None:
    """The correction that fits networks best; None where it would not help with others.

    That is seen by leaving one out after the other: fitted without it, the correction has to make
    the median of the errors smaller.

    Args:
      observed: networks of one form whose parts stand in a table.
      table: of the parts.
      form: of the networks' files.
    """
    if len(observed) < FEWEST_NETWORKS:
        return None

    def fit(some: Sequence[Observed]) -> Correction:
        factor, ms_per_mb = _factors(some)
        return Correction(*_key(table, form), factor, ms_per_mb, len(some))

    left_out = [
        each.error(fit([other for other in observed if other is not each])) for each in observed
    ]
    plain = [each.error(None) for each in observed]
    helps = np.median(np.abs(left_out)) < np.median(np.abs(plain))
    return fit(observed) if helps else None


def _factors(observed: Sequence[Observed]) -> tuple[float, float]:
    """`factor` and `ms_per_mb` with the least squares of relative errors."""
    rows = [(each.sum_ms, weights_mb(each.parts)) for each in observed]
    matrix = np.array(rows) / np.array([each.measured_ms for each in observed])[:, None]
    (factor, ms_per_mb), *_ = np.linalg.lstsq(matrix, np.ones(len(rows)), rcond=None)
    if ms_per_mb < 0:  # more weights do not make a network faster: that is noise
        return float(np.sum(matrix[:, 0]) / np.sum(matrix[:, 0] ** 2)), 0.0
    return float(factor), float(ms_per_mb)


def way_of(table: LatencyTable) -> str:
    """How the rows of a table were measured, in words."""
    return str(next(iter(table.rows.values())).way)


def write_correction(table: LatencyTable, form: FileForm, correction: Correction | None) -> None:
    """Writes beside a table what corrects it; None removes an earlier one, which helps no more."""
    folder = table.path.parent
    known = read_corrections(folder)
    kept = [each for each in known if _of(each) != _key(table, form)]
    if correction is not None:
        kept.append(correction)
    if kept or known:
        entries = [dataclasses.asdict(each) for each in kept]
        write_json(folder / FILE, {'corrections': entries})


def read_corrections(folder: Path) -> list[Correction]:
    """The corrections of the table in a folder.

    Raises:
      ValueError: the file is no such file.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        return [_read(e) for e in json.loads(path.read_text(encoding='utf-8'))['corrections']]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f'{path} is no file of corrections ({error}); remove it and measure again: '
            'python -m search.latency_check'
        ) from None


def correction_of(table: LatencyTable, form: FileForm) -> Correction | None:
    """The correction beside a table that was fitted on its device in its way, to networks of this
    scheme and resolution; None without one.
    """
    known = read_corrections(table.path.parent)
    return next((each for each in known if _of(each) == _key(table, form)), None)


def _key(table: LatencyTable, form: FileForm) -> tuple[str, str, Scheme, int]:
    return table.device, way_of(table), form.scheme, form.resolution


def _of(correction: Correction) -> tuple[str, str, Scheme, int]:
    return correction.device, correction.way, correction.scheme, correction.resolution


def _read(entry: dict) -> Correction:
    correction = Correction(**entry)
    numbers = (correction.factor, correction.ms_per_mb)
    if not all(type(n) in (int, float) and 0 <= n < 1e6 for n in numbers):
        raise ValueError(f'factor and ms_per_mb are {numbers}, expected numbers of at least 0')
    return correction


def _weights(part: Part) -> int:
    fan_in, wide, out = part.in_channels, part.expansion, part.filters
    if part.part == 'head':
        return fan_in * wide + wide * out if wide else fan_in * out
    if part.part != 'block':
        return part.kernel**2 * fan_in * out
    expand = 0 if wide == fan_in else fan_in * wide
    return expand + part.kernel**2 * wide + 2 * wide * part.se_width + wide * out
