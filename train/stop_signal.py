"""Stopping between two steps."""

import signal
import threading


class StopSignal:
    """Notes SIGINT and SIGTERM, so that a run saves between two steps; a second one interrupts."""

    def __init__(self) -> None:
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
            raise KeyboardInterrupt
        self.requested = True
