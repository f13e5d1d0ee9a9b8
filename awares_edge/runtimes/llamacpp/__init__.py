"""The `llamacpp` runtime: GGUF files through llama.cpp's low-level API, with the cache kept."""

from awares_edge.runtimes.llamacpp.library import usable_devices
from awares_edge.runtimes.llamacpp.runtime import LlamaRuntime

__all__ = ["LlamaRuntime", "usable_devices"]
