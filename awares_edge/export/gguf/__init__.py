"""Export to the `llamacpp` runtime: GGUF files that every llama.cpp program loads as they are."""

from awares_edge.export.gguf.files import PRECISIONS, write_files

__all__ = ["PRECISIONS", "write_files"]
