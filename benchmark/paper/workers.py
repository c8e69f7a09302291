"""Work that is spread over processes of their own, each of which may fail alone."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Item = TypeVar('Item')
PATIENCE_S = 10  # that a process has to clean up behind itself


def run_apart(
    function: Callable[[Item], object],
    items: Sequence[Item],
    *,
    processes: int,
    environment: Mapping[str, str],
) -> Iterator[tuple[Item, str | None]]:
    """Calls a function on every item, several at once, in the order of the items.

    Of the standard library's pools, one waits for ever for a process that was killed for want of
    memory, the other then gives up all that is left.

    Args:
      function: of the top level of a module, which the processes import.
      items: whatever can be pickled.
      processes: how many at once, at least 1.
      environment: variables that the processes have beside this one's.

    Yields:
      Each item when it is done, with None or what went wrong. The end of the generator, by an
      exception too, ends the processes at once; if this process is killed, they end after the item
      at hand.
    """
    left = list(reversed(items))
    idle: list[_Worker] = []
    busy: dict[Any, tuple[_Worker, Item]] = {}
    try:
        while left or busy:
            while left and len(busy) < processes:
                worker = idle.pop() if idle else _start(function, environment)
                busy[worker.connection] = worker, left.pop()
                worker.give(busy[worker.connection][1])
            for connection in wait(list(busy)):
                worker, item = busy.pop(connection)
                try:
                    problem = worker.connection.recv()
                    idle.append(worker)
                except (EOFError, OSError):
                    problem = worker.death()
                yield item, problem
    finally:
        _end([*idle, *(worker for worker, _ in busy.values())])


@dataclasses.dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    connection: Connection

    def give(self, item: object) -> None:
        """Sends an item; that a process has died is seen when it is to answer."""
        with contextlib.suppress(OSError):
            self.connection.send(item)

    def death(self) -> str:
        """Why a process that no longer answers has ended."""
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f'its process ended with exit code {code}'
        name = signal.Signals(-code).name
        hint = '; with fewer processes each has more memory' if name == 'SIGKILL' else ''
        return f'its process was killed ({name}){hint}'


def _start(function: Callable[[Item], object], environment: Mapping[str, str]) -> _Worker:
    context = multiprocessing.get_context('spawn')  # a fork would take TensorFlow's locks along
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    saved = dict(os.environ)
    # Ctrl-C reaches every process of a terminal: only this one answers it, and ends the others.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        os.environ.update(environment)  # before the process imports anything
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(saved)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()  # or the end of the process would not be seen
    return _Worker(process, ours)


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(PATIENCE_S)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()


def _serve(connection: Connection, function: Callable[[Any], object]) -> None:
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.suppress(EOFError, OSError):  # the process that asked is gone
        while True:
            connection.send(_attempt(function, connection.recv()))


def _leave(*unused: object) -> None:
    sys.exit()  # so that half a file and what libraries share between processes are cleaned up


def _attempt(function: Callable[[Item], object], item: Item) -> str | None:
    """None, or what a person is told; a bug shows its traceback here, where it happened."""
    try:
        function(item)
    except (ValueError, OSError, MemoryError) as e:
        return ' '.join(str(e).split()) or type(e).__name__
    except Exception as e:
        traceback.print_exc()
        return f'{type(e).__name__}: {" ".join(str(e).split())}'
    return None
