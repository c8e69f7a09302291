"""One measurement a phone: two would slow each other, and the first to end takes away what both need."""

import fcntl
import os
import re
import tempfile
from pathlib import Path

from benchmark.device import DeviceError


class PhoneLock:
    """Keeps a phone from other commands on this computer until it is released, or the process ends."""

    def __init__(self, identity: str, serial: str) -> None:
        """Takes the lock.

        Args:
          identity: of the phone, whatever its connection.
          serial: what messages call it.

        Raises:
          DeviceError: another command has it.
        """
        name = re.sub(r'[^A-Za-z0-9]', '_', identity)
        path = Path(tempfile.gettempdir(), f'mobilenet_v3_phone_{name}.lock')
        self._file: int | None = _open(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise DeviceError(
                f'{serial} is being measured by another command, expected one at a time; wait for '
                'its end'
            ) from None

    def release(self) -> None:
        """Lets others have it; the file stays, so that all who come lock the same one."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: Path) -> int:
    # Read-only and made only where it is missing: another user's file may be locked, not written.
    # The folder is everybody's, so no link is followed.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags | os.O_CREAT, 0o644)
