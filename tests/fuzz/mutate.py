"""Damage to binary files: of bytes anywhere, and of the parts that a format consists of."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random

EXTREMES = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000,
            0xFFFFFF, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def damage(random: Random, data: bytes, others: list[bytes]) -> bytes:
    """One to four mutations of a file; `others` are there to be spliced in."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        parts = split(data)
        if len(parts) > 1 and random.random() < 0.4:
            data = _damage_parts(random, parts, others)
        else:
            data = random.choice(_ANYWHERE)(random, data, others)
    return data


def split(data: bytes) -> list[bytes]:
    """The parts of a PNG, JPEG, RIFF or ISO media file (AVIF), its magic first; else one part."""
    if data.startswith(PNG_MAGIC):
        return _cut(data, 8, lambda at: 12 + _uint(data, at, ">I"))
    if data.startswith(b"\xff\xd8"):
        return _cut(data, 2, lambda at: _segment(data, at))
    if data.startswith(b"RIFF"):
        return _cut(data, 12, lambda at: 8 + (_uint(data, at + 4, "<I") + 1 & ~1))
    if data[4:8] == b"ftyp":
        return _cut(data, 0, lambda at: max(8, _uint(data, at, ">I")))
    return [data]


def _cut(data: bytes, at: int, length: Callable[[int], int]) -> list[bytes]:
    parts = [data[:at]]
    while at < len(data) and len(parts) < 64:
        end = min(len(data), at + max(1, length(at)))
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def _uint(data: bytes, at: int, layout: str) -> int:
    field = data[at : at + struct.calcsize(layout)]
    return struct.unpack(layout, field)[0] if len(field) == struct.calcsize(layout) else 0


def _segment(data: bytes, at: int) -> int:
    if data[at : at + 2] == b"\xff\xda":  # the coded pixels follow
        return len(data) - at
    return 2 + _uint(data, at + 2, ">H")


def _damage_parts(random: Random, parts: list[bytes], others: list[bytes]) -> bytes:
    at = random.randrange(1, len(parts))
    kind = random.randrange(6)
    if kind == 0:
        del parts[at]
    elif kind == 1:
        parts[at:at] = [parts[at]] * random.choice((1, 2, 50))
    elif kind == 2:
        other = random.randrange(1, len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    elif kind == 3:
        parts[at:at] = [random.choice(split(random.choice(others)))]
    else:
        parts[at] = random.choice((_flip, _extreme, _overwrite))(random, parts[at], others)
    if parts[0] == PNG_MAGIC and random.random() < 0.9:
        parts = [parts[0], *map(_with_crc, parts[1:])]
    return b"".join(parts)


def _with_crc(chunk: bytes) -> bytes:
    """Else Pillow would look no further than the checksum."""
    if len(chunk) < 12:
        return chunk
    return chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4]))


def _flip(random: Random, data: bytes, _: list[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 32)) if out else 0):
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def _overwrite(random: Random, data: bytes, _: list[bytes]) -> bytes:
    at, count = random.randrange(len(data) + 1), random.choice((1, 2, 4, 16))
    return data[:at] + random.randbytes(count) + data[at + count :]


def _extreme(random: Random, data: bytes, _: list[bytes]) -> bytes:
    """A field of 1, 2 or 4 bytes, of either order, most often near the start."""
    layout = random.choice(("B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(layout)
    at = random.randrange(1 + (min(64, len(data)) if random.random() < 0.7 else len(data)))
    value = random.choice(EXTREMES) & (256**size - 1)
    return data[:at] + struct.pack(layout, value) + data[at + size :]


def _truncate(random: Random, data: bytes, _: list[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _remove(random: Random, data: bytes, _: list[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 2, 4, 100)) :]


def _repeat(random: Random, data: bytes, _: list[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    piece = data[at : at + random.choice((1, 4, 12, 100))]
    return data[:at] + piece * random.choice((2, 10, 1000)) + data[at:]


def _splice(random: Random, data: bytes, others: list[bytes]) -> bytes:
    other = random.choice(others)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


_ANYWHERE = (_flip, _flip, _overwrite, _extreme, _extreme, _truncate, _remove, _repeat, _splice)
