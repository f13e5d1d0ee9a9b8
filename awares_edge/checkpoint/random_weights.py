"""Random weights of any size, streamed to disk: for speed, memory and whether a device computes.

None of these depends on values, so one piece of noise serves all tensors.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.names import expected_shapes
from awares_edge.spec import ModelSpec

_PIECE = 1 << 22
_WIDTHS = {"BF16": 2, "F32": 4}


def write_random_weights(
    path: Path, spec: ModelSpec, dtype: Literal["BF16", "F32"] = "BF16", seed: int = 0
) -> None:
    """Write a safetensors file with every tensor of a model of this shape.

    At most one piece of 4M numbers is in memory at a time.

    Args:
        dtype: as safetensors names it.
    """
    shapes = expected_shapes(spec)
    header, offset = {}, 0
    for name, size in shapes.items():
        span = [offset, offset + math.prod(size) * _WIDTHS[dtype]]
        header[_stored(name)] = {"dtype": dtype, "shape": size, "data_offsets": span}
        offset = span[1]
    largest = min(_PIECE, max(map(math.prod, shapes.values())))
    noise = np.random.default_rng(seed).standard_normal(largest, dtype=np.float32)
    with path.open("wb") as file:
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        file.write(struct.pack("<Q", len(head)) + head)
        for name, size in shapes.items():
            scale, shift = _distribution(name, size)
            _write(file, noise, math.prod(size), scale, shift, dtype)


def _write(
    file: BinaryIO,
    noise: NDArray[np.float32],
    count: int,
    scale: np.float32,
    shift: np.float32,
    dtype: str,
) -> None:
    values = noise[:count] * scale + shift
    data = (values.view(np.uint32) >> 16).astype(np.uint16) if dtype == "BF16" else values
    for start in range(0, count, len(data)):
        data[: count - start].tofile(file)


def _stored(name: str) -> str:
    return name.replace("visual.", "model.visual.").replace("text.", "model.language_model.")


def _distribution(name: str, size: tuple[int, ...]) -> tuple[np.float32, np.float32]:
    """Standard deviation and mean that keep activations of moderate size."""
    if len(size) == 1:
        return np.float32(0.05), np.float32(0 if name.endswith("bias") else 1)
    return np.float32(0.5 * math.prod(size[1:]) ** -0.5), np.float32(0)
