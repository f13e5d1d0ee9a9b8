"""Untrusted JSON of a checkpoint folder: bounded in size, checked by type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awares_edge.errors import CheckpointError, InputError
from awares_edge.schema import parse_json

MAX_JSON_BYTES = 64 << 20


class JsonObject:
    """A JSON object whose fields are read by type.

    Args:
        data: the object.
        where: its name in error messages, for example "config.json".
    """

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.data = data
        self.where = where

    @classmethod
    def read(cls, path: Path, *, required: bool = True) -> JsonObject:
        """Read a JSON object from a file; an absent one is empty if it is not `required`.

        Raises:
            CheckpointError: no such file, too large, or not a JSON object.
        """
        if not path.is_file():
            if required:
                raise CheckpointError(
                    f"{path.parent} has no {path.name}: give a Hugging Face checkpoint folder"
                )
            return cls({}, path.name)
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path} is over {MAX_JSON_BYTES >> 20} MiB: not a configuration")
        try:
            data = parse_json(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path} is not valid JSON: it is not UTF-8") from error
        except InputError as error:
            raise CheckpointError(f"{error}: download the checkpoint again") from error
        return cls(data, path.name)

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def child(self, key: str) -> JsonObject:
        """The object at `key`; empty where there is none."""
        value = self.data.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return JsonObject(value, f"{self.where}: {key}")

    def integer(
        self, key: str, default: int | None = None, *, low: int = 1, high: int = 1 << 24
    ) -> int:
        """A whole number within [low, high]."""
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive finite number."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise self._wrong(key, "a positive number")
        return float(value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        value = self._get(key, default)
        if type(value) is not bool:
            raise self._wrong(key, "true or false")
        return value

    def string(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if type(value) is not str:
            raise self._wrong(key, "a string")
        return value

    def integers(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """A list of whole numbers from 0; a single number counts as a list."""
        value = self._get(key, default)
        items = [value] if type(value) is int else value
        if not isinstance(items, (list, tuple)) or len(items) > 4096:
            raise self._wrong(key, "a list of whole numbers")
        if any(type(i) is not int or not 0 <= i < 1 << 31 for i in items):
            raise self._wrong(key, "a list of whole numbers")
        return tuple(items)

    def numbers(self, key: str, default: tuple[float, ...], count: int) -> tuple[float, ...]:
        """A list of `count` positive numbers."""
        value = self._get(key, default)
        if not isinstance(value, (list, tuple)) or len(value) != count:
            raise self._wrong(key, f"a list of {count} numbers")
        if any(type(i) not in (int, float) or not 0 < i < 1e30 for i in value):
            raise self._wrong(key, f"a list of {count} positive numbers")
        return tuple(float(i) for i in value)

    def _get(self, key: str, default: Any) -> Any:
        value = self.data.get(key)
        if value is None:
            if default is None:
                raise CheckpointError(f"{self.where} lacks {key!r}: not a Qwen2.5-VL checkpoint")
            return default
        return value

    def _wrong(self, key: str, wanted: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {key!r} must be {wanted}")
