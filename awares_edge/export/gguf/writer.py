"""Writes one GGUF file from a plan: keys and tensor table first, then data in 16 MB pieces."""

from __future__ import annotations

import contextlib
import errno
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.gguf.convert import pieces, stored_bytes
from awares_edge.export.gguf.layout import Planned

if TYPE_CHECKING:
    from gguf import GGUFWriter

# Keys and tensor table: the tokens and merges of a large vocabulary are some 8 MB.
_HEADER_BYTES = 32 << 20


def write_file(
    path: Path,
    architecture: str,
    describe: Callable[[GGUFWriter], None],
    plan: Sequence[Planned],
    weights: Weights,
    written: Callable[[int], None],
) -> None:
    """Write a GGUF file; never more than one piece of one tensor is in memory.

    Args:
        describe: adds the file's keys.
        plan: its tensors, in their order in the file.
        written: called with how many more numbers are written.

    Raises:
        ExportError: out of disk, or a number that the format cannot hold.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    size_of = {planned.name: stored_bytes(planned) for planned in plan}
    require_space(path.parent, sum(size_of.values()))
    writer: Any = GGUFWriter(path, architecture)
    try:
        describe(writer)
        for planned in plan:
            kind = GGMLQuantizationType[planned.kind.upper()]
            # Only shape and type; bytes come later. Any dtype but uint8 leaves the shape as it is.
            size = size_of[planned.name]
            writer.add_tensor_info(planned.name, planned.shape, np.dtype("f4"), size, kind)
        with disk_errors(path):
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            file = writer.fout[0]
            writer.write_padding(file, file.tell())
            for planned in plan:
                numbers = math.prod(planned.shape)
                for piece in pieces(weights, planned):
                    # Not `tofile`, whose error does not say why a write failed.
                    file.write(piece.data.cast("B"))
                    written(numbers * piece.nbytes // size_of[planned.name])
                writer.write_padding(file, size_of[planned.name])
            writer.flush()
    finally:
        with contextlib.suppress(OSError):
            writer.close()


def require_space(folder: Path, needed: int) -> None:
    """
    Raises:
        ExportError: the disk has not enough room for a file of this size.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + _HEADER_BYTES:
        raise ExportError(
            f"{folder.parent} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed: make "
            "room or export to another disk"
        )


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a failed write into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ExportError(
                f"out of disk while writing {path.name}: make room or export to another disk"
            ) from error
        raise ExportError(f"{path.name} cannot be written: {error.strerror or error}") from error
