"""Export to the `llamacpp` runtime: GGUF files that every llama.cpp program loads as they are."""

from awares_edge.export.gguf.format import GgufFormat

__all__ = ["GgufFormat"]
