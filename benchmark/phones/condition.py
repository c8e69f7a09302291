"""The state of a phone that moves its latency: battery, screen, heat, frequency limits.

Phones tell different parts of it. What one does not tell is None, 'unknown', and no reason to stop.
"""

import dataclasses
import re
from collections.abc import Callable, Collection
from typing import Any

# One command, since each takes its time on the phone; `parse` reads what it prints. Zones, dumps and
# limits that are not there or may not be read print nothing.
LISTING = (
    'echo "== battery"; dumpsys battery 2>/dev/null;'
    ' echo "== power"; dumpsys power 2>/dev/null | grep -E "mWakefulness=|Display Power: state|'
    'LowPowerMode|mBatterySaverEnabled";'
    ' echo "== heat"; dumpsys thermalservice 2>/dev/null;'
    ' echo "== files"; grep -H . /sys/class/thermal/thermal_zone*/type'
    ' /sys/class/thermal/thermal_zone*/temp'
    ' /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq'
    ' /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq 2>/dev/null; true'
)

MIN_BATTERY_PERCENT = 20  # below, phones save power
# A Pixel limits its big cores from about 40 °C of its skin on; the cores themselves may be hotter,
# but cool down within seconds once nothing runs.
MAX_SKIN_C = 38.0
MAX_CPU_C = 60.0
# The kernel may limit a frequency by a step for other reasons than heat.
MIN_FREQUENCY = 0.95
PATIENCE_S = 300.0  # a phone that is hot after five minutes has another reason than our work
POLL_S = 10.0

_ZONE = re.compile(r'/thermal_zone(\d+)/(type|temp):(.*)$')
_FREQUENCY = re.compile(r'/cpu(\d+)/cpufreq/(cpuinfo|scaling)_max_freq:(\d+)$')
_HAL = re.compile(r'Temperature\{mValue=([-\d.]+), mType=(\d+),')
_HAL_CPU, _HAL_BATTERY, _HAL_SKIN = '0', '2', '3'
_CPU_ZONE = re.compile(r'cpu|soc|tsens|^(big|mid|little)$', re.IGNORECASE)
_SKIN_ZONE = re.compile(r'skin|shell|quiet', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Condition:
    """A phone at one moment; None stands for what it does not tell.

    Attributes:
      battery_percent: charge.
      charging: whether a cable or a pad feeds it.
      power_save: whether its battery saver is on.
      screen_on: whether it shows something.
      skin_c, cpu_c: the hottest sensor near the surface (the battery's where there is none), of the
        cores; degrees Celsius.
      thermal_status: Android's own judgement, 0 (none) to 6 (shuts down).
      frequencies: of each core, the limit now as a share of the frequency it is made for.
    """

    battery_percent: float | None = None
    charging: bool | None = None
    power_save: bool | None = None
    screen_on: bool | None = None
    skin_c: float | None = None
    cpu_c: float | None = None
    thermal_status: int | None = None
    frequencies: dict[int, float] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what is not told is 'unknown'."""
        values = dataclasses.asdict(self)
        shares = {str(core): round(share, 3) for core, share in self.frequencies.items()}
        values['frequencies'] = shares or None
        return {name: 'unknown' if value is None else value for name, value in values.items()}


def parse(listing: str) -> Condition:
    """Reads the output of `LISTING`."""
    parts: dict[str, str] = {}
    for part in listing.split('== ')[1:]:
        name, _, text = part.partition('\n')
        parts.setdefault(name.strip(), text)
    battery, power = parts.get('battery', ''), parts.get('power', '')
    heat, files = parts.get('heat', ''), parts.get('files', '')
    level, scale = _number(r'^\s*level: (\d+)', battery), _number(r'^\s*scale: (\d+)', battery)
    fed = re.findall(r'^\s*\w+ powered: (true|false)', battery, re.MULTILINE)
    awake = re.search(r'mWakefulness=(\w+)', power) or re.search(r'Power: state=(\w+)', power)
    # Android keeps several of these fields; the saver is on when one of them says so.
    saving = re.findall(r'(?:m?LowPowerMode(?:Enabled)?|mBatterySaverEnabled)=(true|false)', power)
    tenths = _number(r'^\s*temperature: (-?\d+)', battery)
    skin_c, cpu_c = _temperatures(heat, files)
    status = _number(r'^Thermal Status: (\d)', heat)
    return Condition(
        battery_percent=None if level is None else 100 * level / (scale or 100),
        charging=('true' in fed) if fed else None,
        power_save=('true' in saving) if saving else None,
        screen_on=awake[1].lower() in ('awake', 'on') if awake else None,
        skin_c=skin_c if skin_c is not None or tenths is None else tenths / 10,
        cpu_c=cpu_c,
        thermal_status=None if status is None else int(status),
        frequencies=_frequencies(files),
    )


def remarks(condition: Condition) -> list[str]:
    """What a reader of the figures should know; nothing of this passes by waiting."""
    found = []
    percent = condition.battery_percent
    if percent is not None and percent < MIN_BATTERY_PERCENT:
        found.append(f'the battery is at {percent:.0f} %; charge it, phones save power then')
    if condition.power_save:
        found.append('battery saver is on; switch it off')
    if condition.screen_on:
        found.append('the screen is on and takes time and heat; switch it off')
    return found


def heat(condition: Condition, cores: Collection[int]) -> str | None:
    """What to wait for until it has passed; None when the phone is cool and unhindered.

    Args:
      condition: now.
      cores: whose frequency counts; empty for all.
    """
    limited = slowed(condition, cores)
    if limited:
        return limited
    if condition.thermal_status:
        return f'Android calls it too warm (thermal status {condition.thermal_status})'
    for name, degrees, limit in (
        ('skin', condition.skin_c, MAX_SKIN_C),
        ('cores', condition.cpu_c, MAX_CPU_C),
    ):
        if degrees is not None and degrees > limit:
            return f'{name} at {degrees:.0f} °C, above {limit:.0f}'
    return None


def slowed(condition: Condition, cores: Collection[int]) -> str | None:
    """How the slowest of the cores is held back, if one is."""
    shares = [share for core, share in condition.frequencies.items() if not cores or core in cores]
    if not shares or min(shares) >= MIN_FREQUENCY:
        return None
    return f'the core is held at {min(shares):.0%} of its frequency'


def wait_until_cool(
    read: Callable[[], Condition],
    cores: Collection[int],
    *,
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> tuple[Condition, str | None]:
    """Reads until the phone is cool and unhindered, for at most `PATIENCE_S`.

    Returns:
      The last reading, and what is still wrong with it.
    """
    waited_s = 0.0
    while True:
        condition = read()
        reason = heat(condition, cores)
        if reason is None or waited_s >= PATIENCE_S:
            return condition, reason
        progress(f'waits for it to cool: {reason}')
        sleep(POLL_S)
        waited_s += POLL_S


def _temperatures(heat_dump: str, files: str) -> tuple[float | None, float | None]:
    """Of the skin and of the cores; Android's own sensors before the kernel's zones."""
    # Before 'Current' stands what was cached, perhaps hours ago.
    current = heat_dump.partition('Current temperatures from HAL')[2]
    sensors: dict[str, list[float]] = {}
    for value, kind in _HAL.findall(current):
        sensors.setdefault(kind, []).append(float(value))
    zones: dict[str, dict[str, str]] = {}
    for line in files.splitlines():
        if match := _ZONE.search(line.strip()):
            zones.setdefault(match[1], {})[match[2]] = match[3]
    skin = sensors.get(_HAL_SKIN) or sensors.get(_HAL_BATTERY) or _zone_degrees(zones, _SKIN_ZONE)
    cpu = sensors.get(_HAL_CPU) or _zone_degrees(zones, _CPU_ZONE)
    return _hottest(skin), _hottest(cpu)


def _zone_degrees(zones: dict[str, dict[str, str]], kind: re.Pattern) -> list[float]:
    degrees = []
    for zone in zones.values():
        if kind.search(zone.get('type', '')) and re.fullmatch(r'-?\d+', zone.get('temp', '')):
            value = float(zone['temp'])
            # Kernels tell thousandths, some tenths, a few whole degrees.
            degrees.append(value / (1000 if abs(value) > 1000 else 10 if abs(value) > 150 else 1))
    return degrees


def _hottest(degrees: list[float]) -> float | None:
    # A sensor that is switched off tells 0, or something no phone survives.
    plausible = [value for value in degrees if 0 < value < 130]
    return max(plausible, default=None)


def _frequencies(files: str) -> dict[int, float]:
    found: dict[str, dict[int, int]] = {'cpuinfo': {}, 'scaling': {}}
    for line in files.splitlines():
        if match := _FREQUENCY.search(line.strip()):
            found[match[2]][int(match[1])] = int(match[3])
    made, now = found['cpuinfo'], found['scaling']
    return {core: now[core] / made[core] for core in sorted(made) if core in now and made[core]}


def _number(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text, re.MULTILINE)
    return float(match[1]) if match else None
