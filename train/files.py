"""Files that are written whole or not at all."""

import errno
import hashlib
import json
import os


def write_file(path: str | os.PathLike, content: bytes) -> None:
    """Writes aside, flushes to the disk and renames, so that no half file bears the final name.

    Raises:
      OSError: the disk is full or not writable, or something that is no file has that name: a rename
        would replace even /dev/null.
    """
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(errno.EEXIST, 'something that is no file has this name', os.fspath(path))
    temporary = f'{os.fspath(path)}.tmp-{os.getpid()}'
    try:
        with open(temporary, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as e:  # a full disk is told without a name
        raise OSError(e.errno, e.strerror, os.fspath(path)) from e
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def write_json(path: str | os.PathLike, values: dict) -> None:
    """Writes plain values as JSON; ValueError for a NaN or an infinity, which JSON has not."""
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    write_file(path, text.encode() + b'\n')


def flush(path: str | os.PathLike) -> None:
    """Has the disk hold what was written to a file, or to a folder's list of names.

    Raises:
      OSError: the disk is full or not writable.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
