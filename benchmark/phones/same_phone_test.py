"""A phone over USB and Wi-Fi at once; its shell is played by a few answers."""

import pytest

from benchmark.device import DeviceError
from benchmark.phones import adb, phone
from benchmark.phones.testing import FakePhone

USB, WIFI, TLS = '8A5X', '192.168.1.7:5555', 'adb-8A5X-Xy1z._adb-tls-connect._tcp'


@pytest.fixture
def find(program, monkeypatch):
    """Finds phones among those that are connected; closes them at the end."""
    opened, said = [], []

    def find_among(connected, serials=('all',)):
        monkeypatch.setattr(adb, 'find', lambda *_, **__: list(connected))
        opened.extend(phone.find(serials, str(program), progress=said.append))
        return [each.facts()['serial'] for each in opened], said

    yield find_among
    for each in opened:
        each.close()


def connection(serial, number='8A5X', boot='b1'):
    return FakePhone(serial=serial, number=number, boot=boot)


@pytest.mark.parametrize('wireless', [WIFI, TLS])
@pytest.mark.parametrize('is_first', [True, False])
def test_a_phone_that_is_connected_twice_is_measured_once_over_its_cable(find, wireless, is_first):
    both = [connection(wireless), connection(USB)]
    serials, said = find(both if is_first else both[::-1])
    assert serials == [USB]
    assert said == [f'warning: left out: {wireless} is {USB}, connected twice']


def test_the_connection_that_is_named_is_taken(find):
    serials, said = find([connection(USB), connection(WIFI)], ['all', WIFI])
    assert serials == [WIFI]
    assert said == [f'warning: left out: {USB} is {WIFI}, connected twice']


def test_one_phone_named_twice_is_refused(find):
    with pytest.raises(
        DeviceError,
        match=f'^--serial names {USB} and {WIFI}, which is one phone connected twice, expected it '
        f'once; give --serial={USB}$',
    ):
        find([connection(USB), connection(WIFI)], [USB, WIFI])


@pytest.mark.parametrize(
    'others',
    [
        {'boot': 'b2'},  # emulators
        {'number': '8A5Y'},  # of one kernel
        {'number': ''},
        {'boot': ''},
    ],
)
def test_other_phones_are_not_taken_for_the_same(find, others):
    connected = [connection('one'), connection('two', **others)]
    assert find(connected) == (['one', 'two'], [])


@pytest.mark.parametrize('untold', [{'number': ''}, {'boot': ''}])
def test_phones_that_tell_too_little_are_known_by_their_connections(find, untold):
    connected = [connection('one', **untold), connection('two', **untold)]
    assert find(connected) == (['one', 'two'], [])


def test_another_command_does_not_measure_over_the_other_connection(find):
    find([connection(USB)])
    with pytest.raises(DeviceError, match=f'^{WIFI} is being measured by another command'):
        find([connection(WIFI)])
