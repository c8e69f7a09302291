"""What was measured so far, on disk turn by turn, so that nothing measured is ever lost.

A file of JSON lines: the first says what is measured and how, every further one holds one turn.
"""

import dataclasses
import datetime
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmark.latency import Turn


class Journal:
    """The turns of one measurement, by (round, name of the case); a context manager."""

    def __init__(self, path: str | os.PathLike, header: dict[str, Any]) -> None:
        """Opens the journal of a measurement, or begins it.

        Args:
          path: of the file; its folder is there.
          header: what is measured and how, in plain JSON values; the same when it is continued.

        Raises:
          ValueError: the file is the journal of another measurement, or none.
        """
        self.path = Path(path)
        self.turns: dict[tuple[int, str], Turn] = {}
        header = json.loads(json.dumps(header))  # tuples as the lists that come back
        whole = self._read(header) if self.path.exists() else 0
        self._file = self.path.open('ab')
        self._file.truncate(whole)
        if not whole:
            self._write(header)

    def __enter__(self) -> 'Journal':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, round_index: int, name: str, turn: Turn) -> None:
        """Keeps a turn; it is on the disk when this returns."""
        self.turns[round_index, name] = turn
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
        self._write(
            {'round': round_index, 'name': name, 'time': now, 'turn': dataclasses.asdict(turn)}
        )

    def remove(self) -> None:
        """Removes the file: the measurement is complete and written elsewhere."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, values: dict[str, Any]) -> None:
        self._file.write(json.dumps(values).encode() + b'\n')
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, header: dict[str, Any]) -> int:
        """Takes up the turns of the file; returns how many bytes of it are whole lines."""
        content = self.path.read_bytes()
        # A kill while writing leaves half a line, which is cut off.
        whole = content[: content.rfind(b'\n') + 1]
        lines = whole.splitlines()
        if not lines:
            return 0
        try:
            found, *entries = [json.loads(line) for line in lines]
            turns = {(e['round'], e['name']): Turn(**e['turn']) for e in entries}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f'{self.path} is no journal of a measurement ({error!r}); remove it, or choose '
                'another --output'
            ) from None
        if found != header and not turns:
            return 0  # nothing would be lost
        if found != header:
            raise ValueError(
                f'{self.path} holds {len(turns)} turns of another measurement, which differs in '
                f'{_difference(found, header)}; give its command again to finish it, remove the '
                'file, or choose another --output'
            )
        self.turns = turns
        return len(whole)


def _difference(found: Any, wanted: dict[str, Any]) -> str:
    if not isinstance(found, dict):
        return 'everything'
    names = [name for name in wanted if found.get(name) != wanted[name]]
    return ', '.join(names) or 'its fields'
