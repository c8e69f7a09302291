"""A phone for tests, whose shell is played by a few answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.phones import condition, phone
from benchmark.phones.adb import DeviceLostError, Output
from benchmark.stop import Stop


def frequencies(*mhz: int) -> str:
    """What the kernel tells of cores of these frequencies."""
    file = '/sys/devices/system/cpu/cpu{}/cpufreq/cpuinfo_max_freq:{}000\n'
    return ''.join(file.format(core, value) for core, value in enumerate(mhz))


PIXEL_1 = frequencies(*[1593] * 2, *[2150] * 2)
PIXEL_6 = frequencies(*[1803] * 4, *[2253] * 2, *[2802] * 2)
SAID = """\
INFO: STARTING!
{parameters}
INFO: count={warmup} first=9 curr=7 min=6 max=9 avg=8 std=1 p5=6 median=7 p95=9
INFO: count={runs} first=6 curr=6 min=5 max=8 avg=6.5 std=1 p5=5 median=6 p95=8
"""
GETPROP = '[ro.product.model]: [Pixel 6 Pro]\r\n[ro.board.platform]: [gs101]\r\n[other]: [x]\r\n'


class FakePhone:
    """Answers the commands of `Phone`.

    Args:
      cores: as `frequencies` tells them.
      states: its conditions, the last one stays.
      has_taskset: whether it can pin.
      serial: its number in adb.
      number, boot: by which it tells itself apart from others; '' where it does not.
    """

    def __init__(
        self,
        cores: str = PIXEL_6,
        states: Sequence[str] = ('',),
        has_taskset: bool = True,
        serial: str = '8A5X',
        number: str = '',
        boot: str = '',
    ) -> None:
        self.serial, self.cores, self.states = serial, cores, list(states)
        self.number, self.boot = number, boot
        self.has_taskset, self.is_gone = has_taskset, False
        self.commands: list[tuple[str, ...]] = []
        self.pushed: dict[str, int] = {}

    def run(self, *words: str, timeout_s: float = 30.0, ends_with_us: bool = False) -> Output:
        """As a phone's shell does."""
        if self.is_gone:
            raise DeviceLostError('8A5X is gone')
        self.commands.append(words)
        return self._answer(words)

    def _answer(self, words: tuple[str, ...]) -> Output:
        if words == ('getprop',):
            return Output(0, GETPROP)
        if words == ('getprop', 'ro.serialno'):
            return Output(0, f'{self.number}\n')
        if words == ('cat', '/proc/sys/kernel/random/boot_id'):
            return Output(0 if self.boot else 1, f'{self.boot or "Permission denied"}\n')
        if words[0] == 'sh' and words[-1] == condition.LISTING:
            return Output(0, self.states.pop(0) if self.states[1:] else self.states[0])
        if words[0] == 'sh' and 'cpu_capacity' in words[-1]:
            return Output(0, self.cores)
        if words[0] == 'sh' and 'taskset' in words[-1]:
            return Output(0 if self.has_taskset else 127, '')
        if words[0] == 'test':
            return Output(0 if words[2] in self.pushed else 1, '')
        if words[0] == 'sha256sum':
            return Output(127, 'sh: sha256sum: not found')
        if words[0] == 'stat':
            return Output(0, f'{self.pushed[words[3]]}\n')
        if words[0] == 'mv':
            self.pushed[words[3]] = self.pushed.pop(words[2])
        if any(word.startswith('--graph=') for word in words):
            return Output(0, said(dict(w[2:].split('=') for w in words if w.startswith('--'))))
        return Output(0, '')

    def push(self, file: Path, remote: str) -> None:
        """Keeps how large the file is."""
        self.pushed[remote] = file.stat().st_size


def said(flags: Mapping[str, str]) -> str:
    """What benchmark_model says, given these flags."""
    echoes = {
        'graph': 'Graph',
        'num_threads': 'Num threads',
        'use_xnnpack': 'Use xnnpack',
        'warmup_runs': 'Min warmup runs',
        'warmup_min_secs': 'Min warmup runs duration (seconds)',
        'num_runs': 'Min num runs',
        'min_secs': 'Min runs duration (seconds)',
    }
    lines = [f'INFO: {echoes[name]}: [{value}]' for name, value in flags.items()]
    return SAID.format(
        parameters='\n'.join(lines), warmup=flags['warmup_runs'], runs=flags['num_runs']
    )


class Opened(phone.Phone):
    """A phone with what it told and how long it waited."""

    def __init__(self, shell: Any, program: str | Path, **options: Any) -> None:
        self.said: list[str] = []
        self.slept_s = 0.0
        stop = Waiting(self)
        super().__init__(shell, str(program), progress=self.said.append, stop=stop, **options)


class Waiting(Stop):
    """Does not wait, but adds up for how long it would."""

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self._opened = opened

    def sleep(self, seconds: float) -> None:
        """Adds up."""
        super().sleep(0)
        self._opened.slept_s += seconds


def limited(share: float) -> str:
    """A condition in which core 6 of a Pixel 6 is held at a share of its frequency."""
    file = '/sys/devices/system/cpu/cpu6/cpufreq'
    lines = f'{file}/cpuinfo_max_freq:1000000\n{file}/scaling_max_freq:{int(share * 1e6)}\n'
    return f'== files\n{lines}'


def removed(shell: FakePhone) -> set[str]:
    """What was taken away, each with what a broken push would leave."""
    return {path for words in shell.commands if words[:2] == ('rm', '-f') for path in words[2:]}
