"""From the words of --latency and --target to what they mean."""

import math
from pathlib import Path

from benchmark.blocks.latency_table import read_table
from benchmark.device import Device
from benchmark.session import Protocol
from mobilenet_v3.spec import ModelSpec
from search.latency.correction import correction_of
from search.latency.form import FileForm
from search.latency.measured import MeasuredLatency
from search.latency.model import LatencyModel, MAdds
from search.latency.table import TableLatency

MEASURED = ('host', 'adb')
EXPECTED = 'table:FILE, host, adb or madds'


def open_latency(
    word: str,
    form: FileForm,
    seed: ModelSpec,
    device: Device | None,
    protocol: Protocol,
    folder: Path,
    table_device: str | None = None,
) -> LatencyModel:
    """The latency model that a word means.

    Args:
      word: 'table:FILE' (of one device, with the correction beside it), 'host' or 'adb' (measured
        network by network) or 'madds'.
      form: of the networks' files.
      seed: what networks are measured beside.
      device: of 'host' and 'adb'.
      protocol: of these.
      folder: for their files.
      table_device: whose rows of a table count; None where it has those of one device only.

    Raises:
      ValueError: another word, or a file that is no table.
    """
    kind, _, rest = word.partition(':')
    if word == 'madds':
        return MAdds(form.resolution, form.num_classes)
    if kind == 'table' and rest:
        table = read_table(rest, table_device)
        return TableLatency(table, form, correction_of(table, form))
    if word in MEASURED and device is not None:
        return MeasuredLatency(device, protocol, form, seed, folder)
    raise ValueError(f'--latency is {word!r}; expected {EXPECTED}')


def parse_target(word: str, seed_latency: float) -> float:
    """A target: '0.7x' of the seed's latency, or a number in the latency model's unit.

    Raises:
      ValueError: it is neither, or not above 0.
    """
    text = word.removesuffix('x')
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            f'--target is {word!r}; expected a share of the seed such as 0.7x, or a latency such as 12.5'
        )
    return value * seed_latency if word.endswith('x') else value
