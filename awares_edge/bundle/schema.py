"""Strict reading of untrusted JSON into frozen dataclasses: all fields present, all types right."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from awares_edge.errors import BundleError

T = TypeVar("T")

_MAX_ITEMS = 100_000


def read_dataclass(cls: type[T], data: object, where: str) -> T:
    """Build `cls` from parsed JSON.

    Raises:
        BundleError: a field is missing, unknown, or of the wrong type; the message names it.
    """
    if not isinstance(data, Mapping):
        raise BundleError(f"{where} must be an object")
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(known)):
        raise BundleError(f"{where} has an unknown field {unknown[0]!r}")
    values = {}
    for name, f in known.items():
        if name in data:
            values[name] = _read(hints[name], data[name], f"{where}.{name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise BundleError(f"{where} lacks the field {name!r}")
    return cls(**values)


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(hint, value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _read(next(a for a in args if a is not type(None)), value, where)
    if origin is Literal:
        if value not in args or type(value) is not type(args[args.index(value)]):
            raise BundleError(f"{where} must be one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        return _read_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, Mapping) or len(value) > _MAX_ITEMS:
            raise BundleError(f"{where} must be an object")
        return {str(k): _read(args[1], v, f"{where}[{k!r}]") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise BundleError(f"{where} must be of type {getattr(hint, '__name__', hint)}")
    return value


def _read_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > _MAX_ITEMS:
        raise BundleError(f"{where} must be a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_read(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(value) != len(args):
        raise BundleError(f"{where} must have {len(args)} items")
    return tuple(
        _read(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True))
    )
