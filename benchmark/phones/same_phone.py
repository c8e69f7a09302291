"""Which connections lead to one phone: over USB and Wi-Fi at once it has two serial numbers in adb."""

from collections.abc import Callable, Sequence

from benchmark.device import DeviceError
from benchmark.phones.adb import Shell

_BOOT_ID = '/proc/sys/kernel/random/boot_id'


def identity(shell: Shell) -> str:
    """What is the same over every connection to a phone, until it restarts, and of no other phone.

    The serial number of the phone itself and the id of its boot: emulators share the former, devices
    in containers the latter. adb's serial number where the phone does not tell both.

    Raises:
      DeviceLostError: the phone is gone.
    """
    told = [shell.run('getprop', 'ro.serialno'), shell.run('cat', _BOOT_ID)]
    words = [output.text.strip() for output in told if output.code == 0]
    return ' '.join(words) if len(words) == len(told) and all(words) else shell.serial


def distinct(
    shells: Sequence[Shell], named: Sequence[str], warn: Callable[[str], None]
) -> list[Shell]:
    """One connection to each phone: the one that is named, else a cable before Wi-Fi.

    Args:
      shells: as `adb.find` gives them.
      named: serial numbers that the user gave.
      warn: told of each connection that is left out.

    Raises:
      DeviceError: two that are named lead to one phone.
      DeviceLostError: a phone is gone.
    """
    connections: dict[str, list[Shell]] = {}
    for shell in shells:
        connections.setdefault(identity(shell), []).append(shell)
    chosen = []
    for same in connections.values():
        wanted = [shell for shell in same if shell.serial in named]
        if len(wanted) > 1:
            serials = ' and '.join(shell.serial for shell in wanted)
            raise DeviceError(
                f'--serial names {serials}, which is one phone connected twice, expected it once; '
                f'give --serial={wanted[0].serial}'
            )
        kept = wanted[0] if wanted else min(same, key=_is_wireless)
        for other in same:
            if other is not kept:
                warn(f'left out: {other.serial} is {kept.serial}, connected twice')
        chosen.append(kept)
    return chosen


def _is_wireless(shell: Shell) -> bool:
    """Of 192.168.1.7:5555 and adb-8A5X-Xy1z._adb-tls-connect._tcp."""
    return ':' in shell.serial or shell.serial.endswith('_tcp')
