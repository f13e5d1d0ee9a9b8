"""Strict reading of untrusted data (JSON, TOML) into frozen dataclasses.

Every field must be present, of its type, and within its limit; nothing else may be there. Limits
are data: a mapping from the path of a field to a `Whole`, `Real`, `Text` or `Items`.

    "model.layers": Whole(1, 1024)        a number
    "tokens.eos": Items(1, 64)            how many items a list or object has
    "tokens.eos[]": Whole(0, 1 << 20)     each item of it
    "files.keys": Text(1, 255)            each key of an object
"""

from __future__ import annotations

import json
import math
import re
import types
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from awares_edge.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"a whole number between {self.low} and {self.high}"

    def admits(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True, slots=True)
class Real:
    """A finite number from `low` to `high`, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"a number between {self.low:g} and {self.high:g}"

    def admits(self, value: Any) -> bool:
        return math.isfinite(value) and bool(self.low <= value <= self.high)


@dataclass(frozen=True, slots=True)
class Text:
    """Valid Unicode of `least` to `most` characters; `pattern` must match all of it."""

    least: int
    most: int
    pattern: re.Pattern[str] | None = None
    meaning: str = ""

    def __str__(self) -> str:
        return self.meaning or f"valid text of {self.least} to {self.most} characters"

    def admits(self, value: Any) -> bool:
        fits = self.least <= len(value) <= self.most and not _SURROGATE.search(value)
        return fits and (self.pattern is None or self.pattern.fullmatch(value) is not None)


@dataclass(frozen=True, slots=True)
class Items:
    """A list or object of `least` to `most` items."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"of {self.least} to {self.most} items"

    def admits(self, value: Any) -> bool:
        return bool(self.least <= value <= self.most)


Limit: TypeAlias = Whole | Real | Text | Items
Limits: TypeAlias = Mapping[str, Limit]

# Limits of fields for which none are given.
_ANY_WHOLE = Whole(-(1 << 53), 1 << 53)
_ANY_REAL = Real(-1e30, 1e30)
_ANY_TEXT = Text(0, 4096)
_ANY_ITEMS = Items(0, 4096)
_ANY: dict[type, Limit] = {int: _ANY_WHOLE, float: _ANY_REAL, str: _ANY_TEXT}
# Half of a UTF-16 pair, which JSON can spell but UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: str, where: str) -> dict[str, Any]:
    """Parse an untrusted JSON object.

    Raises:
        InputError: not a JSON object; a key twice in one object; NaN or infinity; nested too deep.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = counts.most_common(1)[0][0]
            raise InputError(f"{where} has the key {shown(twice)} twice in one object")
        return found

    def refuse(constant: str) -> None:
        raise InputError(f"{where} holds {constant}, which is not a JSON number")

    try:
        body = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except InputError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where} is not valid JSON") from error
    if not isinstance(body, dict):
        raise InputError(f"{where} must hold a JSON object")
    return body


def read_dataclass(
    cls: type[T], data: object, where: str, limits: Limits | None = None, path: str = ""
) -> T:
    """Build `cls` from parsed JSON or TOML.

    Args:
        where: what messages call the object.
        limits: what each field admits; a field that has none must still be of sane size.
        path: of the object itself, as `limits` spells it.

    Raises:
        InputError: a field is missing, unknown, of the wrong type or out of range; the message
            names it.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be an object")
    hints = _hints(cls)  # type: ignore[arg-type]
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(known)):
        raise InputError(f"{where} has an unknown field {shown(unknown[0])}")
    values = {}
    for name, f in known.items():
        if name in data:
            inner = f"{path}.{name}" if path else name
            values[name] = _read(hints[name], data[name], f"{where}.{name}", limits or {}, inner)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise InputError(f"{where} lacks the field {name!r}")
    return cls(**values)


def shown(text: str, most: int = 60) -> str:
    """Untrusted text for a message: quoted, escaped, cut to `most` characters."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}..."


def _read(hint: Any, value: Any, where: str, limits: Limits, path: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(hint, value, where, limits, path)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        inner = next(a for a in args if a is not type(None))
        return _read(inner, value, where, limits, path)
    if origin is Literal:
        if value not in args or type(value) is not type(args[args.index(value)]):
            raise InputError(f"{where} must be one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        return _read_tuple(args, value, where, limits, path)
    if origin is dict:
        return _read_dict(args[1], value, where, limits, path)
    return _read_scalar(hint, value, where, limits.get(path))


def _read_scalar(hint: Any, value: Any, where: str, limit: Limit | None) -> Any:
    if hint is float and type(value) is int and _ANY_WHOLE.admits(value):
        value = float(value)
    if type(value) is not hint:
        raise InputError(f"{where} must be of type {getattr(hint, '__name__', hint)}")
    if hint is bool:
        return value
    limit = limit or _ANY[hint]
    if not limit.admits(value):
        raise InputError(f"{where} must be {limit}")
    return value


def _read_tuple(args: Any, value: Any, where: str, limits: Limits, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} must be a list")
    if len(args) == 2 and args[1] is Ellipsis:
        _check_items(len(value), where, limits, path)
        args = [args[0]] * len(value)
    elif len(value) != len(args):
        raise InputError(f"{where} must have {len(args)} items")
    return tuple(
        _read(hint, item, f"{where}[{i}]", limits, f"{path}[]")
        for i, (hint, item) in enumerate(zip(args, value, strict=True))
    )


def _read_dict(hint: Any, value: Any, where: str, limits: Limits, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be an object")
    _check_items(len(value), where, limits, path)
    limit = limits.get(f"{path}.keys", _ANY_TEXT)
    for key in value:
        if not isinstance(limit, Text) or not limit.admits(key):
            raise InputError(f"{where} has the key {shown(key)}, which must be {limit}")
    return {
        k: _read(hint, v, f"{where}[{shown(k)}]", limits, f"{path}[]") for k, v in value.items()
    }


def _check_items(count: int, where: str, limits: Limits, path: str) -> None:
    limit = limits.get(path, _ANY_ITEMS)
    if not isinstance(limit, Items) or not limit.admits(count):
        raise InputError(f"{where} must be {limit}, it has {count}")


@lru_cache(maxsize=64)
def _hints(cls: Hashable) -> dict[str, Any]:
    # Cached: resolving annotations takes longer than everything else.
    return get_type_hints(cls)
