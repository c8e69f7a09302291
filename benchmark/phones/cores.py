"""The cores of a phone: clusters of equal ones, and the mask that pins a process to some of them.

Paper: §6.1.2 measures on one large core. Which core that is differs from phone to phone (the mask
is 4 on Pixel 1, 10 on Pixel 3, 40 on Pixel 6), so it is derived from what the kernel tells.
"""

import collections
import dataclasses
import re
from collections.abc import Sequence

NAMES = ('little', 'mid', 'big')
# What `LISTING` prints is read by `parse_clusters`. Globs that match nothing and files that cannot
# be read print nothing.
LISTING = (
    'grep -H . /sys/devices/system/cpu/cpu[0-9]*/cpu_capacity'
    ' /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq 2>/dev/null; true'
)

_LINE = re.compile(r'/cpu(\d+)/(?:cpufreq/)?(cpu_capacity|cpuinfo_max_freq):(\d+)$')


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Equal cores.

    Attributes:
      cores: their numbers, ascending.
      max_khz: the frequency they are made for.
      capacity: their speed beside the fastest core's 1024; None where the kernel does not tell.
    """

    cores: tuple[int, ...]
    max_khz: int
    capacity: int | None

    def __str__(self) -> str:
        cores = (
            f'cores {self.cores[0]}–{self.cores[-1]}' if self.cores[1:] else f'core {self.cores[0]}'
        )
        return f'{cores} of {self.max_khz / 1e6:.2f} GHz'


@dataclasses.dataclass(frozen=True)
class Pin:
    """Cores to run on.

    Attributes:
      cores: their numbers, ascending; empty where the scheduler chooses.
    """

    cores: tuple[int, ...]

    @property
    def mask(self) -> str:
        """As taskset takes it: hexadecimal, without 0x; empty where the scheduler chooses."""
        return f'{sum(1 << core for core in self.cores):x}' if self.cores else ''


def parse_clusters(listing: str) -> list[Cluster]:
    """Reads the output of `LISTING`; the slowest cluster first, none where the kernel tells nothing.

    Where every core has a capacity, it tells the clusters apart together with the frequency: cores
    of two kinds may share one.
    """
    found: dict[str, dict[int, int]] = {'cpu_capacity': {}, 'cpuinfo_max_freq': {}}
    for line in listing.splitlines():
        if match := _LINE.search(line.strip()):
            found[match[2]][int(match[1])] = int(match[3])
    khz, capacity = found['cpuinfo_max_freq'], found['cpu_capacity']
    told = khz.keys() <= capacity.keys()
    groups = collections.defaultdict(list)
    for core in sorted(khz):
        groups[capacity[core] if told else None, khz[core]].append(core)
    clusters = [Cluster(tuple(cores), max_khz, speed) for (speed, max_khz), cores in groups.items()]
    return sorted(clusters, key=lambda cluster: (cluster.capacity or 0, cluster.max_khz))


def choose(clusters: Sequence[Cluster], core: str, threads: int) -> Pin:
    """The cores to run on: one, or as many as there are threads.

    Args:
      clusters: of the phone, the slowest first; empty where they are not known.
      core: 'big', 'mid', 'little', or a hexadecimal mask.
      threads: of the runtime.

    Returns:
      The first cores of the cluster; none where clusters are not known and no mask is given.

    Raises:
      ValueError: the phone has no such cluster or core, or fewer of them than threads.
    """
    check_name(core)
    if core not in NAMES:
        return _by_mask(clusters, core, threads)
    if not clusters:
        return Pin(())
    cluster = _by_name(clusters, core)
    if threads > len(cluster.cores):
        raise ValueError(
            f'--core={core} has {_count(cluster.cores)} for {threads} threads; this phone has '
            f'{_describe(clusters)}; use fewer threads or give --core a mask'
        )
    return Pin(cluster.cores[:threads])


def check_name(core: str) -> None:
    """Sees that a value of --core can be meant, before there is a phone.

    Raises:
      ValueError: it is neither a cluster's name nor a mask.
    """
    if core not in NAMES and (not re.fullmatch('[0-9a-f]{1,16}', core) or not int(core, 16)):
        raise ValueError(
            f'--core is {core!r}, expected big, mid, little or a hexadecimal mask such as c0'
        )


def _by_mask(clusters: Sequence[Cluster], core: str, threads: int) -> Pin:
    mask = int(core, 16)
    pin = Pin(tuple(number for number in range(mask.bit_length()) if mask >> number & 1))
    present = {number for cluster in clusters for number in cluster.cores}
    if clusters and not present.issuperset(pin.cores):
        missing = min(set(pin.cores) - present)
        raise ValueError(
            f'--core={core} names core {missing}, this phone has {_describe(clusters)}; '
            'clear its bit'
        )
    if threads > len(pin.cores):
        raise ValueError(
            f'--core={core} has {_count(pin.cores)} for {threads} threads; set more bits or use '
            'fewer threads'
        )
    return pin


def _by_name(clusters: Sequence[Cluster], name: str) -> Cluster:
    # With one cluster it is the big one; with four, as in some Snapdragons, mid is the faster
    # of the two between.
    places = {'big': 1, 'little': 2, 'mid': 3}
    if len(clusters) < places[name]:
        raise ValueError(
            f'--core={name}, but this phone has only {_describe(clusters)}; choose another'
        )
    return {'big': clusters[-1], 'little': clusters[0], 'mid': clusters[-2:][0]}[name]


def _describe(clusters: Sequence[Cluster]) -> str:
    return ' and '.join(map(str, clusters))


def _count(cores: Sequence[int]) -> str:
    return f'{len(cores)} core{"s" * (len(cores) != 1)}'
