"""Export to the `onnx` runtime: graphs built directly, weights streamed one at a time."""

from awares_edge.export.onnx.files import PRECISIONS, write_files

__all__ = ["PRECISIONS", "write_files"]
