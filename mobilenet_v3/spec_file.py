"""Networks as JSON: in checkpoints, on cards, and as files that stand for a name."""

import dataclasses
import difflib
import json
import re
import types
import typing

from mobilenet_v3.spec import ModelSpec
from mobilenet_v3.tables import get_spec

LONGEST_NAME = 100  # of a network


def to_dict(spec: ModelSpec) -> dict:
    """A spec as plain JSON values."""
    return dataclasses.asdict(spec)


def from_dict(values: object) -> ModelSpec:
    """The spec that `to_dict` wrote.

    Raises:
      ValueError: a field is missing, unknown, of another type or out of range; the message names it,
        such as `blocks[3].kernel`.
    """
    spec = _read(ModelSpec, values, '')
    # Files are named by it, where '../x' would lie elsewhere, and scopes of TensorFlow.
    if len(spec.name) > LONGEST_NAME or not re.fullmatch('[A-Za-z0-9][A-Za-z0-9_.-]*', spec.name):
        raise ValueError(
            f'name is {spec.name[:LONGEST_NAME]!r}; expected at most {LONGEST_NAME} of A to Z, a to z, '
            '0 to 9, _ . and -, a letter or digit first'
        )
    return spec


def load_model_spec(name_or_file: str) -> ModelSpec:
    """A network by its name in `SPECS` or from a spec file (`*.json`).

    Raises:
      ValueError: the name is unknown, or the file is missing or not a valid spec.
    """
    if not name_or_file.endswith('.json'):
        return get_spec(name_or_file)
    try:
        with open(name_or_file, encoding='utf-8') as file:
            values = json.load(file)
    except FileNotFoundError:
        raise ValueError(f'there is no spec file {name_or_file}') from None
    except (ValueError, RecursionError) as e:  # also of thousands of digits or brackets
        raise ValueError(f'{name_or_file} is not JSON: {e}') from None
    try:
        return from_dict(values)
    except ValueError as e:
        raise ValueError(f'{name_or_file} is not a valid spec: {e}') from None


def _read(kind: object, value: object, path: str) -> typing.Any:
    """Reads `value` as the type `kind`; `path` is where it stands."""
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), value, path)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # X | None
        return None if value is None else _read(args[0], value, path)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f'{path} is {value!r}; expected a list')
        return tuple(_read(args[0], v, f'{path}[{i}]') for i, v in enumerate(value))
    if origin is typing.Literal:
        return value  # the dataclass checks its choices
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # not isinstance: True is an int
        expected = getattr(kind, '__name__', kind)
        raise ValueError(f'{path} is {value!r}; expected {expected}')
    return value


def _read_dataclass(kind: type, value: object, path: str) -> typing.Any:
    if not isinstance(value, dict):
        raise ValueError(f'{path or "the spec"} is {value!r}; expected an object of fields')
    hints = typing.get_type_hints(kind)
    prefix = f'{path}.' if path else ''
    for name in value:
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            hint = f'; did you mean {near[0]!r}?' if near else ''
            raise ValueError(f'{prefix}{name} is no field of {kind.__name__}{hint}')
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING
        if required and field.name not in value:
            raise ValueError(f'{prefix}{field.name} is missing')
    fields = {name: _read(hints[name], v, f'{prefix}{name}') for name, v in value.items()}
    try:
        return kind(**fields)
    except ValueError as e:
        raise ValueError(f'{prefix}{e}') from None
