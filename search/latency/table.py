"""Latencies from a table of parts (benchmark/blocks/latency_table.py): no TensorFlow, no device."""

from collections.abc import Iterable, Sequence

from benchmark.blocks.latency_table import LatencyTable
from benchmark.blocks.parts import Part, overhead
from mobilenet_v3.spec import ModelSpec
from search.latency.correction import Correction
from search.latency.fits import Fits
from search.latency.form import FileForm

# Parts in an error, each a long word: by name, and in a command that measures all of them.
_NAMED, _MEASURED = 4, 16


class TableLatency:
    """Milliseconds of a network as the sum of its parts, corrected where a correction was fitted.

    A part that was not measured follows from those of its kind on both sides of each of its widths,
    where there are enough of them (search/latency/fits.py).

    Args:
      table: of one device.
      form: of the networks' files.
      correction: for the table's device and the form's scheme.
    """

    unit = 'ms'

    def __init__(
        self, table: LatencyTable, form: FileForm, correction: Correction | None = None
    ) -> None:
        self.table, self.form, self.correction = table, form, correction
        overhead_part = overhead(form.scheme)
        self._fits = Fits(
            (part, table.net_ms(part))
            for part in table.rows
            if part.scheme == form.scheme and part != overhead_part
        )

    def predict(self, spec: ModelSpec) -> float:
        """What a network takes in milliseconds.

        Raises:
          ValueError: the table has no row for some parts, nor enough of their kinds; the message
            names them, and the command that measures them.
        """
        parts = self.form.parts(spec)
        sum_ms = self.sum_ms(parts)
        return sum_ms if self.correction is None else self.correction.apply(sum_ms, parts)

    def sum_ms(self, parts: Sequence[Part]) -> float:
        """What the parts of a network take, and one invocation; see `predict`."""
        overhead_ms = self.table.latency_ms(overhead(self.form.scheme))
        net_ms = [self._net_ms(part) for part in parts]
        missing = [part for part, ms in zip(parts, net_ms, strict=True) if ms is None]
        if missing:
            raise ValueError(self._told(list(dict.fromkeys(missing))))
        return overhead_ms + sum(ms for ms in net_ms if ms is not None)

    def require(self, parts: Iterable[Part], flags: str) -> None:
        """Sees that all parts of a search can be told, before one of its networks is trained.

        Args:
          parts: of networks that it may try.
          flags: that make latency_grid measure them, such as '--space '.

        Raises:
          ValueError: some cannot; the message names them, and the command that measures all.
        """
        missing = self.missing(parts)
        if missing:
            raise ValueError(self._told(missing, flags))

    def missing(self, parts: Iterable[Part]) -> list[Part]:
        """Those that the table cannot tell, each once."""
        return [part for part in dict.fromkeys(parts) if self._net_ms(part) is None]

    def _net_ms(self, part: Part) -> float | None:
        row = self.table.rows.get(part)
        return self._fits.net_ms(part) if row is None else self.table.net_ms(part)

    def _told(self, parts: list[Part], flags: str = '') -> str:
        others = f' (and {len(parts) - _NAMED} more)' if len(parts) > _NAMED else ''
        named = '; '.join(map(str, parts[:_NAMED]))
        folder = self.table.path.parent
        command = (
            f'python -m search.latency_grid {flags}--seed_model=NETWORK '
            f'--resolution={self.form.resolution} --num_classes={self.form.num_classes} '
            f'--scheme={self.form.scheme}{self.table.flags} --output={folder}'
        )
        if len(parts) <= _MEASURED and not flags:
            command = (
                f'{self.table.measuring_command(parts)} or, with many widths of a '
                f'network at once: {command}'
            )
        return (
            f'{self.table.path} has no row for {named}{others} on {self.table.device}, nor enough '
            f'of such parts with other widths; measure them: {command}'
        )
