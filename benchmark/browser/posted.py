"""What a page posted: JSON from a network, believed only value by value."""

import json
import reprlib
from typing import Any


class PostError(ValueError):
    """A page posted what it should not."""


class Posted:
    """A JSON object whose fields are read by kind; each reader names what it wanted instead.

    Args:
      body: what came.

    Raises:
      PostError: it is no JSON object.
    """

    def __init__(self, body: bytes) -> None:
        try:
            values = json.loads(body.decode('utf-8'), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise PostError(f'the body is not JSON ({str(error)[:100]}); reload') from None
        if not isinstance(values, dict):
            raise PostError('the body is JSON, but expected an object; reload')
        self._values: dict[str, Any] = values
        self._read: set[str] = set()

    def text(self, name: str, longest: int) -> str:
        """A text of up to `longest` characters, all printable."""
        value = self._get(name)
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            raise _wrong(name, value, f'a line of text of up to {longest} characters')
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise _wrong(name, value, 'true or false')
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self._get(name)
        if type(value) is not int or not low <= value <= high:
            raise _wrong(name, value, f'a whole number from {low} to {high}')
        return value

    def number(self, name: str, high: float) -> float:
        """A number above 0, up to `high`."""
        value = self._get(name)
        if not _is_number(value, high):
            raise _wrong(name, value, f'a number above 0, up to {high:g}')
        return float(value)

    def numbers(self, name: str, count: int, high: float) -> list[float]:
        """Exactly `count` numbers above 0, up to `high`."""
        values = self._get(name)
        if not isinstance(values, list) or len(values) != count:
            length = f'{len(values)} values' if isinstance(values, list) else reprlib.repr(values)
            raise PostError(f'{name} is {length}, expected {count} numbers; reload')
        for value in values:
            if not _is_number(value, high):
                raise _wrong(f'a value of {name}', value, f'a number above 0, up to {high:g}')
        return [float(value) for value in values]

    def nothing_else(self) -> None:
        """Raises PostError for a field that nobody asked for."""
        if rest := sorted(self._values.keys() - self._read):
            raise PostError(f'{reprlib.repr(rest[0])} is no field of this message; reload')

    def _get(self, name: str) -> Any:
        self._read.add(name)
        if name not in self._values:
            raise PostError(f'{name} is missing; reload the page')
        return self._values[name]


def _is_number(value: Any, high: float) -> bool:
    return type(value) in (int, float) and 0 < value <= high


def _wrong(name: str, value: Any, expected: str) -> PostError:
    return PostError(f'{name} is {reprlib.repr(value)}, expected {expected}; reload the page')


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is no JSON')
