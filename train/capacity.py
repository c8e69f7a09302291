"""What a recipe takes of devices, memory, steps a second and hours: arithmetic on measurements."""

import dataclasses
import difflib
import re
from collections.abc import Sequence

GB = 1e9
HOST = 'host'


@dataclasses.dataclass(frozen=True)
class Device:
    """A kind of device, by its makers' figures.

    Attributes:
      memory_gb: 10⁹ bytes of one device.
      bandwidth_gb_s: between the device and that memory, 10⁹ bytes a second.
    """

    name: str
    memory_gb: float
    bandwidth_gb_s: float


# fmt: off
DEVICES = {
    device.name: device
    for device in (
        #       name        GB     GB/s
        Device('t4',        16,    320),
        Device('v100',      32,    900),
        Device('a100',      40,   1555),
        Device('tpu_v2',     8,    300),  # a core, of which a chip has two
        Device('tpu_v4',    32,   1200),  # a chip, whose two cores work as one device
    )
}
# fmt: on


@dataclasses.dataclass(frozen=True)
class Fleet:
    """So many devices of one kind.

    Attributes:
      name: as it was asked for.
      device: its kind; None is this machine.
      memory_gb: of each.
      images_per_second: of one device alone, where somebody measured it.
    """

    name: str
    count: int
    device: Device | None
    memory_gb: float
    images_per_second: float | None = None

    @property
    def is_host(self) -> bool:
        """Whether these are machines as this one."""
        return self.device is None and self.images_per_second is None


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a training step takes, as `step_probe` measures it.

    Attributes:
      state_bytes: of every variable: weights, BN statistics, their averages, the optimiser's slots.
      gradient_bytes: of one gradient for each trainable weight.
      activation_bytes: of one image, at the moment when most memory is held.
      program_bytes: of the process on this machine beside all that: Python, TensorFlow, graphs.
      images_per_second: of this machine.
      bandwidth_gb_s: of this machine's memory, by a copy.
    """

    state_bytes: int
    gradient_bytes: int
    activation_bytes: float
    program_bytes: float
    images_per_second: float
    bandwidth_gb_s: float

    def memory_bytes(self, images: int, *, half: bool = False) -> float:
        """Of a device that takes so many images at once; `half`: activations in 16 bits."""
        activations = self.activation_bytes * images * (0.5 if half else 1.0)
        return self.state_bytes + self.gradient_bytes + activations

    def process_bytes(self, images: int) -> float:
        """Of a process on this machine, the same and the program itself."""
        return self.program_bytes + self.memory_bytes(images)


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What is not measured here.

    Attributes:
      efficiency: share of the ratio of memory bandwidths by which another device is faster.
      link_gb_s: between devices, each way, 10⁹ bytes a second.
    """

    efficiency: float
    link_gb_s: float


@dataclasses.dataclass(frozen=True)
class Row:
    """What one fleet makes of the recipe.

    Attributes:
      parts: config.train.parts with which a device's share of the batch fits; 0 where not even one
        image does.
      memory_gb: that a device needs for its share in these parts.
    """

    devices: str
    images_each: int
    parts: int
    memory_gb: float
    device_memory_gb: float
    steps_per_second: float
    images_per_second: float
    hours: float


def parse_fleets(names: Sequence[str], host_memory_gb: float) -> list[Fleet]:
    """Fleets of their names: host, 4xv100, 8x24gb@1800 (8 devices of 24 GB and 1,800 images/s each).

    Args:
      names: at least one.
      host_memory_gb: of this machine.

    Raises:
      ValueError: a name is neither.
    """
    if not names:
        raise ValueError('--devices is empty; expected some such as host,4xv100')
    return [_fleet(name.strip().lower(), host_memory_gb) for name in names]


def _fleet(name: str, host_memory_gb: float) -> Fleet:
    count, kind = re.fullmatch(r'(?:(\d{1,6})x)?(.*)', name, re.DOTALL).groups()  # type: ignore[union-attr]
    number = int(count or 1)
    if number < 1:
        raise ValueError(f'--devices={name}; expected at least 1 of them')
    if kind == HOST:
        return Fleet(name, number, None, host_memory_gb)
    if kind in DEVICES:
        return Fleet(name, number, DEVICES[kind], DEVICES[kind].memory_gb)
    measured = re.fullmatch(r'(\d+(?:\.\d+)?)gb@(\d+(?:\.\d+)?)', kind)
    if measured and float(measured[1]) > 0 and float(measured[2]) > 0:
        return Fleet(name, number, None, float(measured[1]), float(measured[2]))
    near = difflib.get_close_matches(kind, [HOST, *DEVICES], n=1)
    hint = f'did you mean {near[0]}? ' if near else ''
    raise ValueError(
        f'unknown device {kind!r} in --devices; {hint}Expected [COUNTx]KIND with KIND one of {HOST}, '
        f'{", ".join(DEVICES)}, or MEMORYgb@IMAGES_PER_SECOND, as in 4x24gb@1800'
    )


def plan(
    fleet: Fleet,
    needs: Needs,
    assumptions: Assumptions,
    *,
    batch_size: int,
    images: float,
    half: bool = False,
    least: int = 1,
) -> Row:
    """The row of one fleet.

    Args:
      fleet: the devices.
      needs: of a step.
      assumptions: beside it.
      batch_size: global.
      images: of the whole recipe, all epochs.
      half: activations in 16 bits.
      least: images of a part of a device's share; mixup blends two.

    Raises:
      ValueError: the batch cannot be divided among the devices.
    """
    if batch_size % fleet.count:
        raise ValueError(
            f'{fleet.name}: config.train.batch_size is {batch_size}; expected a multiple of the '
            f'{fleet.count} devices'
        )
    share = batch_size // fleet.count
    program = needs.program_bytes if fleet.is_host else 0.0

    def memory_gb(parts: int) -> float:
        sums = needs.gradient_bytes if parts > 1 else 0  # of the parts so far
        return (program + sums + needs.memory_bytes(share // parts, half=half)) / GB

    # Parts of equal size, as config.train.parts asks for.
    divisors = (parts for parts in range(1, share // least + 1) if share % parts == 0)
    fitting = next((parts for parts in divisors if memory_gb(parts) <= fleet.memory_gb), 0)
    rate = _rate(fleet, needs, assumptions)
    # A ring sends and receives nearly twice the gradient; nothing is hidden behind the step.
    exchanged = 2 * (fleet.count - 1) / fleet.count * needs.gradient_bytes
    seconds = share / rate + exchanged / (assumptions.link_gb_s * GB)
    return Row(
        devices=fleet.name,
        images_each=share,
        parts=fitting,
        memory_gb=memory_gb(fitting or share),
        device_memory_gb=fleet.memory_gb,
        steps_per_second=1 / seconds,
        images_per_second=batch_size / seconds,
        hours=images / batch_size * seconds / 3600,
    )


def _rate(fleet: Fleet, needs: Needs, assumptions: Assumptions) -> float:
    """Images a second of one device."""
    if fleet.images_per_second is not None:
        return fleet.images_per_second
    if fleet.device is None:
        return needs.images_per_second
    # Depthwise convolutions, BN and gates move more than they compute: memory sets the pace.
    faster = fleet.device.bandwidth_gb_s / needs.bandwidth_gb_s
    return needs.images_per_second * faster * assumptions.efficiency
