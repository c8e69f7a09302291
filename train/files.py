"""Files that are written whole or not at all."""

import json
import os


def write_file(path: str | os.PathLike, content: bytes) -> None:
    """Writes aside, flushes to the disk and renames, so that no half file bears the final name."""
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
