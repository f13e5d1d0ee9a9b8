"""Picture files as callers give them (path, bytes, stream), opened with limits on reading."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from awares_edge.errors import ImageError

MAX_IMAGE_BYTES = 512 << 20
"""Longest picture file in bytes."""
MAX_METADATA_BYTES = 16 << 20
"""Most bytes that may be read in pieces before the pixels: comments, profiles, tags."""
MAX_METADATA_READS = 500_000
MAX_PIXEL_READS = 2_500_000
"""Most `read` calls for the metadata and for the pixels: each costs time in Python."""
_SMALL = 1 << 16


class MeteredFile:
    """A seekable binary file that raises `ImageError` when a decoder reads too much of it.

    It has no `fileno`: with one, libtiff reads past the meter and maps the file into memory, where
    truncating the file meanwhile would kill the process.
    """

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self.file, self.name, self.size = file, name, size
        self.bytes_left: int | None = MAX_METADATA_BYTES
        self.reads_left = MAX_METADATA_READS

    def read(self, size: int = -1) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ImageError(f"{self.name} is in too many small parts: save it again")
        if (
            size > _SMALL
        ):  # Python allocates the size asked for, and lengths in the file may be false
            size = min(size, max(0, self.size - self.file.tell()))
        data = self.file.read(size)
        # The whole file at once, as WebP and AVIF are read, is bounded by `MAX_IMAGE_BYTES`.
        if self.bytes_left is not None and size >= 0:
            self.bytes_left -= len(data)
            if self.bytes_left < 0:
                raise ImageError(
                    f"{self.name} has over {MAX_METADATA_BYTES >> 20} MB of metadata: save it "
                    "without"
                )
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def close(self) -> None:
        """Do nothing: `open_source` or the caller closes the file."""

    def metadata_is_read(self) -> None:
        """From here on count only reads: pixel bytes are bounded by the picture's size."""
        self.bytes_left, self.reads_left = None, MAX_PIXEL_READS


@contextmanager
def open_source(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO, name: str
) -> Iterator[MeteredFile]:
    """Open a picture file for reading from its start.

    Args:
        source: a path of a regular file, encoded bytes, or a binary file (left open; read into
            memory first where it cannot seek).
        name: its name in errors.

    Raises:
        ImageError: there is no such file, it is a folder, FIFO or device, is empty, or is longer
            than `MAX_IMAGE_BYTES`.
    """
    if isinstance(source, (str, os.PathLike)):
        with _open_regular(source, name) as file:
            yield _metered(file, name)
        return
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield _metered(io.BytesIO(source), name)
        return
    if not callable(getattr(source, "read", None)):
        raise ImageError(
            f"a {type(source).__name__} is not a picture: give a path, bytes, a binary file, a "
            "Pillow image or a uint8 array"
        )
    yield _metered(_seekable(source), name)


def _open_regular(path: str | os.PathLike[str], name: str) -> BinaryIO:
    try:
        _check_regular(Path(path).stat().st_mode, name)
        # Without O_NONBLOCK, opening a FIFO that took the file's place would wait for a writer.
        file = open(path, "rb", opener=_open_now)  # noqa: SIM115 (the caller closes it)
    except FileNotFoundError:
        raise ImageError(f"no such image: {name}") from None
    except OSError as error:
        raise ImageError(f"cannot read {name}: {error.strerror}") from error
    try:
        _check_regular(os.fstat(file.fileno()).st_mode, name)
    except ImageError:
        file.close()
        raise
    return file


def _check_regular(mode: int, name: str) -> None:
    if stat.S_ISDIR(mode):
        raise ImageError(f"{name} is a folder: give one picture")
    if not stat.S_ISREG(mode):
        raise ImageError(f"{name} is a pipe or device: give a picture file, or its bytes")


def _open_now(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _seekable(file: BinaryIO) -> BinaryIO:
    try:
        file.seek(0)
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
        return io.BytesIO(file.read(MAX_IMAGE_BYTES + 1))
    return file


def _metered(file: BinaryIO, name: str) -> MeteredFile:
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise ImageError(f"{name} is empty: give a picture")
    if size > MAX_IMAGE_BYTES:
        raise ImageError(
            f"{name} is longer than {MAX_IMAGE_BYTES >> 20} MB: scale it down or compress it"
        )
    file.seek(0)
    return MeteredFile(file, name, size)
