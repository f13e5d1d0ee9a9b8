"""Quantization of a text file by llama.cpp itself (`llama_model_quantize`)."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ExportError
from awares_edge.export.gguf.format import FILE_TYPES, GgufPrecision
from awares_edge.runtimes.llamacpp.library import library
from awares_edge.runtimes.threads import cores

# How llama.cpp's log begins the line of a tensor: the only sign of progress.
_TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\]")
# Rows in flight: llama.cpp's own default is 8 GiB.
_BUFFER_BYTES = 256 << 20


def quantize(
    source: Path,
    target: Path,
    precision: GgufPrecision,
    importance: Mapping[str, NDArray[np.float32]] | None = None,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Quantize a text GGUF.

    Args:
        precision: a quantized one.
        importance: by tensor name, float32 [row length]: mean square of each input.
        threads: 0 for one for each core that this process may use.
        progress: called with (tensors begun, tensors in all).

    Raises:
        ExportError: llama.cpp refuses, or the disk is full.
        RuntimeUnavailable: llama.cpp is not installed.
    """
    lib = library()
    params = lib.llama.llama_model_quantize_default_params()
    params.nthread = threads or cores()
    params.ftype = FILE_TYPES[precision]
    params.max_buf_size = _BUFFER_BYTES
    entries, keep = _importance_array(lib.llama, importance or {})
    if importance:
        params.imatrix = ctypes.cast(entries, type(params.imatrix))

    def follow(line: str) -> None:
        if progress and (match := _TENSOR.match(line)):
            progress(int(match[1]), int(match[2]))

    with lib.listening(follow):
        code = lib.llama.llama_model_quantize(bytes(source), bytes(target), ctypes.byref(params))
        if code:
            target.unlink(missing_ok=True)
            raise ExportError(
                f"llama.cpp could not quantize to {precision}{lib.complaint()}: use q8_0 or f16"
            )
    del keep


def _importance_array(
    llama: object, importance: Mapping[str, NDArray[np.float32]]
) -> tuple[ctypes.Array[ctypes.Structure], list[NDArray[np.float32]]]:
    """A NULL-terminated C array, and what must live as long as it."""
    entry = llama.llama_model_imatrix_data  # type: ignore[attr-defined]
    array = (entry * (len(importance) + 1))()
    keep = []
    for slot, (name, values) in zip(array, importance.items(), strict=False):
        data = np.ascontiguousarray(values, dtype=np.float32)
        keep.append(data)
        slot.name = name.encode()
        slot.data = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        slot.size = data.size
    return array, keep
