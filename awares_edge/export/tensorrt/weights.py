"""A graph's matrices on their way to disk, float and quantized."""

from __future__ import annotations

from pathlib import Path

from awares_edge.export.onnx.weights import Location, Written
from awares_edge.export.tensorrt.graph import TensorrtGraph
from awares_edge.export.tensorrt.quantize import TensorrtWeightFile


def write_weights(graph: TensorrtGraph, path: Path, written: Written) -> dict[str, Location]:
    """Write a graph's matrices to a file; where each of them lies."""
    places: dict[str, Location] = {}
    with TensorrtWeightFile(path, graph.precision.storage, written) as file:
        for stored in graph.stored:
            places[stored.name] = file.write(stored.parts, stored.shape)
        for weight in graph.quantized.values():
            places |= file.write_quantized(weight)
    return places
