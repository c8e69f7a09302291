"""A phone on which the work is broken off, or that two commands want; its shell is played."""

import threading

import pytest

from benchmark.device import DeviceError
from benchmark.phones import phone
from benchmark.phones.testing import FakePhone, limited, removed
from benchmark.stop import Stop


def test_ctrl_c_ends_a_phone_that_is_cooling_and_leaves_it_clean(program, case):
    stop, shell, waits = Stop(), FakePhone(states=[limited(0.5)]), threading.Event()
    found = phone.Phone(shell, str(program), stop=stop, progress=lambda text: waits.set())
    found.prepare([case])
    waits.clear()
    ends = []

    def turn():
        try:
            found.turn(case, threads=1, warmup_runs=1, runs=1)
        except KeyboardInterrupt as end:
            ends.append(end)

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    assert waits.wait(60)
    stop.set()
    thread.join(60)
    assert ends
    found.close()
    assert set(shell.pushed) <= removed(shell)


def test_ctrl_c_ends_the_preparing_between_files(program, case):
    stop, shell = Stop(), FakePhone()
    found = phone.Phone(shell, str(program), stop=stop, progress=lambda text: stop.set())
    with pytest.raises(KeyboardInterrupt):
        found.prepare([case] * 3)
    assert len([words for words in shell.commands if '--num_runs=1' in words]) == 1


def test_what_was_broken_off_while_it_was_brought_is_taken_away(program, case, monkeypatch):
    class Stopped(FakePhone):
        def push(self, file, remote):
            super().push(file, remote)
            raise KeyboardInterrupt

    shell = Stopped()
    found = phone.Phone(shell, str(program))
    with pytest.raises(KeyboardInterrupt):
        found.prepare([case])
    found.close()
    assert shell.pushed
    assert set(shell.pushed) <= removed(shell)


def test_a_phone_is_measured_by_one_command_at_a_time(program, case):
    found = phone.Phone(FakePhone(), str(program))
    with pytest.raises(DeviceError, match='8A5X is being measured by another command'):
        phone.Phone(FakePhone(), str(program))
    found.close()
    phone.Phone(FakePhone(), str(program)).close()


def test_the_settings_are_what_figures_hang_on(program):
    options = {'core': 'mid'}, {'core': 'big'}
    settings = []
    for each in options:
        found = phone.Phone(FakePhone(), str(program), **each)
        settings.append(found.settings())
        found.close()
    assert [each.pop('mask') for each in settings] == ['10', '40']
    assert settings[0] == settings[1]
    program.write_bytes(b'\x7fELF of another build')
    other = phone.Phone(FakePhone(), str(program)).settings()
    assert other['tool'] != settings[0]['tool']
