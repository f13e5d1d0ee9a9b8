"""Importance matrices: which inputs of each text matrix matter, for llama.cpp's quantizer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from awares_edge.export.gguf.layout import text_name
from awares_edge.export.measured import Measured


def importance_matrix(measured: Measured) -> dict[str, NDArray[np.float32]]:
    """Mean square of each input, float32 [row length], by the tensor's name in the text file."""
    return {
        text_name(f"{layer}.weight"): inputs.square
        for layer, inputs in measured.inputs.items()
        if not layer.startswith("visual.")
    }
