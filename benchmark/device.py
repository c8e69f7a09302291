"""What measures: this host, a phone, a browser."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmark.latency import Turn


@dataclasses.dataclass(frozen=True)
class Case:
    """A file as it is measured.

    Attributes:
      name: what tables call it; no two cases of one measurement share it.
      file: the .tflite file.
      sha256, size_bytes: of the file.
      xnnpack: whether the runtime's default delegate takes the ops it knows.
    """

    name: str
    file: Path
    sha256: str
    size_bytes: int
    xnnpack: bool = True


class DeviceError(ValueError):
    """The device could not measure; what was measured before stays."""


class Device(Protocol):
    """One machine that runs .tflite files, one at a time."""

    @property
    def name(self) -> str:
        """A short name of its own, fit for a file's name: 'host', 'pixel_3_8A5X0H3P2'."""

    @property
    def warnings(self) -> list[str]:
        """What a reader should know of how it went: 'battery at 12 %', 'ran hot'."""

    def facts(self) -> dict[str, Any]:
        """What a reader needs to judge its figures, in plain JSON values."""

    def settings(self) -> dict[str, Any]:
        """How it measures: what must be the same when a measurement is continued, plain JSON."""

    def prepare(self, cases: Sequence[Case]) -> None:
        """Brings the files to the device and sees that each one runs.

        Raises:
          DeviceError: one does not; the message names it.
        """

    def turn(self, case: Case, *, threads: int, warmup_runs: int, runs: int) -> Turn:
        """Runs a file afresh: untimed runs, then exactly `runs` timed ones.

        Raises:
          DeviceError: the device is gone, or the file did not run.
        """

    def close(self) -> None:
        """Leaves the device as it was found; once that is done, another call does nothing."""
