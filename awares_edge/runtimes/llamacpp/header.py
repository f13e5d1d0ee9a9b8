"""Reads a GGUF file's keys and tensor table, and trusts none of it.

llama.cpp checks its files too, but some damage makes it abort the process or load a model that
answers nonsense; what this module refuses never reaches it. Format: `docs/gguf.md` of ggml,
version 3, little endian.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from awares_edge.errors import BundleError

Value: TypeAlias = "int | float | bool | str | list[Value]"

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_MAX_KEYS, _MAX_TENSORS, _MAX_ITEMS = 4096, 65_536, 4_000_000
_MAX_STRING = 4 << 20
# Of the whole file: a Qwen2.5-VL file has some 300,000 strings, and few that are kept.
_MAX_STRINGS, _MAX_KEPT_BYTES = 1_000_000, 32 << 20
_MAX_ALIGNMENT = 1 << 20
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_SPLIT = "split.count"
# Where llama.cpp reads the vision tower's keys, another type of number aborts the process: they are
# uint32, float32, bool, string or array.
_VISION_PREFIX, _VISION_KINDS = "clip.", (4, 6, 7, _STRING, _ARRAY)
_MAX_DIMS = 4
# Bytes and numbers of a block, by ggml type.
_BLOCKS = {
    0: (4, 1), 1: (2, 1), 30: (2, 1),  # f32, f16, bf16
    2: (18, 32), 3: (20, 32), 6: (22, 32), 7: (24, 32), 8: (34, 32),  # q4_0 q4_1 q5_0 q5_1 q8_0
    10: (84, 256), 11: (110, 256), 12: (144, 256), 13: (176, 256), 14: (210, 256),  # q2_k ... q6_k
    20: (18, 32), 23: (136, 256),  # iq4_nl, iq4_xs
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a GGUF file.

    Attributes:
        keys: its metadata; of arrays of strings or numbers only the first 16 items.
        shapes: tensor shapes as numpy has them, by name.
    """

    keys: dict[str, Value]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: Path) -> Header:
    """Read and check a file's header.

    Raises:
        BundleError: not a GGUF file, damaged, or shorter than its tensors need.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file, path).header()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = path.stat().st_size
        self._strings, self._kept = _MAX_STRINGS, _MAX_KEPT_BYTES

    def header(self) -> Header:
        if self._file.read(4) != _MAGIC:
            raise BundleError(f"{self._path} is not a GGUF file: export the checkpoint again")
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise BundleError(f"{self._path} has GGUF version {version}, this reads 2 and 3")
        tensors, keys = self._count(_MAX_TENSORS), self._count(_MAX_KEYS)
        found: dict[str, Value] = {}
        for _ in range(keys):
            key = self._string()
            if key in found:
                raise self._damaged()
            kind = int(self._scalar("I"))
            if key.startswith(_VISION_PREFIX) and kind not in _VISION_KINDS:
                raise self._damaged()
            found[key] = self._value(kind)
        if found.get(_SPLIT, 1) not in (0, 1):
            raise BundleError(
                f"{self._path} is one of several parts, which llama.cpp would look for itself: "
                "merge them with llama-gguf-split first"
            )
        shapes: dict[str, tuple[int, ...]] = {}
        end = 0
        for _ in range(tensors):
            name, shape, stop = self._tensor()
            if name in shapes:
                raise self._damaged()
            shapes[name], end = shape, max(end, stop)
        alignment = found.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= _MAX_ALIGNMENT:
            raise self._damaged()
        if alignment & (alignment - 1):
            raise self._damaged()
        start = -(-self._file.tell() // alignment) * alignment
        if start + end > self._size:
            raise BundleError(f"{self._path} is truncated: copy or export it again")
        return Header(found, shapes)

    def _tensor(self) -> tuple[str, tuple[int, ...], int]:
        name, dims = self._string(), int(self._scalar("I"))
        if not 1 <= dims <= _MAX_DIMS:
            raise self._damaged()
        shape = tuple(int(self._scalar("Q")) for _ in range(dims))[::-1]
        kind, offset = int(self._scalar("I")), int(self._scalar("Q"))
        # llama.cpp checks types that this table lacks; here only their offset is checked.
        size, numbers = _BLOCKS.get(kind, (0, 1))
        return name, shape, offset + math.prod(shape) // numbers * size

    def _value(self, kind: int) -> Value:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise self._damaged()
        item, count = int(self._scalar("I")), self._count(_MAX_ITEMS)
        kept: list[Value] = []
        if item in _SCALARS:
            width = struct.calcsize(_SCALARS[item])
            kept = [self._scalar(_SCALARS[item]) for _ in range(min(count, 16))]
            self._skip((count - len(kept)) * width)
            return kept
        if item != _STRING:
            raise self._damaged()
        for i in range(count):
            if i < 16:
                kept.append(self._string())
            else:
                self._skip(self._string_size())
        return kept

    def _scalar(self, code: str) -> int | float | bool:
        width = struct.calcsize("<" + code)
        value: int | float | bool = struct.unpack("<" + code, self._read(width))[0]
        return value

    def _count(self, most: int) -> int:
        count = int(self._scalar("Q"))
        if count > most:
            raise self._damaged()
        return count

    def _string(self) -> str:
        size = self._string_size()
        self._kept -= size
        if self._kept < 0:
            raise self._damaged()
        return self._read(size).decode("utf-8", "replace")

    def _string_size(self) -> int:
        self._strings -= 1
        if self._strings < 0:
            raise self._damaged()
        return self._count(_MAX_STRING)

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise BundleError(f"{self._path} is truncated: copy or export it again")
        return data

    def _skip(self, count: int) -> None:
        if self._file.tell() + count > self._size:
            raise BundleError(f"{self._path} is truncated: copy or export it again")
        self._file.seek(count, 1)

    def _damaged(self) -> BundleError:
        return BundleError(f"{self._path} has a damaged header: copy or export it again")
