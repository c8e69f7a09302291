import json
import subprocess

import pytest

from benchmark.phones import condition
from benchmark.phones.condition import Condition

BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  status: 2
  health: 2
  present: true
  level: 81
  scale: 100
  voltage: 4199
  temperature: 274
  technology: Li-ion
"""
POWER = """\
  mWakefulness=Asleep
    mLowPowerModeEnabled=false
Display Power: state=OFF
"""
# Android 10 and later; its cached part is of another time.
HEAT = """\
IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
 Temperature{mValue=84.2, mType=0, mName=CPU, mStatus=0}
 Temperature{mValue=48.5, mType=3, mName=SKIN, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
 Temperature{mValue=36.2, mType=0, mName=cpu0-silver-usr, mStatus=0}
 Temperature{mValue=41.5, mType=0, mName=cpu4-gold-usr, mStatus=0}
 Temperature{mValue=31.4, mType=3, mName=skin, mStatus=0}
 Temperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}
Current cooling devices from HAL:
Temperature static thresholds from HAL:
"""
CPU = '/sys/devices/system/cpu/cpu'
ZONE = '/sys/class/thermal/thermal_zone'
ZONES = f"""\
{ZONE}0/type:battery
{ZONE}1/type:tsens_tz_sensor4
{ZONE}2/type:quiet_therm
{ZONE}3/type:cpu0-silver-usr
{ZONE}0/temp:27000
{ZONE}1/temp:402
{ZONE}2/temp:29
{ZONE}3/temp:-40000
"""


def frequencies(now, made=2803200):
    return ''.join(
        f'{CPU}{core}/cpufreq/cpuinfo_max_freq:{made}\n{CPU}{core}/cpufreq/scaling_max_freq:{khz}\n'
        for core, khz in enumerate(now)
    )


def listing(battery='', power='', heat='', files=''):
    return f'== battery\n{battery}== power\n{power}== heat\n{heat}== files\n{files}'


def test_a_newer_phone_is_read():
    found = condition.parse(listing(BATTERY, POWER, HEAT, ZONES + frequencies([2803200, 1401600])))
    assert found == Condition(
        battery_percent=81,
        charging=True,
        power_save=False,
        screen_on=False,
        skin_c=31.4,
        cpu_c=41.5,
        thermal_status=0,
        frequencies={0: 1.0, 1: 0.5},
    )


def test_an_older_phone_tells_temperatures_by_zones_of_several_units():
    found = condition.parse(listing(BATTERY, files=ZONES))
    assert (found.skin_c, found.cpu_c) == (29.0, 40.2)


def test_where_nothing_is_near_the_skin_the_battery_stands_for_it():
    assert condition.parse(listing(BATTERY)).skin_c == 27.4


def test_what_a_phone_does_not_tell_is_unknown_and_no_reason_to_stop():
    for text in ('', listing(), listing("Can't find service: battery\n"), 'sh: dumpsys: not found'):
        found = condition.parse(text)
        assert found == Condition()
        assert condition.remarks(found) == []
        assert condition.heat(found, {4}) is None
    assert set(found.to_json().values()) == {'unknown'}


def test_a_condition_is_plain_json():
    found = condition.parse(listing(BATTERY, POWER, HEAT, frequencies([2803200])))
    values = json.loads(json.dumps(found.to_json()))
    assert values['battery_percent'] == 81
    assert values['frequencies'] == {'0': 1.0}


@pytest.mark.parametrize(
    ('power', 'screen_on', 'power_save'),
    [
        ('mWakefulness=Awake\nmLowPowerModeEnabled=true\n', True, True),
        ('mWakefulness=Dozing\nmBatterySaverEnabled=false\n', False, False),
        ('Display Power: state=ON\n', True, None),
        ('Display Power: state=OFF\n', False, None),
    ],
)
def test_the_screen_and_the_battery_saver(power, screen_on, power_save):
    found = condition.parse(listing(power=power))
    assert (found.screen_on, found.power_save) == (screen_on, power_save)


@pytest.mark.parametrize(
    ('state', 'remark'),
    [
        ({'battery_percent': 12.0}, 'the battery is at 12 %; charge it'),
        ({'power_save': True}, 'battery saver is on'),
        ({'screen_on': True}, 'the screen is on'),
    ],
)
def test_remarks(state, remark):
    (found,) = condition.remarks(Condition(**state))
    assert found.startswith(remark)


def test_a_phone_in_order_has_no_remarks():
    found = condition.parse(listing(BATTERY, POWER, HEAT, frequencies([2803200])))
    assert condition.remarks(found) == []
    assert condition.heat(found, {0}) is None


@pytest.mark.parametrize(
    ('state', 'reason'),
    [
        ({'skin_c': 41.0}, 'skin at 41 °C, above 38'),
        ({'cpu_c': 75.0}, 'cores at 75 °C, above 60'),
        ({'thermal_status': 2}, 'too warm (thermal status 2)'),
        ({'frequencies': {0: 1.0, 4: 0.7}}, 'held at 70% of its frequency'),
    ],
)
def test_heat(state, reason):
    assert reason in condition.heat(Condition(**state), {4})


def test_only_the_cores_in_use_count():
    limited = Condition(frequencies={0: 0.5, 4: 1.0})
    assert condition.heat(limited, {4}) is None
    assert condition.slowed(limited, {0, 4}) == 'the core is held at 50% of its frequency'
    assert condition.slowed(limited, ()) == 'the core is held at 50% of its frequency'


class Cooling:
    """A phone that loses a degree a reading."""

    def __init__(self, skin_c):
        self.skin_c, self.said, self.slept_s = skin_c + 1, [], 0.0

    def read(self):
        self.skin_c -= 1
        return Condition(skin_c=self.skin_c)

    def sleep(self, seconds):
        self.slept_s += seconds

    def wait(self):
        return condition.wait_until_cool(self.read, (), progress=self.said.append, sleep=self.sleep)


def test_a_warm_phone_is_waited_for():
    phone = Cooling(40.0)
    found, reason = phone.wait()
    assert (found.skin_c, reason) == (38.0, None)
    assert phone.said == [
        'waits for it to cool: skin at 40 °C, above 38',
        'waits for it to cool: skin at 39 °C, above 38',
    ]
    assert phone.slept_s == 2 * condition.POLL_S


def test_a_cool_phone_is_not_waited_for():
    phone = Cooling(30.0)
    assert phone.wait()[1] is None
    assert phone.slept_s == 0


def test_the_wait_is_bounded():
    phone = Cooling(129.0)
    _, reason = phone.wait()
    assert reason is not None
    assert phone.slept_s == condition.PATIENCE_S


def test_the_listing_is_one_command_of_a_plain_shell():
    done = subprocess.run(
        ['sh', '-c', condition.LISTING], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith('== battery\n')
    condition.parse(done.stdout)
