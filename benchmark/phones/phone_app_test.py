"""The benchmark app on a phone whose shell and log are played."""

import re

import pytest

from benchmark.device import DeviceError
from benchmark.phones.adb import Output
from benchmark.phones.testing import FakePhone, Opened, said


class AppPhone(FakePhone):
    """A phone with the benchmark app, whose log is given."""

    def __init__(self, log, started='Status: ok', pid_code=0):
        super().__init__()
        self._log, self._started, self._pid_code = log, started, pid_code

    def _answer(self, words):
        if words[0] == 'pm':
            return Output(0, 'package:org.tensorflow.lite.tools.benchmark\r\n')
        if words[0] == 'am':
            return Output(0, self._started)
        if words[0] == 'pidof':
            return Output(self._pid_code, '')
        if words[0] == 'logcat':
            (mark,) = [words[3] for words in self.commands if words[0] == 'log']
            return Output(0, f'I/tflite  ( 1): earlier\nI/tflite  (12): {mark}\n{self._log}')
        return super()._answer(words)


@pytest.mark.parametrize(
    ('shell', 'message'),
    [
        (
            AppPhone('', 'Error type 3\nError: Activity class'),
            r'Activity does not start: .Error ty',
        ),
        (AppPhone('E/tflite  ( 42): Could not open it\n'), 'app failed: .ERROR: Could not open it'),
        (AppPhone('I/tflite  ( 42): STARTING!\n', pid_code=1), 'app died; it said .INFO: STARTING'),
        (AppPhone('I/tflite  ( 42): STARTING!\n'), r'no end within 660 s; is the phone unlocked\?'),
    ],
)
def test_an_app_that_fails_is_told(case, shell, message):
    found = Opened(shell, 'apk')
    with pytest.raises(DeviceError, match=message):
        found.prepare([case])


def test_the_results_that_the_app_says_again_as_an_error_are_none(case):
    lines = said({'num_runs': '1', 'warmup_runs': '1'}).replace('INFO: ', 'I/tflite  ( 42): ')
    end = 'E/tflite  ( 42): Average inference timings in us: Warmup: 8, Init: 9, Inference: 6.5\n'
    shell = AppPhone(re.sub(r'^\n', '', lines) + end)
    with pytest.raises(DeviceError, match=r'--graph=.* and does not echo it'):
        Opened(shell, 'apk').prepare([case])
