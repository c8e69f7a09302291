"""Stopping where nothing is lost."""

import signal
import threading


class Stopped(KeyboardInterrupt):
    """A signal has asked for the end, and the same command goes on later."""


class StopSignal:
    """Notes SIGINT and SIGTERM, so that a run saves between two steps; a second SIGINT interrupts.

    Args:
      at_once: there is nothing to save yet: `Stopped` is raised wherever the program is.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.requested = False
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> 'StopSignal':
        if threading.current_thread() is not threading.main_thread():
            return self  # Python delivers signals to the main thread only
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: object) -> None:
        if self.requested:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return  # launchers send it to a process and to its group
        self.requested = True
        if self.at_once:
            raise Stopped
