"""A browser as a device: jobs for its page, answers from it.

Nobody can call a page; it asks. It says hello once, then posts the answer to its last job and gets
the next, which whoever measures puts up with `turn`. What was answered is kept at once, so a page
that is reloaded says hello again and is given the job that is still open. A page of an earlier
server is told that nobody knows it, and reloads itself.
"""

import dataclasses
import re
import secrets
import threading
from collections.abc import Sequence
from typing import Any

from benchmark.browser.posted import Posted, PostError
from benchmark.device import Case, DeviceError
from benchmark.latency import Turn, turn_of

_PATIENCE_S = 20.0  # a question that waits longer is answered with 'wait': phones drop idle ones
_LONGEST_MS = 3_600_000.0
_MOST_RUNS_AS_ONE = 2**20
_MOST_THREADS = 4096
_REASON_LENGTH = 500

# Browsers name each other in their user agents, so the first that fits is the one.
_BROWSERS = (
    ('edge', r'Edg(?:A|iOS)?/(\d+)'),
    ('samsung', r'SamsungBrowser/(\d+)'),
    ('firefox', r'(?:Firefox|FxiOS)/(\d+)'),
    ('chrome', r'(?:Chrome|CriOS)/(\d+)'),
    ('safari', r'Version/(\d+)\S* (?:Mobile/\S+ )?Safari/'),
)
_SYSTEMS = (
    ('android', 'Android'),
    ('ios', 'iPhone|iPad'),
    ('macos', 'Macintosh'),
    ('windows', 'Windows'),
    ('linux', 'Linux'),
)


class TakenError(ValueError):
    """The measurement belongs to another page."""


class UnknownPageError(ValueError):
    """No page has said hello yet: this one is left over from before."""


class BrowserDevice:
    """One browser (`benchmark.device.Device`): the first whose page says hello.

    Args:
      runtime: what runs the files there, with its version.
    """

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self._changed = threading.Condition()
        self._browser_id = self._token = ''
        self._facts: dict[str, Any] = {}
        self._job: dict[str, Any] | None = None
        self._number = 0
        self._answer: Posted | None = None
        self._failure = ''
        self._progress = (0, 0)
        self._told = threading.Event()
        self._repeated = 0

    # What measures

    @property
    def name(self) -> str:
        """'browser_chrome_156_android_9f2c41d0': the end tells two alike apart."""
        return f'{_short_name(self._facts["user_agent"])}_{self._browser_id[:8]}'

    @property
    def warnings(self) -> list[str]:
        """How many turns were repeated."""
        if not self._repeated:
            return []
        return [f'{self._repeated} turns were repeated: the page was hidden meanwhile']

    def facts(self) -> dict[str, Any]:
        """What the page told of its browser, and the runtime."""
        return {**self._facts, 'runtime': self._runtime}

    def settings(self) -> dict[str, Any]:
        """The runtime, and whether the page is isolated, without which it has one thread."""
        isolated = self._facts['cross_origin_isolated']
        return {'runtime': self._runtime, 'cross_origin_isolated': isolated}

    def wait_for_page(self) -> None:
        """Returns when a page has said hello."""
        with self._changed:
            self._changed.wait_for(lambda: self._token)

    def refusals(self, cases: Sequence[Case], *, threads: int) -> dict[str, str]:
        """Has the page load and run each file once: why it could not, by the case's name."""
        found = {}
        for case in cases:
            answer = self._ask({'kind': 'check', 'threads': threads, **_file_of(case)})
            if answer.flag('refused'):
                found[case.name] = answer.text('reason', _REASON_LENGTH)
        return found

    def prepare(self, cases: Sequence[Case]) -> None:
        """Nothing: `refusals` had the page run each file, and the page fetches what it runs."""

    def turn(self, case: Case, *, threads: int, warmup_runs: int, runs: int) -> Turn:
        """Has the page load a file afresh and time it.

        Where the browser's clock is coarse a sample is the mean of several runs; `runs` of the turn
        counts them all.
        """
        job = {'kind': 'turn', 'threads': threads, 'warmup_runs': warmup_runs, 'runs': runs}
        answer = self._ask({**job, **_file_of(case)})
        if answer.flag('refused'):
            raise DeviceError(f'{case.name}: {answer.text("reason", _REASON_LENGTH)}')
        self._repeated += answer.whole('repeated', 0, 10**6)
        as_one = answer.whole('runs_as_one', 1, _MOST_RUNS_AS_ONE)
        turn = turn_of(answer.numbers('samples_ms', runs, _LONGEST_MS))
        return dataclasses.replace(turn, runs=turn.runs * as_one)

    def show_progress(self, done: int, turns: int) -> None:
        """Keeps how far the measurement is, for the page."""
        self._progress = (done, turns)

    def end(self, **values: Any) -> None:
        """Gives the page its last job, which carries `values`, and waits a while until it has it."""
        with self._changed:
            self._put({'kind': 'end', **values})
        if self._token:
            self._told.wait(_PATIENCE_S / 4)

    def close(self) -> None:
        """Nothing was left in the browser but its number."""

    def fail(self, reason: str) -> None:
        """Says why the page cannot answer any more; who waits for it gets that as a DeviceError."""
        with self._changed:
            self._failure = reason
            self._changed.notify_all()

    # What the page asks

    def hello(self, posted: Posted) -> dict[str, Any]:
        """Makes a page the one that measures; another page of the same browser loses that.

        Raises:
          PostError: a value is missing or not what it should be.
          TakenError: another browser measures.
        """
        browser_id = posted.text('id', 32)
        if not re.fullmatch('[0-9a-f]{32}', browser_id):
            raise PostError(f'id is {browser_id!r}, expected 32 hex digits; reload the page')
        facts = {
            'user_agent': posted.text('user_agent', 1000),
            'model': posted.text('model', 100),
            'hardware_concurrency': posted.whole('hardware_concurrency', 1, _MOST_THREADS),
            'cross_origin_isolated': posted.flag('cross_origin_isolated'),
            'screen_width': posted.whole('screen_width', 0, 10**5),
            'screen_height': posted.whole('screen_height', 0, 10**5),
            'pixel_ratio': posted.number('pixel_ratio', 100.0),
            'clock_step_ms': posted.number('clock_step_ms', 1000.0),
            'wake_lock': posted.flag('wake_lock'),
        }
        posted.nothing_else()
        with self._changed:
            if self._browser_id not in ('', browser_id):
                raise TakenError(
                    f'{self.name} measures, expected no other browser; close this page, or stop '
                    'the server and start it again for this one'
                )
            self._browser_id, self._facts = browser_id, facts
            self._token = secrets.token_hex(16)
            self._changed.notify_all()
            return {'token': self._token, 'name': self.name}

    def next(self, posted: Posted) -> dict[str, Any]:
        """Takes the answer to the page's last job, if it has one, and gives the next job.

        Raises:
          PostError: the answer is not what the job asked for.
          TakenError: another page of this browser has taken over.
          UnknownPageError: the page said hello to a server that has ended.
        """
        token = posted.text('token', 64)
        number = posted.whole('number', 0, 10**9)
        with self._changed:
            if not self._token:
                raise UnknownPageError('this page is of an earlier server; reload it')
            if token != self._token:
                raise TakenError('another page of this browser measures now; close one of them')
            if number and self._job and number == self._job['number']:
                _check_answer(self._job, posted)
                self._answer, self._job = posted, None
                self._changed.notify_all()
            # An older number: its answer came, but ours got lost, and the page asked again.
            elif number > self._number:
                raise PostError(f'number is {number}, expected up to {self._number}; reload')
            self._changed.wait_for(lambda: self._job or token != self._token, _PATIENCE_S)
            done, turns = self._progress
            return {**(self._job or {'kind': 'wait', 'number': 0}), 'done': done, 'turns': turns}

    def was_told(self, job: dict[str, Any]) -> None:
        """Says that a job has reached the page."""
        if job['kind'] == 'end':
            self._told.set()

    def _ask(self, job: dict[str, Any]) -> Posted:
        """Puts a job up and waits for its answer.

        Raises:
          DeviceError: there will be none.
        """
        with self._changed:
            self._put(job)
            while self._answer is None:
                if self._failure:
                    raise DeviceError(self._failure)
                self._changed.wait()
            answer, self._answer = self._answer, None
            return answer

    def _put(self, job: dict[str, Any]) -> None:
        self._number += 1
        self._job = {**job, 'number': self._number}
        self._changed.notify_all()


def _check_answer(job: dict[str, Any], posted: Posted) -> None:
    """Raises PostError unless the answer holds what `job` asks for, and nothing else."""
    if posted.text('sha256', 64) != job['sha256']:
        raise PostError(f'sha256 is not that of {job["name"]}, which was asked for; reload')
    threads = posted.whole('threads', 1, _MOST_THREADS)
    if threads != job['threads']:  # a page of an earlier server, whose Start was pressed now
        raise PostError(f'threads is {threads}, expected {job["threads"]} here; reload the page')
    if posted.flag('refused'):
        posted.text('reason', _REASON_LENGTH)
    elif job['kind'] == 'turn':
        posted.numbers('samples_ms', job['runs'], _LONGEST_MS)
        posted.whole('runs_as_one', 1, _MOST_RUNS_AS_ONE)
        posted.whole('repeated', 0, 10**6)
    posted.nothing_else()


def _file_of(case: Case) -> dict[str, Any]:
    return {'name': case.name, 'sha256': case.sha256}


def _short_name(user_agent: str) -> str:
    """'browser_firefox_140_android' of a user agent; less where it does not tell."""
    words = ['browser']
    for browser, pattern in _BROWSERS:
        if found := re.search(pattern, user_agent):
            words += [browser, found[1]]
            break
    words += [system for system, pattern in _SYSTEMS if re.search(pattern, user_agent)][:1]
    return '_'.join(words)
