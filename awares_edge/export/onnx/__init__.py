"""Export to the `onnx` runtime: graphs built directly, weights streamed one at a time."""

from awares_edge.export.onnx.files import write_files
from awares_edge.export.onnx.precisions import PRECISIONS

__all__ = ["PRECISIONS", "write_files"]
