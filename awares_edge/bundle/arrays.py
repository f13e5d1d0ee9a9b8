"""Reading untrusted `.npy` files: one matrix of floats, mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from awares_edge.errors import BundleError

MAX_HEADER_BYTES = 1024
"""Longest header of a `.npy` file; numpy writes some 120 bytes for a matrix."""
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def map_matrix(path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    """Map a float matrix into memory: only pages that are used are read.

    Args:
        shape: rows and columns that it must have.

    Returns:
        [rows, columns], float16 or float32, read-only.

    Raises:
        BundleError: not a `.npy` file of such a matrix: another shape or dtype, objects, Fortran
            order, a header that is too long, or bytes missing or left over.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            read = _READERS[npy.read_magic(file)]
            found, fortran, dtype = read(file, max_header_size=MAX_HEADER_BYTES)
            offset = file.tell()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # numpy parses the header as Python, which fails in many ways
        raise BundleError(f"{path} is not an array: export the bundle again") from error
    if dtype.hasobject:  # pickled
        raise BundleError(f"{path} is not an array of numbers: export the bundle again")
    if found != shape or fortran or dtype not in (np.float16, np.float32):
        raise BundleError(f"{path} does not fit the manifest: export the bundle again")
    if size != offset + shape[0] * shape[1] * dtype.itemsize:
        raise BundleError(f"{path} is truncated or too long: copy or export the bundle again")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
