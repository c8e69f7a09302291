"""Ctrl-C, as the threads that measure learn of it."""

import threading


class Stop:
    """Ends the work of threads: Python tells Ctrl-C to the main thread only."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Asks every thread to leave its device as it was found, and to end."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether that was asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Raises KeyboardInterrupt once that was asked."""
        self.sleep(0.0)

    def sleep(self, seconds: float) -> None:
        """Waits.

        Raises:
          KeyboardInterrupt: it was asked, now or before; no handler of other errors takes it.
        """
        if self._event.wait(seconds):
            raise KeyboardInterrupt
