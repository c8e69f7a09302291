"""What was measured so far, on disk turn by turn, so that nothing measured is ever lost.

A file of JSON lines. The first says what is measured and how. Each session, as a command and those
that continue it, begins with a line of facts; then every line holds one turn, or what the session has
to warn of so far.
"""

import collections
import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from benchmark.latency import Turn


@dataclasses.dataclass
class _Session:
    facts: dict[str, Any]
    warnings: list[str] = dataclasses.field(default_factory=list)
    rounds: set[int] = dataclasses.field(default_factory=set)  # of its turns


class Journal:
    """The turns of one measurement, by (round, name of the case); a context manager.

    Nobody else writes the file meanwhile. One without turns is removed at the end.
    """

    def __init__(self, path: str | os.PathLike, header: dict[str, Any]) -> None:
        """Opens the journal of a measurement, or begins it.

        Args:
          path: of the file; its folder is there.
          header: what is measured and how, in plain JSON values; the same when it is continued.

        Raises:
          ValueError: the file is the journal of another measurement, or none; or another process
            writes it.
          OSError: it cannot be opened.
        """
        self.path = Path(path)
        self.turns: dict[tuple[int, str], Turn] = {}
        self._sessions: list[_Session] = []
        self._is_begun = False
        try:
            self._file = open_alone(self.path)
        except BlockingIOError:
            raise ValueError(
                f'another measurement is writing {path}; wait for its end, or choose another '
                '--output'
            ) from None
        try:
            header = json.loads(json.dumps(header))  # tuples as the lists that come back
            self._size = self._read(header)
            self._file.truncate(self._size)
            if not self._size:
                self._write(header)
        except BaseException:
            if not os.fstat(self._file.fileno()).st_size:
                self.path.unlink(missing_ok=True)
            self._file.close()
            raise

    def __enter__(self) -> 'Journal':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._count_turns():
            self.remove()
        self._file.close()

    @property
    def facts(self) -> dict[str, Any]:
        """Of the first session; `continued` lists what each later one told differently."""
        if not self._sessions:
            return {}
        first, *later = [session.facts for session in self._sessions]
        changes = [
            {name: value for name, value in facts.items() if first.get(name) != value}
            for facts in later
        ]
        return {**first, 'continued': changes} if changes else first

    @property
    def warnings(self) -> list[str]:
        """Of all sessions, each once; and which rounds were cut, as ratios are formed inside rounds."""
        told = list(dict.fromkeys(text for each in self._sessions for text in each.warnings))
        sessions_of = collections.Counter(n for each in self._sessions for n in each.rounds)
        if cut := sorted(n + 1 for n, sessions in sessions_of.items() if sessions > 1):
            told.append(
                f'interrupted in round {", ".join(map(str, cut))}: its times are of different '
                'sessions'
            )
        return told

    @property
    def kept(self) -> str:
        """Where its turns are, for whoever is told that the measurement broke off; '' without any."""
        turns = self._count_turns()
        return f'{turns} turns are kept in {self.path}, the same command goes on' if turns else ''

    def begin(self, facts: dict[str, Any]) -> None:
        """Keeps the facts of a session, the turns of which follow."""
        self._sessions.append(_Session(facts))
        self._is_begun = True
        self._write({'facts': facts})

    def add(self, round_index: int, name: str, turn: Turn) -> None:
        """Keeps a turn; it is on the disk when this returns.

        Raises:
          ValueError: the disk is full, or fails; all that was kept before stays.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
        self._write(
            {'round': round_index, 'name': name, 'time': now, 'turn': dataclasses.asdict(turn)}
        )
        self.turns[round_index, name] = turn
        self._sessions[-1].rounds.add(round_index)

    def warn(self, warnings: list[str]) -> None:
        """Keeps all that this session has to warn of so far; nothing before it has begun."""
        if self._is_begun and warnings != self._sessions[-1].warnings:
            self._sessions[-1].warnings = list(warnings)
            self._write({'warnings': warnings})

    def remove(self) -> None:
        """Removes the file: the measurement is complete and written elsewhere."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _write(self, values: dict[str, Any]) -> None:
        line = json.dumps(values).encode() + b'\n'
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)  # no half line before the next one
            raise ValueError(
                f'{self.path} cannot be written ({error.strerror}); what is in it stays, make room '
                'and give the same command again'
            ) from error
        self._size += len(line)

    def _read(self, header: dict[str, Any]) -> int:
        """Takes up the lines of the file; returns how many bytes of it are whole lines."""
        content = self.path.read_bytes()
        lines = _whole_lines(content)
        if not lines:
            return 0
        try:
            found, *entries = [json.loads(line) for line in lines]
            turns = {(e['round'], e['name']): Turn(**e['turn']) for e in entries if 'turn' in e}
            sessions = _sessions(entries)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(
                f'{self.path} is no journal of a measurement ({error!r}); remove it, or choose '
                'another --output'
            ) from None
        if not turns:
            return 0  # nothing would be lost
        if found != header:
            raise ValueError(
                f'{self.path} holds {len(turns)} turns of another measurement, which differs in '
                f'{_difference(found, header)}; give its command again to finish it, remove the '
                'file, or choose another --output'
            )
        self.turns, self._sessions = turns, sessions
        return sum(map(len, lines))

    def _count_turns(self) -> int:
        """Of the file, as Ctrl-C may come when a turn is written and not yet among `turns`."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        return sum('turn' in json.loads(line) for line in _whole_lines(content))


def interrupted(*journals: Journal) -> ValueError:
    """What to raise for Ctrl-C: it tells where the turns are."""
    return ValueError('; '.join(['interrupted', *(each.kept for each in journals if each.kept)]))


def open_alone(path: Path, *, wait: bool = False) -> BinaryIO:
    """Opens a file to append to, kept from others who open it so until it is closed or removed.

    Args:
      path: of the file; its folder is there.
      wait: until others have closed it.

    Raises:
      BlockingIOError: another one has it, and nobody waits.
      OSError: it cannot be opened.
    """
    while True:
        file: BinaryIO = path.open('ab', buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it before may have removed it after we opened it.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def _whole_lines(content: bytes) -> list[bytes]:
    """Without the half line that a kill while writing leaves."""
    return content[: content.rfind(b'\n') + 1].splitlines(keepends=True)


def _sessions(entries: list[Any]) -> list[_Session]:
    sessions: list[_Session] = []
    for entry in entries:
        if 'facts' in entry:
            sessions.append(_Session(dict(entry['facts'])))
        elif 'turn' in entry:
            sessions[-1].rounds.add(entry['round'])
        else:
            sessions[-1].warnings = [str(text) for text in entry['warnings']]
    return sessions


def _difference(found: Any, wanted: Any, name: str = '') -> str:
    """Names what differs: 'settings.mask ("1" there, "2" here)'; of lists not how."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        differences = [
            _difference(found.get(key), wanted.get(key), f'{name}.{key}' if name else key)
            for key in dict.fromkeys([*wanted, *found])
            if found.get(key) != wanted.get(key)
        ]
        return ', '.join(differences)
    if not name or isinstance(found, dict | list) or isinstance(wanted, dict | list):
        return name or 'everything'
    return f'{name} ({json.dumps(found)} there, {json.dumps(wanted)} here)'
