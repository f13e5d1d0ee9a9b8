"""Export to the `onnx` runtime: graphs built directly, weights streamed one at a time."""

from awares_edge.export.onnx.format import OnnxFormat

__all__ = ["OnnxFormat"]
