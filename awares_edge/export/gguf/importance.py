"""Importance matrices: which inputs of each text matrix matter, for quantization.

One file in llama.cpp's own GGUF form (`general.type` "imatrix"), so that its tools read it too:
for each tensor `NAME.in_sum2` float32 [1, row length] and `NAME.counts` float32 [1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ExportError
from awares_edge.export.gguf.layout import text_name, text_tensors
from awares_edge.export.gguf.writer import disk_errors
from awares_edge.files import whole_path
from awares_edge.spec import ModelSpec

_SUMS, _COUNTS = ".in_sum2", ".counts"


def save_importance(
    path: Path, sums: Mapping[str, NDArray[Any]], counts: Mapping[str, int], dataset: str
) -> None:
    """Write an importance matrix, whole or not at all.

    Args:
        sums: by canonical tensor name, [row length]: sum of squares of each input.
        counts: by canonical tensor name, how many inputs were summed.
        dataset: what it was measured on, for people.

    Raises:
        ExportError: the file cannot be written.
    """
    from gguf import GGUFWriter

    with disk_errors(path), whole_path(path) as temporary:
        writer: Any = GGUFWriter(temporary, "imatrix")
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", [dataset])
        writer.add_uint32("imatrix.chunk_count", max(counts.values(), default=0))
        writer.add_uint32("imatrix.chunk_size", 1)
        for source, values in sums.items():
            name = text_name(source)
            writer.add_tensor(name + _SUMS, np.asarray(values, dtype=np.float32)[None])
            writer.add_tensor(name + _COUNTS, np.full((1, 1), counts[source], dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def read_importance(path: Path, spec: ModelSpec) -> dict[str, NDArray[np.float32]]:
    """Mean square of each input, float32 [row length], by tensor name.

    Raises:
        ExportError: no such file, not an importance matrix, or one of another model.
    """
    from gguf import GGUFReader

    if not path.is_file():
        raise ExportError(f"no such importance matrix: {path}")
    try:
        tensors = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    # The reader raises whatever numpy does on a damaged file.
    except Exception as error:
        raise ExportError(f"{path} is not an importance matrix: make it again") from error
    lengths = {p.name: p.shape[-1] for p in text_tensors(spec, "f32") if len(p.shape) == 2}
    means = {}
    for name, length in lengths.items():
        sums, count = tensors.get(name + _SUMS), tensors.get(name + _COUNTS)
        if sums is None or count is None:
            continue  # the embedding has no inputs
        mean = np.asarray(sums, dtype=np.float32).reshape(-1) / max(float(np.max(count)), 1.0)
        if mean.size != length or not np.isfinite(mean).all() or (mean < 0).any():
            raise ExportError(f"{path} does not fit {spec.name} at {name}: make it again")
        means[name] = mean
    if not means:
        raise ExportError(f"{path} holds nothing about {spec.name}: make it again")
    return means
