"""Files on a phone, named by their content, so that none is brought there twice."""

import uuid
from pathlib import Path

from benchmark.device import DeviceError
from benchmark.phones.adb import DeviceLostError, Shell

FOLDER = '/data/local/tmp/mobilenet_v3'  # the only place where adb may write and run programs
_HASH_S = 300.0  # an old phone reads 10 MB a second


class PhoneFiles:
    """The files that one measurement needs on one phone."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._paths: set[str] = set()  # to be taken away
        self._there: set[str] = set()

    def put(self, file: Path, sha256: str, suffix: str = '', *, executable: bool = False) -> str:
        """Brings a file to the phone, unless it is there.

        It is written aside, compared and renamed, so that no half file bears the final name.

        Args:
          file: here.
          sha256: of it.
          suffix: of the name there: '.tflite'.
          executable: whether it is a program.

        Returns:
          Its path on the phone.

        Raises:
          DeviceError: the phone does not take it, or holds something else than was sent.
          DeviceLostError: the phone is gone.
        """
        path = f'{FOLDER}/{sha256}{suffix}'
        if path in self._there:
            return path
        self._paths.add(path)
        if not self._holds(path, file, sha256):
            self._send(file, sha256, path, '755' if executable else '644')
        self._there.add(path)
        return path

    def new_path(self, suffix: str) -> str:
        """A path for a file that a program on the phone writes."""
        path = f'{FOLDER}/{uuid.uuid4().hex}{suffix}'
        self._paths.add(path)
        return path

    def read(self, path: str) -> str:
        """The text of a file there.

        Raises:
          DeviceError: there is none.
        """
        done = self._shell.run('cat', path)
        if done.code:
            raise DeviceError(f'{path} cannot be read on the phone: {done.text.strip()}')
        return done.text

    def remove(self) -> None:
        """Removes them, and the folder where nothing else is in it."""
        if self._paths:
            parts = [_part(path) for path in self._paths]
            self._shell.run('rm', '-f', *sorted([*self._paths, *parts]))
        self._shell.run('sh', '-c', f'rmdir {FOLDER} 2>/dev/null; true')
        self._paths.clear()
        self._there.clear()

    def _send(self, file: Path, sha256: str, path: str, mode: str) -> None:
        self._run('mkdir', '-p', FOLDER)
        part = _part(path)
        try:
            self._shell.push(file, part)
            if not self._holds(part, file, sha256):
                raise DeviceError(
                    f'{file.name} came to the phone as something else, expected SHA-256 {sha256}; '
                    'did it change while it was measured, or is the phone full?'
                )
            self._run('chmod', mode, part)
            self._run('mv', '-f', part, path)
        except DeviceLostError:
            raise  # the next push writes over the part
        except DeviceError:
            self._shell.run('rm', '-f', part)
            raise

    def _holds(self, path: str, file: Path, sha256: str) -> bool:
        """Whether a file there is the one here: by hash, by size where the phone cannot hash."""
        if self._shell.run('test', '-f', path).code:
            return False
        hashed = self._shell.run('sha256sum', path, timeout_s=_HASH_S)
        if not hashed.code:
            return hashed.text.split()[:1] == [sha256]
        return self._shell.run('stat', '-c', '%s', path).text.split() == [str(file.stat().st_size)]

    def _run(self, *words: str) -> None:
        done = self._shell.run(*words)
        if done.code:
            raise DeviceError(f'{words[0]} failed on the phone: {done.text.strip()}')


def _part(path: str) -> str:
    return f'{path}.part'
