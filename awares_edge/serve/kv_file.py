"""The file of one saved picture: what it was computed from, then arrays of numbers.

    8 bytes     b"awareskv"
    4 bytes     length of the header, little-endian
    header      JSON: the key, and where each array belongs, with its dtype and shape; spaces at its
                end, so that the arrays begin at a multiple of 8 bytes
    arrays      in the header's order, little-endian, without gaps
    32 bytes    SHA-256 over everything before

A file is used only if the hash is right, the key is the one that is looked for, and every byte
belongs to an array. Nothing in it is ever run.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.controller import SavedPicture, SavedRegion, SavedView
from awares_edge.errors import InputError
from awares_edge.runtimes.base import Mark, SavedSession
from awares_edge.schema import Items, Limits, Text, Whole, parse_json, read_dataclass

Key: TypeAlias = dict[str, str]
"""Everything that a picture's KV depends on, by name."""

MAX_HEADER_BYTES = 1 << 20
MAX_REGIONS = 4096
_MAGIC = b"awareskv"
_START = len(_MAGIC) + 4
_HASH_BYTES = 32
_NATURAL = Whole(0, 1 << 40)
_ARRAY: Limits = {"shape": Items(0, 8), "shape[]": Whole(1, 1 << 40)}
_LIMITS: Limits = {
    "key": Items(1, 64),
    "key[]": Text(0, 1024),
    "views": Items(1, 2),
    "regions": Items(0, MAX_REGIONS),
    "views[].cells": _NATURAL,
    "views[].position": _NATURAL,
    "views[].arrays": Items(0, 64),
    **{f"views[].arrays[].{name}": limit for name, limit in _ARRAY.items()},
    **{f"regions[].features.{name}": limit for name, limit in _ARRAY.items()},
}


@dataclass(frozen=True, slots=True)
class _Array:
    dtype: Literal["float32", "float16", "int64", "int32", "int16", "uint8"]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: NDArray[Any]) -> _Array:
        return cls(array.dtype.name, array.shape)

    @property
    def little(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.dtype).newbyteorder("<")
        return dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.little.itemsize


@dataclass(frozen=True, slots=True)
class _View:
    view: Literal["low", "full"]
    cells: int
    position: int
    arrays: dict[str, _Array]


@dataclass(frozen=True, slots=True)
class _Region:
    box: tuple[float, float, float, float]
    size: tuple[int, int]
    cut: tuple[int, int, int, int]
    features: _Array


@dataclass(frozen=True, slots=True)
class _Header:
    key: Key
    views: tuple[_View, ...]
    regions: tuple[_Region, ...]

    @classmethod
    def of(cls, key: Key, picture: SavedPicture) -> _Header:
        views = (
            _View(
                saved.view,
                saved.session.mark.cells,
                saved.session.mark.position,
                {name: _Array.of(array) for name, array in saved.session.arrays.items()},
            )
            for saved in picture.views
        )
        regions = (_Region(*saved.key, _Array.of(saved.features)) for saved in picture.regions)
        return cls(key, tuple(views), tuple(regions))

    def arrays(self) -> Iterator[_Array]:
        """All arrays, in the order in which they follow the header."""
        for view in self.views:
            yield from view.arrays.values()
        for region in self.regions:
            yield region.features


def file_size(key: Key, picture: SavedPicture) -> int:
    """Bytes of the file that `write` makes."""
    return _START + len(_header(key, picture)) + picture.nbytes + _HASH_BYTES


def write(file: BinaryIO, key: Key, picture: SavedPicture) -> None:
    """Write a picture and what it was computed from."""
    header = _header(key, picture)
    whole = hashlib.sha256()
    pieces: Iterator[bytes | memoryview] = chain(
        (_MAGIC, struct.pack("<I", len(header)), header), _data(picture)
    )
    for piece in pieces:
        whole.update(piece)
        file.write(piece)
    file.write(whole.digest())


def read(data: bytes, key: Key) -> SavedPicture:
    """The picture in a file's bytes; its arrays are views of them, read-only.

    Args:
        key: what it must have been computed from.

    Raises:
        InputError: it is damaged, or was computed from something else.
    """
    if len(data) < _START + _HASH_BYTES or not data.startswith(_MAGIC):
        raise InputError("it is not a saved picture")
    content = memoryview(data)[:-_HASH_BYTES]
    if hashlib.sha256(content).digest() != data[-_HASH_BYTES:]:
        raise InputError("it is damaged")
    (length,) = struct.unpack("<I", data[len(_MAGIC) : _START])
    if length > min(MAX_HEADER_BYTES, len(content) - _START):
        raise InputError("its header is too long")
    header = _read_header(data[_START : _START + length])
    if header.key != key:
        raise InputError("it was computed from something else")
    return _picture(header, content[_START + length :])


def _header(key: Key, picture: SavedPicture) -> bytes:
    text = json.dumps(asdict(_Header.of(key, picture)), separators=(",", ":")).encode()
    return text + b" " * (-(_START + len(text)) % 8)


def _data(picture: SavedPicture) -> Iterator[memoryview]:
    arrays = [a for saved in picture.views for a in saved.session.arrays.values()]
    for array in (*arrays, *(saved.features for saved in picture.regions)):
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        yield little.reshape(-1).view(np.uint8).data


def _read_header(text: bytes) -> _Header:
    try:
        body = parse_json(text.decode("utf-8"), "its header")
    except UnicodeDecodeError as error:
        raise InputError("its header is not UTF-8") from error
    header = read_dataclass(_Header, body, "its header", _LIMITS)
    if len({one.view for one in header.views}) != len(header.views):
        raise InputError("its header has a view twice")
    return header


def _picture(header: _Header, data: memoryview) -> SavedPicture:
    if sum(array.nbytes for array in header.arrays()) != len(data):
        raise InputError("its arrays do not fill it")
    at = 0

    def array(described: _Array) -> NDArray[Any]:
        nonlocal at
        found: NDArray[Any] = np.ndarray(described.shape, described.little, data, at)
        at += described.nbytes
        return found.astype(described.dtype, copy=False)

    views = []
    for view in header.views:
        arrays = {name: array(described) for name, described in view.arrays.items()}
        session = SavedSession(Mark(view.cells, view.position), arrays)
        views.append(SavedView(view.view, session))
    regions = [
        # Copies: they outlive the picture's cells, which share their memory here.
        SavedRegion((one.box, one.size, one.cut), array(one.features).copy())
        for one in header.regions
    ]
    return SavedPicture(tuple(views), tuple(regions))
